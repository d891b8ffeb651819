"""The protocol: everything that must be equal before two scores may be compared, as one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from vitscope.errors import EvaluationError
from vitscope.options.door import check_fields
from vitscope.storage.recipe import Recipe, digest_of

REMOVALS = ("mask", "drop", "mean", "blur", "zero", "black")
QUANTITIES = ("logit", "probability", "log_probability")


RANGES = {
    "steps": (1, 100_000),
    "random_draws": (1, 10_000),
    "mosaic": (2, 64),
    "seed": (-(2**63), 2**63 - 1),
}
"""The least and the most of each number: beyond them a run would not end, or its draws not begin."""


@dataclass(frozen=True)
class Protocol:
    """Everything that must be equal for two scores to be compared.

    All but the last two are chosen by the user; :func:`vitscope.evaluate` fills in ``grid`` and ``recipe``.

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
    grid: patches of the model, rows and columns. recipe: the model, the methods with every option, the pictures and
        what is known about them, the versions.
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

    grid: tuple[int, int] | None = None
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        check_fields(self, EvaluationError)
        _one_of("removal", self.removal, REMOVALS)
        _one_of("score", self.score, QUANTITIES)
        _one_of("upsampling", self.upsampling, ("bilinear", "nearest"))
        if isinstance(self.target, str) and self.target not in ("top1", "label"):
            raise EvaluationError(f"expected target 'top1', 'label' or a class index, got {self.target!r}")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise EvaluationError(
                    f"expected {name} from {low:,} to {high:,}, got {value}; choose one in between"
                )

    @property
    def pictures(self) -> int:
        """Number of pictures; 0 while nothing was evaluated."""
        return 0 if self.recipe is None else self.recipe.count

    @property
    def images(self) -> str:
        """Digest of the names and contents of the pictures."""
        return "" if self.recipe is None else self.recipe.pictures

    @property
    def model(self) -> str:
        """Fingerprint of the weights."""
        return "" if self.recipe is None else str(self.recipe.model.get("fingerprint", ""))

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries by name."""
        return {} if self.recipe is None else self.recipe.versions

    @property
    def digest(self) -> str:
        """Short hash of all fields, the recipe's as well; equal digests, comparable scores."""
        return digest_of(self.to_dict())[:16]

    @property
    def shard_digest(self) -> str:
        """Hash of all fields but the pictures: equal for the shards of one data set."""
        shard = None if self.recipe is None else self.recipe.shard_digest
        return digest_of({**self.choices(), "recipe": shard})[:16]

    def choices(self) -> dict[str, Any]:
        """All fields but the recipe, as plain values."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "recipe"}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**self.choices(), "recipe": None if self.recipe is None else self.recipe.to_dict()}

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
        if clean.get("recipe") is not None:
            clean["recipe"] = Recipe.from_dict(clean["recipe"])
        return cls(**clean)

    def differences(self, other: Protocol) -> list[str]:
        """What differs, in words: ``steps: 4 against 3``, ``options.methods.gmar.norm: 'l1' against 'l2'``."""
        return self._chosen_otherwise(other) + _recipes(self).differences(_recipes(other), ("target",))

    def require_equal(self, other: Protocol) -> None:
        """Refuse to put scores of two different protocols into one table.

        Raises EvaluationError naming each field that differs.
        """
        differences = self.differences(other)
        if differences:
            raise EvaluationError(
                f"scores of two protocols cannot share a table ({'; '.join(differences)}); evaluate both with one"
            )

    def merged(self, *others: Protocol) -> Protocol:
        """The protocol of shards together: equal but for the pictures and what is known about them, which add up.

        Raises EvaluationError naming each other field that differs."""
        for other in others:
            if self.shard_digest == other.shard_digest:
                continue
            mine, theirs = (replace(each, recipe=_recipes(each).shard()) for each in (self, other))
            raise EvaluationError(
                f"shards of two protocols cannot be added ({'; '.join(mine.differences(theirs))}); "
                "evaluate both with one"
            )
        recipes = [protocol.recipe for protocol in (self, *others) if protocol.recipe is not None]
        return replace(self, recipe=recipes[0].merged(*recipes[1:])) if recipes else self

    def _chosen_otherwise(self, other: Protocol) -> list[str]:
        mine, theirs = self.choices(), other.choices()
        return [
            f"{name}: {mine[name]!r} against {theirs[name]!r}" for name in mine if mine[name] != theirs[name]
        ]


def _recipes(protocol: Protocol) -> Recipe:
    """The recipe without the user's choices, which the protocol itself holds."""
    recipe = protocol.recipe or Recipe("evaluate")
    return replace(recipe, options={k: v for k, v in recipe.options.items() if k != "protocol"})


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise EvaluationError(f"expected {name} to be one of {', '.join(allowed)}, got {value!r}")
