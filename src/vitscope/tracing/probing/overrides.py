"""Parts of an anatomy that the user gives: checked in form here, and against the model where the probe sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vitscope.errors import ModelError
from vitscope.tracing.calls.outputs import Path


@dataclass(frozen=True)
class Overrides:
    """Parts of the anatomy that the user knows better. ``classes`` 0 says that the output is an embedding.

    Raises ModelError, when it is made, for what no model could have."""

    blocks: tuple[str, ...] | None = None
    grid: tuple[int, int] | None = None
    prefix: tuple[str, ...] | None = None
    pooling: str | None = None
    classes: int | None = None
    output: Path | None = None
    probability: Literal["softmax", "sigmoid"] | None = None

    def __post_init__(self) -> None:
        _check_names("blocks", self.blocks, "module paths such as 'blocks.0'")
        _check_names("prefix", self.prefix, "names such as 'class'", empty=True)
        grid, classes = self.grid, self.classes
        if grid is not None and not (
            isinstance(grid, Sequence)
            and len(grid) == 2
            and all(_is_count(side) and side > 0 for side in grid)
        ):
            raise ModelError(f"expected grid=(h, w), two whole numbers from 1 on, got {grid!r}")
        if classes is not None and not _is_count(classes):
            raise ModelError(f"expected classes= to be a whole number, 0 for an embedding, got {classes!r}")
        if self.pooling is not None and not (isinstance(self.pooling, str) and self.pooling.strip()):
            raise ModelError(
                f"expected pooling= to be a name such as 'class' or 'mean', got {self.pooling!r}"
            )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_names(what: str, names: tuple[str, ...] | None, form: str, *, empty: bool = False) -> None:
    if names is None:
        return
    wrong = [name for name in names if not isinstance(name, str) or not name.strip()]
    if wrong or (not names and not empty):
        raise ModelError(f"expected {what}= to be {form}, got {wrong[0] if wrong else names!r}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ModelError(f"{what}= names '{twice}' twice; name each once")
