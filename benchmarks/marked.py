"""Parts of pages that scripts write: what stands between two marks."""

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
