"""A checksum of a whole file inside the file itself.

The file is made with 64 zeros where its SHA-256 will stand; the digest of those bytes then takes their place. So every
byte is covered, in any format that can hold a text, and a file is checked before any parser sees it.
"""

from __future__ import annotations

import hashlib

LENGTH = 64
BLANK = b"0" * LENGTH


def seal(content: bytes, position: int) -> bytes:
    """``content``, whose 64 bytes from ``position`` on are BLANK, with its digest there.

    Raises ValueError when other bytes stand there.
    """
    if content[position : position + LENGTH] != BLANK:
        raise ValueError("expected 64 zeros where the checksum goes")
    return content[:position] + _digest(content, position) + content[position + LENGTH :]


def is_intact(content: bytes, position: int) -> bool:
    """Whether the digest that stands at ``position`` is that of the file."""
    return content[position : position + LENGTH] == _digest(content, position)


def _digest(content: bytes, position: int) -> bytes:
    whole = memoryview(content)
    found = hashlib.sha256(whole[:position])
    found.update(BLANK)
    found.update(whole[position + LENGTH :])
    return found.hexdigest().encode()
