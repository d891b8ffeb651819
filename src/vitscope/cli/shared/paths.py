"""Wrong paths are told at once, before a model is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitscope.pictures import PictureSource


def require_there(*paths: Path | None) -> None:
    """Raise PictureError, in the words of reading it, for the first of these paths at which there is nothing."""
    from vitscope.pictures.read import open_file

    for path in paths:
        if path is not None and not path.exists():
            with open_file(path):
                return


def refuse_missing(source: PictureSource) -> None:
    """Raise PictureError where at none of the named paths there is anything; some of many are skipped when read."""
    if all(isinstance(item, Path) and not item.exists() for item in source.items):
        require_there(source.items[0])
