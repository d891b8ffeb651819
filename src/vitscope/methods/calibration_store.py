"""Calibrations kept between runs: one small JSON file for each model, in the user's cache folder.

The folder is $VITSCOPE_CACHE, else $XDG_CACHE_HOME/vitscope, else ~/.cache/vitscope; VITSCOPE_CACHE set to nothing
keeps nothing. A folder that cannot be read or written, or a damaged file, is as if nothing had been kept.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitscope.errors import OutputError


def cache_folder() -> Path | None:
    """Where vitscope keeps what it found about models, None when nothing shall be kept."""
    named = os.environ.get("VITSCOPE_CACHE")
    if named is not None:
        return Path(named).expanduser() if named else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:  # XDG: a relative path is to be ignored
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "vitscope"
    except RuntimeError:  # no home folder
        return None


def load(name: str) -> dict[str, Any] | None:
    """The record kept under ``name``, None when there is none that can be read."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def save(name: str, record: Mapping[str, Any]) -> None:
    """Keep a record under ``name``: whole or not at all, also when several processes write."""
    folder = cache_folder()
    if folder is None:
        return
    from vitscope.rendering.files import write_atomically

    with contextlib.suppress(OutputError):
        write_atomically(folder / f"{name}.json", json.dumps(dict(record)))
