"""Arrays by name as the bytes of one NPZ archive: for a file of a part, whose checksum stands in the part's note."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.errors import StorageError


def encode(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of the archive; texts and numbers of any shape."""
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    return buffer.getvalue()


def decode(content: bytes) -> dict[str, NDArray[Any]]:
    """What `encode` made, back; nothing in it is run. Raises StorageError for other bytes."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StorageError(f"expected arrays, got other bytes ({error}); make it anew") from None
