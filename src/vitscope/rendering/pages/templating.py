"""Templates: text is escaped wherever it stands, and a name that is not given is an error."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def environment(package: str) -> Environment:
    """The templates in the folder ``templates`` of a package."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def fill(package: str, template: str, **values: Any) -> Markup:
    """A template with its values; every text among them that is no ``Markup`` is escaped."""
    return Markup(environment(package).get_template(template).render(**values))


def part(package: str, template: str, name: str, *values: Any) -> Markup:
    """One macro of a template with its values, likewise."""
    macro = getattr(environment(package).get_template(template).module, name)
    return Markup(macro(*values))
