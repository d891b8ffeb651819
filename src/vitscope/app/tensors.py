"""Arrays as bytes that a browser reads without copying: a small JSON header, then raw little-endian values.

Four bytes ``VST1``; the length of the header as uint32; the header as UTF-8 JSON, padded with spaces so that the data
begin at a multiple of 8; then the arrays, each at a multiple of 8. ``tensors`` in the header says of each array its
``name``, ``dtype``, ``shape``, ``offset`` (from where the data begin) and ``bytes``; all else is metadata.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.errors import DamagedError, OutputError

MAGIC = b"VST1"
MEDIA_TYPE = "application/x-vitscope-tensors"
DTYPES = ("float32", "uint8", "uint16", "uint32", "int32")
_ALIGNED = 8
_START = struct.Struct("<4sI")


def encode(tensors: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> bytes:
    """Arrays by name, and what is known of them, as the bytes of one answer.

    Args:
        tensors: Arrays of the types ``DTYPES``.
        header: JSON values; numbers that JSON does not have (NaN, infinity) become null.

    Returns:
        The bytes; equal arrays and headers give equal bytes.

    Raises:
        OutputError: An array of another type, or a header that is no JSON.

    Example:
        >>> import numpy as np
        >>> found, header = decode(encode({"map": np.float32([[1, 2]])}, {"method": "dart"}))
        >>> found["map"].tolist(), header["method"]
        ([[1.0, 2.0]], 'dart')
    """
    records, parts, offset = [], [], 0
    for name, values in tensors.items():
        if values.dtype.name not in DTYPES:
            raise OutputError(f"expected arrays of {', '.join(DTYPES)}, got {values.dtype} for {name!r}")
        content = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
        record = {"name": name, "dtype": values.dtype.name, "shape": list(values.shape)}
        records.append({**record, "offset": offset, "bytes": len(content)})
        gap = -len(content) % _ALIGNED
        parts.append(content + bytes(gap))
        offset += len(content) + gap
    try:
        text = json.dumps({"tensors": records, **_plain(header)}, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise OutputError(f"the header of an answer is no JSON ({error})") from None
    written = text.encode("utf-8", "backslashreplace")
    written += b" " * (-(len(written) + _START.size) % _ALIGNED)
    return b"".join([_START.pack(MAGIC, len(written)), written, *parts])


def decode(content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What ``encode`` made, back: the arrays by name, and the rest of the header.

    Raises DamagedError for anything else."""
    try:
        magic, length = _START.unpack_from(content)
        if magic != MAGIC:
            raise ValueError("its first bytes are others")
        begin = _START.size + length
        header = json.loads(content[_START.size : begin])
        arrays = {}
        for each in header.pop("tensors"):
            if each["dtype"] not in DTYPES:
                raise ValueError(f"an array of {each['dtype']}")
            kind = np.dtype(each["dtype"]).newbyteorder("<")
            start = begin + each["offset"]
            values = np.frombuffer(content[start : start + each["bytes"]], kind).reshape(each["shape"])
            arrays[str(each["name"])] = values.astype(each["dtype"])
        return arrays, dict(header)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"these are no tensors of the app ({error}); ask for them again") from None


def finite(value: float) -> float | None:
    """A number as JSON can hold it; None for what is infinite or no number."""
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return finite(value) if isinstance(value, float) else value
