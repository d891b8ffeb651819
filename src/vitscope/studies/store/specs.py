"""Which arrays a study has, and the small files that describe them to Zarr.

Each is a Zarr v3 array with the sharding codec whose Zarr shard is the study's shard: one file per array and shard,
with one writer. Row = picture; NaN where a picture was skipped or its shard is not finished.

float16 holds numbers up to 65,504 and, in full precision, down to 6.1e-5. An array whose values need more is told so at
the first shard (`check_range`), never stored as infinity or zero; give it ``precision="float32"`` when it is declared.
Maps and scores of heads are always float32, because rounding makes ties and ties change orders of removal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitscope.errors import OutputError, StorageError
from vitscope.storage.seal import BLANK, is_intact, seal
from vitscope.studies.store.schemas import SCHEMA

ROOT = "arrays.zarr"
Precision = Literal["float16", "float32"]
LARGEST_HALF = 65504.0
SMALLEST_HALF = 2.0**-14
"""Below this float16 loses digits, and all of them below 3e-8."""


@dataclass(frozen=True)
class ArraySpec:
    """One array of a study: ``shape`` of one picture, type, pictures in an inner chunk, names of all dimensions."""

    path: str
    shape: tuple[int, ...]
    dtype: Precision
    inner: int
    dims: tuple[str, ...]

    @property
    def bytes_raw(self) -> int:
        """Bytes of one picture before compression."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class _Kind:
    dtype: Precision
    inner: int
    dims: tuple[str, ...]


_KINDS = {
    "maps": _Kind("float32", 16, ("y", "x")),
    "flow": _Kind("float16", 16, ("block", "y", "x")),
    "class_rows": _Kind("float16", 16, ("block", "head", "token")),
    "features": _Kind("float32", 256, ("feature",)),
    "head_scores": _Kind("float32", 256, ("block", "head")),
    "profiles": _Kind("float32", 256, ("block", "head")),
    "patterns": _Kind("float16", 16, ("block", "head", "latent")),
    "attention": _Kind("float16", 1, ("block", "head", "query", "key")),
}
"""By the first part of an array's path."""


def array_spec(path: str, shape: tuple[int, ...], precision: Precision | None = None) -> ArraySpec:
    """The array of a path such as ``maps/gmar``, ``flow/dart``, ``class_rows`` or ``class_rows/block_07``.

    Args:
        path: Its first part decides what kind of array it is: maps, flow, class_rows, features, head_scores,
            patterns, attention.
        shape: Of one picture; one dimension less than usual where the array is of one block.
        precision: Another type than that kind has: float32 for values that float16 does not hold. Kinds that are
            float32 stay so.

    Raises:
        StorageError: there is no such kind of array, or it has another number of dimensions.

    Example:
        >>> array_spec("maps/gmar", (14, 14))
        ArraySpec(path='maps/gmar', shape=(14, 14), dtype='float32', inner=16, dims=('picture', 'y', 'x'))
    """
    kind = _KINDS.get(path.partition("/")[0])
    if kind is None or not all(path.split("/")):
        raise StorageError(f"a study has no array {path!r}; its arrays begin with {', '.join(_KINDS)}")
    dims = kind.dims[len(kind.dims) - len(shape) :] if kind.dims[0] == "block" else kind.dims
    if len(dims) != len(shape) or len(dims) < len(kind.dims) - 1 or any(size < 1 for size in shape):
        raise StorageError(f"the array {path} has {', '.join(kind.dims)} for each picture, got shape {shape}")
    dtype: Precision = "float32" if "float32" in (kind.dtype, precision) else "float16"
    return ArraySpec(path, tuple(int(size) for size in shape), dtype, kind.inner, ("picture", *dims))


def check_range(spec: ArraySpec, values: NDArray[Any]) -> None:
    """Raise OutputError when float16 would turn values of an array into infinity, or all of a picture's into zero.

    Called for every shard; call it on the first batches of a new study to choose the precision before any work.
    """
    if spec.dtype != "float16" or values.dtype == np.float16 or not values.size:
        return
    size = np.abs(values.reshape(len(values), -1))
    largest = np.max(np.where(np.isnan(size), 0, size), axis=1)
    remedy = "make the study with --arrays-precision float32"
    # What rounds to 65504 still fits.
    if np.any(largest >= LARGEST_HALF + 16):
        raise OutputError(
            f"the array {spec.path} holds {float(largest.max()):g}, float16 ends at 65504; {remedy}"
        )
    small = largest[(largest > 0) & (largest < SMALLEST_HALF)]
    if small.size:
        raise OutputError(
            f"the array {spec.path} has a picture whose largest value is {float(small.min()):g}, float16 loses digits "
            f"below {SMALLEST_HALF:.2g}; {remedy}"
        )


