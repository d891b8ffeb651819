"""Where numbers about heads come from: the recipe that made them, the pictures' contents, and what was skipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vitscope.heads.errors import HeadsError
from vitscope.pictures import PictureSource
from vitscope.shown import drawn_by
from vitscope.storage.recipe import Recipe, pictures_digest, truth_digest
from vitscope.tracing import Vit
from vitscope.tracing.recipe import library_versions, model_identity

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Origin:
    """recipe: what makes the numbers. ids: content hash of each picture. skipped: by key, why one is left out."""

    recipe: Recipe = field(default_factory=lambda: Recipe("numbers without a recipe"))
    ids: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def merge(self, *others: Origin, what: str) -> Origin:
        """That of several shards together. Raises RecipeError when they were not made alike."""
        recipe = self.recipe.merged(*(other.recipe for other in others), what=what)
        ids, skipped = list(self.ids), dict(self.skipped)
        for other in others:
            ids += other.ids
            skipped |= other.skipped
        return Origin(recipe, tuple(ids), skipped)

    def join(self, *others: Origin) -> Origin:
        """That of other numbers of the same pictures, side by side."""
        joined = [each.recipe.shard_digest for each in (self, *others)]
        recipe = replace(self.recipe, options={**self.recipe.options, "joined": joined})
        skipped = {key: why for each in (self, *others) for key, why in each.skipped.items()}
        return Origin(recipe, self.ids, skipped)

    def note(self) -> dict[str, Any]:
        """Plain values to keep in a file."""
        return {"recipe": self.recipe.to_dict(), "ids": list(self.ids), "skipped": dict(self.skipped)}

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> Origin:
        """What ``note`` gave, back. Raises KeyError or StorageError for another record."""
        skipped = {str(key): str(why) for key, why in note["skipped"].items()}
        return cls(Recipe.from_dict(note["recipe"]), tuple(str(each) for each in note["ids"]), skipped)


class HasOrigin:
    """A result that knows what it was made of."""

    origin: Origin

    def to_pandas(self) -> pd.DataFrame:
        """The result as a table."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """What a notebook shows where nothing better is drawn: the first rows of the table."""
        return str(drawn_by("notebook", "frame_html")(self, self.to_pandas()))

    @property
    def recipe(self) -> Recipe:
        """What makes this result; only results of equal recipes go together."""
        return self.origin.recipe

    @property
    def ids(self) -> tuple[str, ...]:
        """The content hash of each picture."""
        return self.origin.ids

    @property
    def skipped(self) -> Mapping[str, str]:
        """By key, why a picture could not be used."""
        return self.origin.skipped


def heads_recipe(
    vit: Vit,
    source: PictureSource,
    analysis: str,
    options: Mapping[str, Any],
    *,
    labelled: bool = False,
    model: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of an analysis of heads.

    Args:
        vit: The opened model.
        source: The pictures; their contents are read for it.
        analysis: Its name.
        options: Every option as it is used.
        labelled: Whether the labels of the pictures change the result.
        model: From :func:`vitscope.tracing.recipe.model_identity`, when it is known already.
    """
    keys = source.keys
    return Recipe(
        analysis,
        model_identity(vit) if model is None else model,
        options,
        pictures=pictures_digest(keys, source.ids),
        truth={"labels": truth_digest(keys, source.labels)} if labelled and source.labels is not None else {},
        count=len(source),
        versions=library_versions(),
    )


def check_disjoint(shards: Iterable[Iterable[str]], what: str) -> None:
    """Raise HeadsError, naming one, when a picture is in two of the shards: it would be counted twice."""
    seen: set[str] = set()
    for shard in map(set, shards):
        shared = sorted(seen & shard)
        if shared:
            raise HeadsError(
                f"expected {what} of different pictures, got {shared[0]!r} in both ({len(shared)} such); "
                "merge shards that share no picture"
            )
        seen |= shard


def check_labels_of(source: PictureSource, classes: int | None) -> None:
    """Raise HeadsError for a label that is no class of the model."""
    most = (classes or 0) - 1
    for label in source.labels or ():
        if not 0 <= int(label) <= most:
            raise HeadsError(
                f"expected labels in 0 ... {most}, got {int(label)}; check the label file's class indices"
            )
