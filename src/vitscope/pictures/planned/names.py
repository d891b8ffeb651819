"""How places are written down: names of files as text that gives the same file back, and patterns of several."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes

from vitscope.errors import PictureError

BYTES = "bytes:"
"""Begins the text of a name that is no UTF-8."""
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST = 1_000_000
"""Most names that one pattern in braces stands for."""


def text_of_name(name: str) -> str:
    """The name of a file as text that can be stored anywhere; ``name_of_text`` gives it back.

    A name that is no UTF-8 becomes ``bytes:`` and its bytes, percent-encoded.

    Example:
        >>> text_of_name("a/b.png"), text_of_name("caf\\udce9.png")
        ('a/b.png', 'bytes:caf%E9.png')
    """
    if not name.startswith(BYTES):
        try:
            name.encode()
            return name
        except UnicodeEncodeError:
            pass
    return BYTES + quote(os.fsencode(name), safe="/")


def name_of_text(text: str) -> str:
    """The name that ``text_of_name`` wrote down.

    Example:
        >>> name_of_text("bytes:caf%E9.png") == "caf\\udce9.png"
        True
    """
    return os.fsdecode(unquote_to_bytes(text[len(BYTES) :])) if text.startswith(BYTES) else text


def braced(pattern: str) -> Iterator[str]:
    """The names that a pattern with ``{000..009}`` or ``{train,val}`` stands for, in order.

    Raises PictureError for a range that runs backwards, and for more than a million names.

    Example:
        >>> list(braced("a-{08..10}.tar"))
        ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    found = _BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    numbers = _RANGE.fullmatch(found[1])
    if numbers is None:
        inner: Iterator[str] = iter(found[1].split(","))
    else:
        first, last = int(numbers[1]), int(numbers[2])
        if not 0 <= last - first < MOST:
            raise PictureError(
                f"the range {found[0]} in '{pattern[:100]}' runs backwards or has more than {MOST:,} names; correct it"
            )
        width = len(numbers[1]) if numbers[1].startswith("0") else 0
        inner = (f"{number:0{width}d}" for number in range(first, last + 1))
    for text in inner:
        yield from braced(pattern[: found.start()] + text + pattern[found.end() :])