def inner_of(spec: ArraySpec, shard_size: int) -> int:
    """Pictures in an inner chunk: the largest divisor of the shard's size that is no more than the spec's.

    Example:
        >>> inner_of(array_spec("head_scores/libra", (12, 3)), 272)
        136
    """
    return next(size for size in range(min(spec.inner, shard_size), 0, -1) if shard_size % size == 0)


def array_path(path: str) -> str:
    """The folder of an array in its study."""
    return f"{ROOT}/{path}"


def shard_path(spec: ArraySpec, shard: int) -> str:
    """Where the file of an array and shard lies in its study.

    Zarr's own separator would make a tree of folders for every shard; a point keeps the files side by side, so that a
    study's folders are all made once, at its beginning.

    Example:
        >>> shard_path(array_spec("maps/gmar", (14, 14)), 17)
        'arrays.zarr/maps/gmar/c.17.0.0'
    """
    return f"{array_path(spec.path)}/{chunk_key(spec, shard)}"


def chunk_key(spec: ArraySpec, shard: int) -> str:
    """What Zarr calls the file of a shard within its array."""
    return ".".join(("c", str(shard), *("0" for _ in spec.shape)))


def array_folders(specs: Iterable[ArraySpec]) -> list[str]:
    """All folders that arrays need in a study, those above first."""
    found = {ROOT}
    for spec in specs:
        parts = array_path(spec.path).split("/")
        found |= {"/".join(parts[: depth + 1]) for depth in range(len(parts))}
    return sorted(found)


def group_metadata(study: str, specs: Iterable[ArraySpec] = ()) -> dict[str, bytes]:
    """The ``zarr.json`` of the root and of each group between it and the arrays, by path in the study.

    No consolidated metadata: Zarr's specification knows none.

    Raises StorageError when one array lies within another.
    """
    paths = [spec.path for spec in specs]
    inside = [path for path in paths if any(path.startswith(f"{other}/") for other in paths)]
    if inside or len(set(paths)) != len(paths):
        raise StorageError(f"arrays of one path ({', '.join(inside or sorted(paths))}); give each its own")
    groups = {"": {"vitscope_study": study, "schema": SCHEMA}}
    for path in paths:
        parts = path.split("/")[:-1]
        groups |= {"/".join(parts[: depth + 1]): {} for depth in range(len(parts))}
    return {
        "/".join((ROOT, *(part for part in (path, "zarr.json") if part))): _document(
            {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        )
        for path, attributes in groups.items()
    }


def array_metadata(spec: ArraySpec, pictures: int, shard_size: int) -> bytes:
    """The ``zarr.json`` of an array over ``pictures`` rows. Equal bytes for equal arguments."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    sharding = {
        "chunk_shape": [inner_of(spec, shard_size), *spec.shape],
        "codecs": [little, {"name": "zstd", "configuration": {"level": 1, "checksum": True}}],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return _document(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [pictures, *spec.shape],
            "data_type": spec.dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [shard_size, *spec.shape]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": "NaN",
            "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
            "dimension_names": list(spec.dims),
            "storage_transformers": [],
            "attributes": {},
        }
    )


def metadata_path(path: str) -> str:
    """Where the description of an array lies in its study."""
    return f"{array_path(path)}/zarr.json"


_CHECKSUM = b'"vitscope_checksum": "'


def _document(document: Mapping[str, Any]) -> bytes:
    """JSON with a checksum of the whole file among the attributes."""
    attributes = {**document["attributes"], "vitscope_checksum": BLANK.decode()}
    content = json.dumps({**document, "attributes": attributes}, indent=1).encode()
    return seal(content, content.index(_CHECKSUM) + len(_CHECKSUM))


def is_whole(content: bytes) -> bool:
    """Whether a ``zarr.json`` is as it was written."""
    start = content.find(_CHECKSUM)
    return start >= 0 and is_intact(content, start + len(_CHECKSUM))
