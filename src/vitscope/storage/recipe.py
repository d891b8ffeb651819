"""What makes a result: the identity of a run, as one frozen record of plain values.

Two results may be put together (in a checkpoint, a cache, a merge or a table) only when their recipes say that they
were made alike. What differs between the shards of one data set (the pictures, what is known about them, their number)
is kept as sums, so that the recipe of the whole is the sum of the recipes of its shards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import xxhash

from vitscope.errors import RecipeError, StorageError

_WORDS = {
    "model.fingerprint": "weights",
    "pictures": "pictures (their contents or names)",
    "count": "number of pictures",
    "truth.labels": "labels",
    "truth.masks": "masks",
    "truth.boxes": "boxes",
    "truth.targets": "targets of the pictures",
}
_LONGEST = 60


@dataclass(frozen=True)
class Recipe:
    """Everything that a result depends on.

    Args:
        analysis: What was done, such as ``"evaluate"`` or ``"explain"``.
        model: source, fingerprint of the weights, precision, preprocessing, what the user overrode, classes.
        options: Every option as it was used, defaults filled in and nothing left to be found later.
        target: What is explained, in its short form; per-picture targets are in ``truth``.
        pictures: Digest of the pictures' names and contents, see :func:`pictures_digest`; in any order.
        truth: Digests of what is known about the pictures, by kind (labels, masks, boxes), see :func:`truth_digest`.
        count: Number of pictures.
        versions: Of the libraries that made the result.

    Values become plain JSON values; arrays and tensors become a digest of their bytes.

    Example:
        >>> one = Recipe("explain", {"fingerprint": "a1"}, {"norm": "l1"})
        >>> one.differences(Recipe("explain", {"fingerprint": "a1"}, {"norm": "l2"}))
        ["options.norm: 'l1' against 'l2'"]
    """

    analysis: str
    model: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""
    pictures: str = ""
    truth: Mapping[str, str] = field(default_factory=dict)
    count: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("model", "options", "truth", "versions"):
            object.__setattr__(self, name, plain(getattr(self, name)))

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits over everything; equal digests, equal results."""
        return digest_of(self.to_dict())

    @property
    def shard_digest(self) -> str:
        """Over everything but the pictures and what is known about them: equal for the shards of one data set."""
        return digest_of(self.shard().to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of :meth:`to_dict`. Raises StorageError for a record that no recipe was made from."""
        known = {each.name: each for each in fields(cls)}
        if not isinstance(values, Mapping) or "analysis" not in values or set(values) - set(known):
            raise StorageError("expected the recipe of a result, got another record; make the result anew")
        for name, value in values.items():
            kind = (
                Mapping
                if name in ("model", "options", "truth", "versions")
                else int
                if name == "count"
                else str
            )
            if not isinstance(value, kind) or isinstance(value, bool):
                raise StorageError(f"the recipe of this result has no proper {name}; make the result anew")
        return cls(**dict(values))

    def differences(self, other: Recipe, ignore: Iterable[str] = ()) -> list[str]:
        """What differs, in words: ``options.norm: 'l1' against 'l2'``; ``ignore``: fields that may differ."""
        skip = set(ignore)
        mine, theirs = (_flat({k: v for k, v in r.to_dict().items() if k not in skip}) for r in (self, other))
        found = []
        for path in dict.fromkeys((*mine, *theirs)):
            if mine.get(path, _MISSING) != theirs.get(path, _MISSING):
                word = _WORDS.get(path, path)
                if path == "pictures" or (path.startswith("truth.") and path in mine and path in theirs):
                    found.append(f"other {word}")
                elif path.startswith("truth."):
                    found.append(f"{word} known of one only")
                else:
                    found.append(f"{word}: {_short(mine, path)} against {_short(theirs, path)}")
        return found

    def require_equal(self, other: Recipe, what: str = "two results") -> None:
        """Raise RecipeError, naming each difference, unless the other recipe is the same."""
        self._require([] if self.digest == other.digest else self.differences(other), what)

    def shard(self) -> Recipe:
        """The recipe without its pictures: equal for the shards of one data set."""
        return replace(self, pictures="", truth=dict.fromkeys(self.truth, ""), count=0)

    def merged(self, *others: Recipe, what: str = "two results") -> Recipe:
        """The recipe of several shards of disjoint pictures together. Raises RecipeError for another recipe."""
        pictures, truth, count = self.pictures, dict(self.truth), self.count
        for other in others:
            self._require(self.shard().differences(other.shard()), what)
            pictures = add_digests(pictures, other.pictures)
            truth = {kind: add_digests(digest, other.truth[kind]) for kind, digest in truth.items()}
            count += other.count
        return replace(self, pictures=pictures, truth=truth, count=count)

    @staticmethod
    def _require(differences: list[str], what: str) -> None:
        if differences:
            raise RecipeError(
                f"{what} of different recipes cannot be put together ({'; '.join(differences)}); make both alike"
            )


def pictures_digest(keys: Iterable[str], contents: Iterable[str]) -> str:
    """Digest of a set of pictures by their names and content ids, in any order; those of disjoint sets add up.

    The names are part of it because the random draws of a picture depend on its name.
    """
    return _sum(digest_of([key, content]) for key, content in zip(keys, contents, strict=True))


def truth_digest(keys: Iterable[str], values: Iterable[Any]) -> str:
    """Digest of what is known of each picture (its label, mask, boxes), in any order; those of shards add up."""
    return _sum(digest_of([key, plain(value)]) for key, value in zip(keys, values, strict=True))


def add_digests(first: str, second: str) -> str:
    """Digest of two disjoint sets together: the sum modulo 2^128."""
    return f"{(int(first or '0', 16) + int(second or '0', 16)) % (1 << 128):032x}"


def digest_of(value: Any) -> str:
    """xxh3-128 of plain values as JSON with sorted names, 32 hexadecimal digits."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"))
    return xxhash.xxh3_128_hexdigest(text.encode())


