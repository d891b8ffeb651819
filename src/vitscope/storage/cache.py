"""Where results are kept that can be made again: the user's cache folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """``vitscope`` in the user's cache folder: that of ``XDG_CACHE_HOME``, else the system's own. It is not made.

    Example:
        >>> cache_folder().name
        'vitscope'
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if named and os.path.isabs(named):  # the standard: a relative one is to be ignored
        return Path(named) / "vitscope"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vitscope"
    if sys.platform == "win32":
        return (
            Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vitscope" / "cache"
        )
    return Path.home() / ".cache" / "vitscope"
