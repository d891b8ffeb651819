"""A site's folder: written beside its place, and put there whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from vitscope.errors import OutputError
from vitscope.storage import files

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
    """A folder to fill, which takes the place of ``place`` at the end; whatever goes wrong, what was there stays.

    Raises OutputError when it cannot be written."""
    require_place(place)
    whole = Path(os.path.abspath(place))
    beside = whole.with_name(f".{whole.name}-{uuid.uuid4().hex[:8]}.tmp")
    before = beside.with_suffix(".old")
    files.make_folder(beside)
    try:
        yield beside
        try:
            if whole.exists():
                os.rename(whole, before)
            try:
                os.rename(beside, whole)
            except OSError:
                if before.exists():
                    os.rename(before, whole)
                raise
        except OSError as error:
            raise OutputError(
                f"cannot put the site at {place} ({files.reason(error)}); give OUT a folder of yours"
            ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
