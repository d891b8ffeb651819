"""The protocol: everything that must be equal before two scores may be compared, as one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal

from vitscope.errors import EvaluationError
from vitscope.options.bounds import Count, Range, Seed
from vitscope.options.door import check_fields
from vitscope.storage.recipe import Recipe, digest_of
from vitscope.tracing.targets.quantity import Quantity

Removal = Literal["mask", "drop", "mean", "blur", "zero", "black"]
"""How a patch is taken away."""
Aim = Literal["top1", "label"] | Annotated[int, Range(0, 2**31 - 1)] | str
"""Which class of a picture is explained: the predicted one, the true one, or a given one by its number or name."""
Colour = Annotated[float, Range(0, 1)]


@dataclass(frozen=True)
class Protocol:
    """Everything that must be equal before two scores may be compared, as one frozen record.

    The user chooses all fields but the last two; :func:`vitscope.evaluate` fills in ``grid`` and ``recipe``.

    Args:
        removal: How a token is removed. ``mask``: its keys get −inf, so that no token can attend to it. ``drop``: the
            shorter sequence, the same value at about half the cost. ``mean``, ``blur``, ``zero``, ``black``: the
            pixels of its patch become the mean colour, the blurred picture, zero in the model's normalised space,
            or black.
        score: ``logit``, ``probability`` or ``log_probability`` of the explained class.
        target: ``"top1"`` (the model's prediction), ``"label"``, a class index or the name of a class.
        steps: Steps of a removal curve.
        seed: Of every random draw. Each picture has its own stream, so results do not depend on batches or shards.
        random_draws: Seeds over which the random control is averaged.
        upsampling: How a map is brought to pixels where a metric is defined on pixels: ``bilinear`` or ``nearest``.
        mosaic: Cells along a side of the mosaics of the grid pointing game.
        mean_colour: RGB in 0..1 for ``mean``; None is the mean colour of ImageNet.
        grid: Patches of the model, rows and columns.
        recipe: The model, the methods with every option, the pictures with what is known about them, the versions.

    Raises:
        EvaluationError: A field with a value that is not allowed.

    Example:
        >>> import vitscope as vs
        >>> chosen = vs.Protocol(removal="drop", steps=12)
        >>> chosen.differences(vs.Protocol())
        ["removal: 'drop' against 'mask'", 'steps: 12 against 20']
    """

    made_by: ClassVar[str] = "vs.Protocol"

    removal: Removal = "mask"
    score: Quantity = "logit"
    target: Aim = "top1"
    steps: Annotated[int, Range(1, 10_000)] = 20
    seed: Seed = 0
    random_draws: Annotated[int, Range(1, 10_000)] = 10
    upsampling: Literal["bilinear", "nearest"] = "bilinear"
    mosaic: Annotated[int, Range(2, 16)] = 2
    mean_colour: tuple[Colour, Colour, Colour] | None = None

    grid: tuple[Count, Count] | None = None
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        check_fields(self, EvaluationError)

    @property
    def pictures(self) -> int:
        """The number of pictures; 0 before an evaluation."""
        return 0 if self.recipe is None else self.recipe.count

    @property
    def images(self) -> str:
        """The digest of the names and contents of the pictures; empty before an evaluation."""
        return "" if self.recipe is None else self.recipe.pictures

    @property
    def model(self) -> str:
        """The fingerprint of the model's weights; empty before an evaluation."""
        return "" if self.recipe is None else str(self.recipe.model.get("fingerprint", ""))

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions of the libraries, by name; empty before an evaluation."""
        return {} if self.recipe is None else self.recipe.versions

    @property
    def digest(self) -> str:
        """A short hash of all fields with the recipe: scores of equal digests can be compared."""
        return digest_of(self.to_dict())[:16]

    @property
    def shard_digest(self) -> str:
        """A short hash of all fields but the pictures: equal for the shards of one data set."""
        shard = None if self.recipe is None else self.recipe.shard_digest
        return digest_of({**self.choices(), "recipe": shard})[:16]

    def choices(self) -> dict[str, Any]:
        """All fields but the recipe, as plain values by name."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "recipe"}

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, ready for JSON."""
        return {**self.choices(), "recipe": None if self.recipe is None else self.recipe.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Protocol:
        """The inverse of :meth:`to_dict`, also after JSON.

        Args:
            values: The fields by name.

        Returns:
            The protocol.

        Raises:
            EvaluationError: An unknown field, or a value that is not allowed.
        """
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
        """What differs between two protocols, such as ``steps: 4 against 3``.

        Args:
            other: The protocol to compare with.

        Returns:
            A text for each field that differs; empty when scores can be compared.
        """
        return self._chosen_otherwise(other) + _recipes(self).differences(_recipes(other), ("target",))

    def require_equal(self, other: Protocol) -> None:
        """Refuse to put scores of two different protocols into one table.

        Args:
            other: The protocol to compare with.

        Raises:
            EvaluationError: They differ; the message names each field.
        """
        differences = self.differences(other)
        if differences:
            raise EvaluationError(
                f"scores of two protocols cannot share a table ({'; '.join(differences)}); evaluate both with one"
            )

    def merged(self, *others: Protocol) -> Protocol:
        """The protocol of shards together: pictures, and what is known about them, add up.

        Args:
            others: The protocols of the other shards.

        Returns:
            The protocol of all pictures.

        Raises:
            EvaluationError: Another field differs; the message names it.
        """
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