def plain(value: Any) -> Any:
    """A value as JSON knows it. 2.0 is 2; arrays and tensors become a digest of type, shape and bytes; records their
    fields; functions their name and a digest of what they do. Raises TypeError for anything else."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if hasattr(value, "in_recipe") and not isinstance(value, type):  # a result that another one depends on
        return plain(value.in_recipe())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else float(value)
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each) for each in value), key=repr)
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value)
    if callable(value):
        return _function(value)
    raise TypeError(f"a {type(value).__name__} cannot be part of a recipe; give plain values or arrays")


def _array(value: Any) -> Any:
    """Numbers of numpy and torch as numbers, arrays as a digest: the same for a tensor on any device and its array."""
    import numpy as np

    if hasattr(value, "detach"):
        import torch

        value = value.detach().cpu().contiguous()
        if value.dim() == 0:
            return plain(value.item())
        kind, data = str(value.dtype).removeprefix("torch."), value.reshape(-1).view(torch.uint8).numpy()
    else:
        value = np.asarray(value)
        if value.ndim == 0:
            return plain(value.item())
        if value.dtype.hasobject:
            return plain(value.tolist())
        kind, data = str(value.dtype), np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    return f"{kind}{list(value.shape)} {xxhash.xxh3_128_hexdigest(memoryview(data))}"


def _function(value: Any) -> Any:
    """A function by its name, its code and the plain values that it holds on to; a callable object by its state."""
    kind = value if hasattr(value, "__qualname__") else type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    code = getattr(value, "__code__", None)
    if code is None:
        state = value.state_dict() if hasattr(value, "state_dict") else getattr(value, "__dict__", {})
        return {"function": name, "state": {str(key): _held(each) for key, each in sorted(state.items())}}
    held = []
    for cell in getattr(value, "__closure__", None) or ():
        try:
            held.append(_held(cell.cell_contents))
        except ValueError:
            held.append("not yet known")
    held += [_held(each) for each in getattr(value, "__defaults__", None) or ()]
    return {"function": name, "code": _code(code), "held": held}


def _code(code: Any) -> str:
    inner = []
    for each in code.co_consts:
        # The order of a set of texts is another one in every process.
        known = sorted(map(repr, each)) if isinstance(each, frozenset) else repr(each)
        inner.append(_code(each) if hasattr(each, "co_code") else known)
    return xxhash.xxh3_128_hexdigest(repr((code.co_code, code.co_names, inner)).encode())


def _held(value: Any) -> Any:
    """What a function holds on to; of functions in turn only the name, because they may hold each other."""
    if callable(value) and not hasattr(value, "dtype"):
        kind = value if hasattr(value, "__qualname__") else type(value)
        return f"{kind.__module__}.{kind.__qualname__}"
    try:
        return plain(value)
    except (TypeError, RecursionError):
        return f"a {type(value).__module__}.{type(value).__qualname__}"


def _sum(digests: Iterable[str]) -> str:
    return f"{sum(int(digest, 16) for digest in digests) % (1 << 128):032x}"


_MISSING = object()


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested records as one, with paths for names."""
    found: dict[str, Any] = {}
    for name, each in value.items():
        path = f"{before}{name}"
        if isinstance(each, Mapping) and each:
            found.update(_flat(each, f"{path}."))
        else:
            found[path] = each
    return found


def _short(values: Mapping[str, Any], path: str) -> str:
    if path not in values:
        return "none"
    text = repr(values[path])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
