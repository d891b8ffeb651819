"""How far heads look, as ``vs.heads.strength`` measures it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vitscope.heads.distance.strength_parts import SCALARS, StrengthPart, StrengthSums
from vitscope.heads.origin import heads_recipe
from vitscope.heads.per_picture import Rows
from vitscope.pictures.read_batch import ReadBatch
from vitscope.progress import CountedStage
from vitscope.storage.recipe import Recipe
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.output import Output, Places, packed_json
from vitscope.studies.store.specs import ArraySpec, array_spec

STATE = "strength"
RECIPE = "strength.json"


@dataclass(frozen=True)
class Profiled:
    """found: sums over some pictures and the scalars of each. recipe: what made them."""

    found: StrengthPart
    recipe: Recipe


class Strength:
    """Attention by distance: sums over pictures, and three scalars of each picture.

    Args:
        desk: Model and study.
        distance: How hops are counted.
    """

    tables: Sequence[str] = ()

    def __init__(self, desk: Desk, distance: str) -> None:
        self._desk, self._distance = desk, distance

    def run(self, pictures: ReadBatch) -> Profiled:
        """The profiles of one batch."""
        recipe = heads_recipe(
            self._desk.vit, pictures, "strength", {"distance": self._distance}, model=self._desk.model
        )
        return Profiled(self._sums(recipe, len(pictures)).run(self._desk.vit, pictures), recipe)

    def _sums(self, recipe: Recipe, pictures: int) -> StrengthSums:
        stage = CountedStage(None, "attention strength", pictures)
        return StrengthSums(recipe, self._distance, self._desk.batch_size, stage)

    def arrays(self, parts: Sequence[Profiled]) -> Sequence[ArraySpec]:
        """``profiles/SCALAR``."""
        return [
            array_spec(f"profiles/{name}", part.found.rows.values[name].shape[1:])
            for part in parts[:1]
            for name in SCALARS
        ]

    def finish(self, parts: Sequence[Profiled], places: Places) -> Output:
        """The scalars as arrays, the sums as a state; keys and contents are in the table of pictures."""
        filled = [part for part in parts if part.found.shape is not None]
        if not filled:
            return Output()
        recipe = filled[0].recipe.merged(*(part.recipe for part in filled[1:]))
        sums = self._sums(recipe, len(places))
        whole = sums.merge(self._desk.vit, [part.found for part in filled])
        rows = whole.rows
        arrays = {
            f"profiles/{name}": places.spread(rows.keys, np.asarray(rows.values[name])) for name in SCALARS
        }
        kept = sums.encode(replace(whole, rows=Rows()))
        states = {f"{STATE}/{name}": content for name, content in kept.items()}
        return Output(arrays=arrays, states={**states, RECIPE: packed_json({"recipe": recipe.to_dict()})})
