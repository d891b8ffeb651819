"""Tables with a note: a Parquet file that any reader opens, and that tells when it was damaged.

A block of 80 bytes between the columns and the footer, where Parquet leaves room that no reader looks at, holds a
checksum of all other bytes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vitscope.errors import DamagedError, OutputError
from vitscope.storage import files, notes
from vitscope.storage.files import Place
from vitscope.storage.kinds import remedy
from vitscope.storage.notes import Note
from vitscope.storage.seal import BLANK, LENGTH, is_intact, seal

ENDING = ".parquet"
KEY = b"vitscope"
"""Name of the note in the schema's metadata."""
_MARK = b"vitscope-sha256:"
_MAGIC = b"PAR1"


def save(path: Place, frame: pd.DataFrame, kind: str, note: Note, *, version: int = 1) -> Path:
    """Write a table and its note to one Parquet file; returns its path.

    Args:
        path: The file, ending in .parquet. It appears whole or not at all.
        frame: Columns of texts, numbers or truths, each with a text as its name; the index is not kept.
        kind: The field's word for the table; only this kind is read back.
        note: JSON values: everything that is no column.
        version: Which form of this kind it is.

    Raises:
        OutputError: the file cannot be written, or a column has no form in such a file.

    Example:
        >>> path = save("/tmp/vitscope-example/heads.parquet", pd.DataFrame({"head": [0, 1]}), "example", {})
        >>> load(path, "example", ["head"])[0]["head"].tolist()
        [0, 1]
    """
    target = Path(path)
    if target.suffix != ENDING:
        raise OutputError(f"expected a file ending in {ENDING}, got {target.name!r}; rename it")
    return files.write(target, encode(frame, kind, note, version=version))


def load(
    path: Place, kind: str, columns: Iterable[str] = (), *, version: int = 1
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table and the note of a file that `save` wrote; use the columns by their names.

    Raises StorageError, in one line, when it is missing, truncated or changed by as much as one bit, of another kind,
    of a newer version, not ours, or lacks one of ``columns``.
    """
    return decode(files.read(path), path, kind, columns, version=version)


def export(path: Place, frame: pd.DataFrame, note: Note | None = None) -> Path:
    """Write a table as .csv, or as .parquet with a note, for other programs; vitscope does not read it back.

    Raises OutputError for another ending, or when the file cannot be written."""
    target = Path(path)
    if target.suffix == ".csv":
        return files.write(target, frame.to_csv(index=False))
    if target.suffix != ENDING:
        raise OutputError(
            f"expected a file ending in {ENDING} or .csv, got {target.name!r}; choose one of them"
        )
    return files.write(target, encode(frame, "table", note or {}))


def encode(frame: pd.DataFrame, kind: str, note: Note, *, version: int = 1) -> bytes:
    """The bytes of such a file, for a part of a folder. Raises OutputError as `save` does."""
    document = notes.encode(kind, version, note).encode()
    sink = io.BytesIO()
    try:
        names = list(frame.columns)
        if len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
            raise ValueError("its columns need texts as names, each once")
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({KEY: document})
        pq.write_table(table, sink, compression="zstd")
    except (pa.ArrowException, OSError, TypeError, ValueError) as error:
        raise OutputError(f"cannot write this {kind} ({error}); give columns of texts or numbers") from None
    return sealed(sink.getvalue())


def sealed(content: bytes) -> bytes:
    """A Parquet file with a checksum of all its bytes, in the place that no reader looks at.

    Raises ValueError when it is no whole Parquet file.
    """
    footer = _footer_start(content)
    if footer is None:
        raise ValueError("expected the bytes of a Parquet file")
    return seal(content[:footer] + _MARK + BLANK + content[footer:], footer + len(_MARK))


def seal_of(content: bytes) -> bool | None:
    """Whether the checksum of a Parquet file fits its bytes; None where it has none or is no whole Parquet file."""
    footer = _footer_start(content)
    start = -1 if footer is None else footer - LENGTH - len(_MARK)
    if start < 4 or content[start : start + len(_MARK)] != _MARK:
        return None
    return is_intact(content, start + len(_MARK))


def decode(
    content: bytes, path: Place, kind: str, columns: Iterable[str] = (), *, version: int = 1
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What `encode` made, back. ``path`` is what messages call it. Raises StorageError as `load` does."""
    if _footer_start(content) is None:
        raise DamagedError(
            f"{path} is empty; {remedy(kind)}"
            if not content
            else f"{path} is damaged, cut off or no Parquet table; {remedy(kind)}"
        )
    fits = seal_of(content)
    if fits is None:
        raise notes.foreign(path, kind)
    if not fits:
        raise notes.damaged(path, kind, "its checksum does not fit")
    try:
        table = pq.read_table(pa.BufferReader(content))
        text = (table.schema.metadata or {}).get(KEY, b"null")
        frame = table.replace_schema_metadata(None).to_pandas()
    except Exception as error:
        raise notes.damaged(path, kind, str(error)) from None
    note = notes.decode(text, path, kind, version)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise notes.damaged(path, kind, f"it has no column {', '.join(missing)}")
    return frame, note or {}


def _footer_start(content: bytes) -> int | None:
    """Where the footer of a Parquet file begins; None when it is no such file."""
    if len(content) < 12 or content[:4] != _MAGIC or content[-4:] != _MAGIC:
        return None
    (length,) = struct.unpack("<I", content[-8:-4])
    start = len(content) - 8 - int(length)
    return start if start >= 4 else None
