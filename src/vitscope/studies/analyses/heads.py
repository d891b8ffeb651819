"""Which heads matter: every head taken away in turn, as ``vs.heads.importance`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from vitscope.heads.origin import heads_recipe
from vitscope.heads.per_picture import PerPicture, Rows
from vitscope.heads.pruning.importance import FirstOrder, importance_options
from vitscope.heads.pruning.leave_one_out import LeaveOneOut
from vitscope.heads.spatial_sites import head_grid
from vitscope.pictures.read_batch import ReadBatch
from vitscope.progress import CountedStage
from vitscope.storage.recipe import Recipe
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.output import Output, Places, packed_json
from vitscope.studies.store.specs import ArraySpec, array_spec

STATE = "importance.json"


@dataclass(frozen=True)
class Measured:
    """rows: of each measurement of the same pictures. recipe: what made them."""

    rows: tuple[Rows, ...]
    recipe: Recipe


class Importance:
    """First-order scores and exact removals of every head.

    Args:
        desk: Model and study.
        representation: As in :func:`vitscope.heads.importance`.
        exact: Whether heads are removed; False gives first-order scores alone.
        gradient: Whether there are first-order scores.
        means: What stands in for a head, None for zero.
    """

    tables: Sequence[str] = ()

    def __init__(
        self, desk: Desk, representation: str, exact: bool, gradient: bool, means: Tensor | None
    ) -> None:
        self._desk, self._means, self._gradient = desk, means, gradient
        self._representation = representation
        self._labelled = "labels" in desk.known
        L, H = head_grid(desk.vit.anatomy)
        blocks = desk.vit.anatomy.blocks
        self._heads = (
            [(block, head) for block in range(L) for head in range(blocks[block].heads)] if exact else []
        )
        self._grid = (L, H)

    def run(self, pictures: ReadBatch) -> Measured:
        """Every measurement of one batch."""
        vit = self._desk.vit
        stage = CountedStage(None, "pruning heads", len(pictures), max(1, len(self._heads)))
        measures: list[Any] = []
        if self._gradient:
            measures.append(FirstOrder(vit, self._means, self._labelled))
        if self._heads:
            measures.append(
                LeaveOneOut(
                    vit, self._heads, self._means, self._representation, self._labelled, self._desk.batch_size,
                    *self._grid, stage,
                )
            )  # fmt: skip
        options = importance_options(self._means, self._heads, self._representation, self._gradient)
        recipe = heads_recipe(
            vit, pictures, "importance", options, labelled=self._labelled, model=self._desk.model
        )
        rows = []
        for measure in measures:
            stage = CountedStage(None, "pruning heads", len(pictures), max(1, len(self._heads)))
            analysis = PerPicture(recipe, measure, self._desk.batch_size, stage)
            rows.append(analysis.run(vit, pictures))
        shared = set.intersection(*(set(each.keys) for each in rows))
        return Measured(tuple(each.only(shared) for each in rows), recipe)

    def arrays(self, parts: Sequence[Measured]) -> Sequence[ArraySpec]:
        """``head_scores/METRIC``."""
        return [
            array_spec(f"head_scores/{name}", values.shape[1:])
            for part in parts[:1]
            for rows in part.rows
            for name, values in rows.values.items()
        ]

    def finish(self, parts: Sequence[Measured], places: Places) -> Output:
        """A row for every picture, and what the pictures cost."""
        filled = [part for part in parts if part.rows and part.rows[0].keys]
        if not filled:
            return Output()
        joined = [Rows.join(rows) for rows in zip(*(part.rows for part in filled), strict=True)]
        arrays = {
            f"head_scores/{name}": places.spread(rows.keys, np.asarray(values))
            for rows in joined
            for name, values in rows.values.items()
        }
        recipe = filled[0].recipe.merged(*(part.recipe for part in filled[1:]))
        note: Mapping[str, Any] = {
            "recipe": recipe.to_dict(),
            "full_forwards": sum(rows.cost for rows in joined),
            "savings": joined[-1].notes.get("savings", {}),
        }
        return Output(arrays=arrays, states={STATE: packed_json(note)})
