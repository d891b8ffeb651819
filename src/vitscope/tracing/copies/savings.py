"""Which ways of running changed copies with less work hold on a model: found out once, then remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from vitscope.tracing.vit import Vit

NAMES = ("one_picture", "known_attention", "short_tail", "direct")


@dataclass
class Savings:
    """Which savings hold on a model; None until tried. allowed=False: none is tried."""

    one_picture: bool | None = None
    known_attention: bool | None = None
    short_tail: bool | None = None
    direct: bool | None = None
    allowed: bool = True

    def as_dict(self) -> dict[str, bool]:
        """Names and whether they hold."""
        return {name: bool(getattr(self, name)) for name in NAMES}


_found: WeakKeyDictionary[Vit, dict[Any, Savings]] = WeakKeyDictionary()


def savings_of(vit: Vit, size: tuple[int, ...]) -> Savings:
    """What is known of this model at this picture size; a property of its architecture."""
    return _found.setdefault(vit, {}).setdefault((size, vit.precision), Savings())
