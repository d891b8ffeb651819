"""A folder of many files that appears all at once: filled beside its place, and put there by renaming."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from vitscope.errors import OutputError
from vitscope.storage import files


@contextlib.contextmanager
def made_whole(place: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of ``place`` at the end; whatever goes wrong, what was there stays.

    Whether ``place`` may be replaced is for the caller to know. Raises OutputError when it cannot be written."""
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
                f"cannot put the folder at {place} ({files.reason(error)}); give OUT a folder of yours"
            ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
