"""Parts of pages that scripts write: what stands between two marks, and the cells of tables."""

from __future__ import annotations


def between(page: str, begin: str, end: str, text: str) -> str:
    """The page with ``text`` between its two marks in the place of what stands there."""
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(
            f"error: the page has no place for the table; put {begin} and {end} where it belongs"
        )
    return f"{before}{begin}\n{text}\n{end}{after}"


def number(value: float, digits: int = 2, sign: bool = False) -> str:
    """With a true minus sign, and a plus sign where one is asked for; n/a where there is none."""
    return "n/a" if value != value else f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def cell(mean: float, half: float, digits: int = 2, sign: bool = False) -> str:
    """A mean and half its 95 % interval."""
    return f"{number(mean, digits, sign)} ± {half:.{digits}f}"
