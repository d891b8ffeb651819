"""Head tables of very many pictures, made part by part: rows while they are few, sums beyond."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from vitscope.heads.errors import HeadsError
from vitscope.heads.summed_table import SummedHeadTable
from vitscope.heads.table import HeadTable
from vitscope.sums import poisson_bootstrap


def merge_tables(
    tables: Iterable[HeadTable | SummedHeadTable],
    starts: Iterable[int] | None = None,
    *,
    rows: int | None = None,
    seed: int = 0,
) -> HeadTable | SummedHeadTable:
    """The table of shards of a data set. They are read one after the other and may be made meanwhile.

    Once they are of more pictures than ``rows``, or one is on sums, sums alone are kept, in memory that does not grow.

    Args:
        tables: Of other pictures each, in the order of the pictures.
        starts: The position of the first picture of each; one after the other by default.
        rows: The most pictures of which rows are kept; by default 100,000.
        seed: Of the bootstrap of sums.

    Raises:
        RecipeError: The tables were made in different ways; the message says what differs.
        HeadsError: A picture or a position is in two of them, their metrics differ, or there is none.
    """
    most = poisson_bootstrap.EXACT if rows is None else rows
    waiting: list[tuple[int, HeadTable]] = []
    summed: SummedHeadTable | None = None
    count = end = 0
    positions = itertools.repeat(None) if starts is None else iter(starts)
    for table, start in zip(tables, positions, strict=False):
        begin = end if start is None else start
        count += table.count
        end = begin + table.count
        if isinstance(table, HeadTable):
            waiting.append((begin, table))
            new = []
        else:
            new = [table]
            end = table.ranges[-1][1] if table.ranges else end
        if summed is not None or new or count > most:
            if summed is None and len(waiting) > 1:
                waiting[0][1].merge(
                    *(rest for _, rest in waiting[1:])
                )  # refuses a picture that is in two of them
            new = [SummedHeadTable.of(part, place, seed) for place, part in waiting] + new
            waiting = []
            known = new if summed is None else [summed, *new]
            summed = known[0].merge(*known[1:])
    if summed is not None:
        return summed
    if not waiting:
        raise HeadsError("expected at least one head table to merge, got none; give some")
    return waiting[0][1].merge(*(rest for _, rest in waiting[1:]))
