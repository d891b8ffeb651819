"""Methods of other packages: the modules that installed packages name under the entry points ``vitscope.methods``."""

from __future__ import annotations

import warnings
from importlib.metadata import entry_points

from vitscope.errors import brief

GROUP = "vitscope.methods"
_FAILED: dict[str, str] = {}


def load_plug_ins() -> None:
    """Import every module (or object) of the group; importing it registers its methods.

    One that cannot be imported is warned of and left out: the other methods do not depend on it."""
    for entry in sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        try:
            entry.load()
        except Exception as error:  # somebody else's code
            package = entry.dist.name if entry.dist is not None else entry.value
            _FAILED[entry.name] = (
                f"the methods '{entry.name}' of the package {package} cannot be imported ({brief(error)}); "
                f"update the package, or uninstall it"
            )
            warnings.warn(_FAILED[entry.name], stacklevel=2)


def failed_plug_ins() -> dict[str, str]:
    """Why methods of other packages are not there, a line each, by the names of their entry points."""
    return dict(_FAILED)
