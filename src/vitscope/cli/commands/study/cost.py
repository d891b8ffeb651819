"""What a study will cost, in words, and whether somebody agrees."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

from vitscope.cli.shared import console
from vitscope.storage.stores.faults import in_words

if TYPE_CHECKING:
    from vitscope.studies import Estimate


def described(cost: Estimate) -> Iterator[str]:
    """The lines that say what a study will cost."""
    pictures = max(1, cost.pictures)
    yield f"pictures   {cost.pictures:,} in {cost.shards:,} shards"
    yield (
        f"passes     forward {cost.forwards / pictures:,.4g} and backward {cost.backwards / pictures:,.4g} for each "
        f"picture; {cost.forwards:,.0f} and {cost.backwards:,.0f} in all"
    )
    fit = "; fitting the patterns comes on top" if cost.fit else ""
    yield (
        f"time       {time_in_words(cost.seconds - cost.decode)} of the model and {time_in_words(cost.decode)} of "
        f"reading, on one worker like this machine{fit}"
    )
    free = "nobody can say how much is free there" if cost.free is None else f"{in_words(cost.free)} are free"
    yield f"written    {in_words(round(cost.bytes))}, {in_words(round(cost.bytes / pictures))} a picture; {free}"


def time_in_words(seconds: float) -> str:
    """A time for people: ``about 40 s``, ``about 3.5 h``."""
    for unit, length in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"about {seconds / length:.1f} {unit}"
    return f"about {seconds:.0f} s" if seconds >= 1 else "less than 1 s"


def too_large(cost: Estimate) -> str:
    """Why somebody should agree first."""
    from vitscope.studies.estimate import LARGE_BYTES, LARGE_SECONDS

    reasons = []
    if not cost.fits and cost.free is not None:
        reasons.append(f"it would write {in_words(round(cost.bytes))} where {in_words(cost.free)} are free")
    elif cost.bytes > LARGE_BYTES:
        reasons.append(f"it would write {in_words(round(cost.bytes))}")
    if cost.seconds > LARGE_SECONDS:
        reasons.append(f"it would take {time_in_words(cost.seconds)}")
    return " and ".join(reasons)


def asking(yes: bool, tell: Callable[[str], None]) -> Callable[[Estimate], bool]:
    """What tells the cost of a study, and asks before a large one. Raises a usage error where nobody can be asked."""

    def agreed(cost: Estimate) -> bool:
        for line in described(cost):
            tell(line)
        if yes or not cost.large:
            return True
        reason = too_large(cost)
        if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
            raise typer.BadParameter(
                f"this study is large: {reason}; nothing was made, --yes agrees to it where nobody can be asked"
            )
        console.note(f"this study is large: {reason}")
        return typer.confirm("make it?", err=True)

    return agreed
