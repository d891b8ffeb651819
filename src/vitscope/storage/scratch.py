"""A folder for the files of another program, of which nothing is left in the end."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from pathlib import Path


def scratch_place() -> Path:
    """A name in the folder for temporary files that nobody else has; short, because some programs put sockets there,
    whose names may have 107 bytes."""
    folder = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()
    return Path(folder) / f"vs-{uuid.uuid4().hex[:8]}"


def remove_scratch(place: Path, *, seconds: float = 5.0) -> None:
    """Remove it with all that is there, again and again while programs that are about to end still write."""
    until = time.monotonic() + seconds
    shutil.rmtree(place, ignore_errors=True)
    while place.exists() and time.monotonic() < until:
        time.sleep(0.25)
        shutil.rmtree(place, ignore_errors=True)
