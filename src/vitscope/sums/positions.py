"""Which positions of the whole have been added up: ranges, and the refusal to add one twice."""

from __future__ import annotations

from collections.abc import Iterable

Range = tuple[int, int]


class Overlap(ValueError):
    """Positions that were there already; the message is for the end of a sentence."""


def with_range(ranges: Iterable[Range], start: int, stop: int) -> list[Range]:
    """Ranges of positions with one more, those that touch made one. Raises Overlap where some are there already."""
    known = sorted(ranges)
    if start == stop:
        return known
    for begin, end in known:
        if start < end and begin < stop:
            raise Overlap(
                f"the pictures from position {max(start, begin)} to {min(stop, end) - 1}; give each shard its own "
                "pictures and the position where it starts"
            )
    found: list[Range] = []
    for begin, end in sorted([*known, (start, stop)]):
        if found and found[-1][1] == begin:
            begin, _ = found.pop()
        found.append((begin, end))
    return found
