"""Which answers of an address a site of files holds: said beside the address itself, so that there is no other list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Query = Mapping[str, str]
"""Parts of the path and parameters, by name, exactly as the page asks for them."""
MARK = "__written__"


@dataclass(frozen=True)
class Holdings:
    """What a site is written of. pictures: ids of those that can be read. methods: whose maps the study keeps.
    analyses: that are computed."""

    pictures: Sequence[str] = ()
    methods: Sequence[str] = ()
    analyses: Sequence[str] = ()


Asks = Callable[[Holdings], Iterable[Query]]


def written(endpoint: Endpoint) -> Endpoint:
    """This answer, without parameters, is part of a site."""
    return written_for(lambda _: [{}])(endpoint)


def written_for(asks: Asks) -> Callable[[Endpoint], Endpoint]:
    """These answers are part of a site: one for each mapping of ``asks``. What is not declared needs a server."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, MARK, asks)
        return endpoint

    return mark


def asks_of(endpoint: object) -> Asks | None:
    """What was declared beside an address."""
    found: Asks | None = getattr(endpoint, MARK, None)
    return found


# ---- usual declarations ----------------------------------------------------------------------------------------------
def of_pictures(**parameters: str) -> Asks:
    """Once for each picture."""
    return lambda held: [{"id": id, **parameters} for id in held.pictures]


def with_analysis(name: str) -> Asks:
    """Once, where the study has the analysis and is finished."""
    return lambda held: [{}] if name in held.analyses else []


def of_maps(name: str, **parameters: str) -> Asks:
    """Once for each picture and method that the study keeps; ``name``: of the parameter that is the method."""
    return lambda held: [
        {"id": id, name: method, **parameters} for id in held.pictures for method in held.methods
    ]


def together(*all_asks: Asks) -> Asks:
    """All of several declarations."""
    return lambda held: [query for asks in all_asks for query in asks(held)]
