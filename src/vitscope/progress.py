"""How far a run over pictures is, told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable

RESUMED = "resumed"
"""What is told of pictures that a stopped run had finished."""
Progress = Callable[[str, int, int], None]
"""Called with (what is done, steps finished, steps in total)."""


def quiet(_: str, __: int, ___: int) -> None:
    """The progress callback that says nothing."""


class Steps:
    """Tells ``progress`` of one run: so many steps for every picture, counted on from what a stopped run had done."""

    def __init__(self, progress: Progress, what: str, pictures: int, each: int = 1) -> None:
        self._progress, self._what = progress, what
        self._each, self._total = each, pictures * each
        self._done = 0

    def advance(self, steps: int) -> None:
        """So many steps more are done."""
        self._done += steps
        self._progress(self._what, self._done, self._total)

    def at(self, what: str, pictures: int, _: int) -> None:
        """Pictures up to here are finished: what a runner of parts tells."""
        moved = pictures * self._each != self._done
        self._done = pictures * self._each
        if what == RESUMED or moved:  # skipped pictures take no steps
            self._progress(RESUMED if what == RESUMED else self._what, self._done, self._total)
