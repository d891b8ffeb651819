"""Rows and points of a study as they stand in an address."""

from __future__ import annotations

import base64
import re

import numpy as np
from numpy.typing import NDArray

from vitscope.heads import HeadsError

LONGEST = 60_000
"""Letters of a list."""
FURTHEST = 100_000_000
"""The largest place of a point."""


def read_places(text: str) -> NDArray[np.int64]:
    """Sorted numbers as the page writes them: of each run the gap before it and its length. Raises HeadsError."""
    refused = HeadsError("these are no places of points; take them from the page")
    if len(text) > LONGEST or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise refused
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise refused from None
    numbers, value, factor = [], 0, 1
    for byte in content:
        value, factor = value + (byte & 127) * factor, factor * 128
        if value > FURTHEST:
            raise refused
        if byte < 128:
            numbers.append(value)
            value, factor = 0, 1
    if factor != 1 or len(numbers) % 2 or sum(numbers) > FURTHEST:
        raise refused
    ends = np.cumsum(np.array(numbers, np.int64))
    runs = [np.arange(start, stop) for start, stop in zip(ends[::2], ends[1::2], strict=True)]
    return np.concatenate(runs) if runs else np.empty(0, np.int64)


def read_rows(text: str) -> list[int] | None:
    """``0-4,7`` as numbers, None for nothing. Raises HeadsError for anything else."""
    text = text.strip()
    if not text:
        return None
    if len(text) > LONGEST or not re.fullmatch(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*", text):
        raise HeadsError(f"rows are written 0-4,7 and counted from 0, got {text[:60]!r}")
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, stop = int(first), int(last or first) + 1
        if stop <= start or len(found) + stop - start > 10_000_000:
            raise HeadsError(f"rows from {start} to {stop - 1} cannot be read; write the smaller one first")
        found.update(range(start, stop))
    return sorted(found)
