"""The protocol: everything that must be equal before two scores may be compared, as one frozen record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from vitscope.errors import EvaluationError

REMOVALS = ("mask", "drop", "mean", "blur", "zero", "black")
QUANTITIES = ("logit", "probability", "log_probability")
# What differs between two shards of one data set and is added up when they are merged.
_SHARD_FIELDS = ("images", "pictures")


@dataclass(frozen=True)
class Protocol:
    """Everything that must be equal for two scores to be compared.

    The first group is chosen by the user, the second is filled in by :func:`vitscope.evaluation.evaluate`.

    removal: how a token is taken away. ``mask`` (default): its keys get −inf, nobody can attend to it.
        ``drop``: the shorter sequence, the same value at about half the cost. ``mean``, ``blur``, ``zero``,
        ``black``: the pixels of its cell become the mean colour, the blurred picture, zero in the model's
        normalised space, or black before normalisation.
    score: ``logit``, ``probability`` or ``log_probability`` of the explained class.
    target: ``"top1"`` (the model's own prediction), ``"label"``, or a class index.
    steps: steps of a removal curve. seed: of every random draw; each picture has its own stream, so results
        do not depend on batches or shards.
    random_draws: seeds over which the random control is averaged.
    upsampling: how a map reaches pixels where a metric is defined on pixels.
    mosaic: cells along a side of the grid pointing game's mosaics.
    mean_colour: RGB in 0..1 for ``mean``; None is ImageNet's mean colour.
    """

    removal: str = "mask"
    score: str = "logit"
    target: str | int = "top1"
    steps: int = 20
    seed: int = 0
    random_draws: int = 10
    upsampling: str = "bilinear"
    mosaic: int = 2
    mean_colour: tuple[float, float, float] | None = None

    images: str = ""
    pictures: int = 0
    model: str = ""
    precision: str = ""
    preprocessing: str = ""
    grid: tuple[int, int] | None = None
    versions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        _one_of("removal", self.removal, REMOVALS)
        _one_of("score", self.score, QUANTITIES)
        _one_of("upsampling", self.upsampling, ("bilinear", "nearest"))
        if isinstance(self.target, str) and self.target not in ("top1", "label"):
            raise EvaluationError(f"expected target 'top1', 'label' or a class index, got {self.target!r}")
        if self.mosaic < 2:
            raise EvaluationError(f"expected mosaics of at least 2 cells along a side, got {self.mosaic}")
        if self.steps < 1 or self.random_draws < 1:
            raise EvaluationError(
                f"expected steps and random_draws of at least 1, got {self.steps} and {self.random_draws}"
            )

    @property
    def digest(self) -> str:
        """Short hash of all fields; equal digests, comparable scores."""
        return _hash(self.to_dict())

    @property
    def shard_digest(self) -> str:
        """Hash of all fields but the pictures: equal for the shards of one data set."""
        return _hash({k: v for k, v in self.to_dict().items() if k not in _SHARD_FIELDS})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Protocol:
        """The inverse of :meth:`to_dict`, also after a way through JSON."""
        known = {field.name for field in fields(cls)}
        unknown = set(values) - known
        if unknown:
            raise EvaluationError(
                f"a protocol has no field {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
            )
        clean = dict(values)
        for name in ("mean_colour", "grid"):
            if clean.get(name) is not None:
                clean[name] = tuple(clean[name])
        clean["versions"] = tuple((str(k), str(v)) for k, v in clean.get("versions", ()))
        return cls(**clean)

    def differences(self, other: Protocol, ignore: Iterable[str] = ()) -> list[str]:
        """``field: mine != theirs`` for each field that differs."""
        skip = set(ignore)
        return [
            f"{field.name}: {getattr(self, field.name)!r} != {getattr(other, field.name)!r}"
            for field in fields(self)
            if field.name not in skip and getattr(self, field.name) != getattr(other, field.name)
        ]

    def require_equal(self, other: Protocol) -> None:
        """Refuse to put scores of two different protocols into one table.

        Raises EvaluationError naming each field that differs.
        """
        differences = self.differences(other)
        if differences:
            raise EvaluationError(
                f"scores of two protocols cannot share a table ({'; '.join(differences)}); evaluate both with one"
            )

    def merged(self, other: Protocol) -> Protocol:
        """The protocol of two shards together: equal but for the pictures, whose digests add up."""
        differences = self.differences(other, ignore=_SHARD_FIELDS)
        if differences:
            raise EvaluationError(
                f"shards of two protocols cannot be added ({'; '.join(differences)}); evaluate both with one"
            )
        return replace(
            self, images=add_digests(self.images, other.images), pictures=self.pictures + other.pictures
        )


def pictures_digest(keys: Iterable[str]) -> str:
    """Order-free digest of a set of picture keys, such that digests of disjoint sets add up."""
    total = "0" * 32
    for key in keys:
        total = add_digests(total, hashlib.blake2b(key.encode(), digest_size=16).hexdigest())
    return total


def add_digests(first: str, second: str) -> str:
    """Digest of the union of two disjoint sets: the sum modulo 2^128."""
    return f"{(int(first or '0', 16) + int(second or '0', 16)) % (1 << 128):032x}"


def _hash(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise EvaluationError(f"expected {name} to be one of {', '.join(allowed)}, got {value!r}")
