"""A site's folder: written beside its place, and put there whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vitscope.errors import OutputError
from vitscope.storage import files, whole_folders

MARK = "vitscope-site.json"
"""What says that a folder is a site; written last."""


def require_place(place: Path) -> None:
    """Raise OutputError unless a site may be written there: nothing, an empty folder, or a site that it replaces."""
    try:
        if not place.exists() and not place.is_symlink():
            return
        if not place.is_dir():
            raise OutputError(f"{place} is a file, not a folder; give OUT another name")
        if (place / MARK).is_file() or not any(place.iterdir()):
            return
    except OSError as error:
        raise OutputError(
            f"cannot look into {place} ({files.reason(error)}); give OUT a folder of yours"
        ) from None
    raise OutputError(
        f"{place} holds other files and is no site (no {MARK}); give OUT a new or an empty folder"
    )


@contextlib.contextmanager
def made_whole(place: Path) -> Iterator[Path]:
    """A folder to fill with a site, which takes the place of ``place`` at the end.

    Raises OutputError when it cannot be written, or when something else is there."""
    require_place(place)
    with whole_folders.made_whole(place) as beside:
        yield beside
