"""Numbers that a run could not end with are refused before it begins."""

from __future__ import annotations

import math
import numbers

from vitscope.heads.errors import HeadsError

MOST = 1_000_000
"""Of maps per head, repetitions, epochs, orders: more than this is a slip of the finger."""


def check_whole(name: str, value: object, low: int, high: int = MOST) -> int:
    """A whole number within bounds. Raises HeadsError in one line otherwise."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= int(value) <= high:
        raise HeadsError(
            f"expected {name} to be a whole number from {low} to {high:,}, got {_short(value)}; choose one in between"
        )
    return int(value)


def check_number(
    name: str, value: object, low: float, high: float, remedy: str = "choose one in between"
) -> float:
    """A finite number above ``low`` and up to ``high``. Raises HeadsError in one line otherwise."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not _within(value, low, high):
        raise HeadsError(
            f"expected {name} to be a number above {low:g} and at most {high:g}, got {_short(value)}; "
            f"{remedy}"
        )
    return float(value)


def _within(value: numbers.Real, low: float, high: float) -> bool:
    try:
        return low < float(value) <= high  # never true of NaN
    except OverflowError:
        return False


def _short(value: object) -> str:
    text = (
        str(value)
        if not isinstance(value, int) or abs(value) < 10**30
        else f"a number of {_digits(value)} digits"
    )
    return text if len(text) <= 40 else f"{text[:40]}…"


def _digits(value: int) -> int:
    return int(math.log10(abs(value))) + 1
