"""What another library said when it failed, short enough for a one-line message."""

from __future__ import annotations


def brief(error: BaseException, length: int = 160) -> str:
    """``TypeName: its message`` on one line, the message cut at ``length`` characters."""
    text = " ".join(str(error).split())
    if len(text) > length:
        text = text[: length - 3].rstrip() + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
