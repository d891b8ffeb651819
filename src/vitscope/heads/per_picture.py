"""Numbers measured for every picture, batch by batch: what most analyses of heads consist of.

Such an analysis needs no more of the other pictures than was prepared, so its parts are put one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vitscope.analysis import Analysis, growing, run_in_parts
from vitscope.heads.measuring import measured
from vitscope.options.bounds import Folder
from vitscope.pictures import Batch, PictureSource
from vitscope.progress import CountedStage
from vitscope.storage import tensors
from vitscope.storage.recipe import Recipe
from vitscope.tracing import Vit

KIND = "part of an analysis of heads"
FILE = "rows.safetensors"
Part = TypeVar("Part")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Rows:
    """values[name]: (n, ...), mostly float32, for the pictures with these keys and content ids.

    cost: what it took, in full forwards of one picture. notes: plain values that are the same for all parts.
    """

    keys: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    values: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    cost: float = 0.0
    notes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        batch: Batch,
        values: Mapping[str, Tensor | NDArray[Any]],
        cost: float = 0.0,
        notes: Mapping[str, Any] | None = None,
    ) -> Rows:
        """What was measured on one batch."""
        arrays = {
            name: np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float32)
            for name, value in values.items()
        }
        return cls(tuple(batch.keys), tuple(batch.ids), arrays, cost, notes or {})

    @classmethod
    def join(cls, parts: Iterable[Rows]) -> Rows:
        """One after the other; names that one of them lacks are left out."""
        filled = [part for part in parts if part.keys]
        if not filled:
            return cls()
        names = [name for name in filled[0].values if all(name in part.values for part in filled)]
        return cls(
            tuple(key for part in filled for key in part.keys),
            tuple(each for part in filled for each in part.ids),
            {name: np.concatenate([part.values[name] for part in filled]) for name in names},
            float(sum(part.cost for part in filled)),
            filled[-1].notes,
        )

    def only(self, keys: Collection[str]) -> Rows:
        """The pictures with these keys."""
        if len(keys) == len(self.keys):
            return self
        chosen = [index for index, key in enumerate(self.keys) if key in keys]
        return Rows(
            tuple(self.keys[index] for index in chosen),
            tuple(self.ids[index] for index in chosen),
            {name: value[chosen] for name, value in self.values.items()},
            self.cost,
            self.notes,
        )

    def encode(self) -> bytes:
        """As the bytes of one file."""
        note = {"keys": self.keys, "ids": self.ids, "cost": self.cost, "notes": self.notes}
        return tensors.encode(KIND, self.values, note)

    @classmethod
    def decode(cls, content: bytes) -> Rows:
        """What ``encode`` made, back."""
        arrays, note = tensors.decode(content, FILE, KIND)
        values = {name: value.numpy() for name, value in arrays.items()}
        found = cls(tuple(note["keys"]), tuple(note["ids"]), values, float(note["cost"]), dict(note["notes"]))
        if any(len(value) != len(found.keys) for value in values.values()):
            raise ValueError("it has not one row per picture")
        return found


@dataclass(frozen=True)
class PerPicture:
    """An :class:`~vitscope.analysis.Analysis` whose result is numbers for every picture.

    made: the recipe. measure: what is done with one batch. batch_size: pictures of a batch; changes no result. stage:
    told of every batch.
    """

    made: Recipe
    measure: Callable[[Batch], Rows]
    batch_size: int
    stage: CountedStage

    @property
    def name(self) -> str:
        """The analysis that the recipe names."""
        return self.made.analysis

    def recipe(self, vit: Vit, source: PictureSource) -> Recipe:
        """What makes the result of the whole."""
        return self.made

    def prepare(self, vit: Vit, source: PictureSource) -> Vit:
        """Whatever ``measure`` must know of all pictures it knows already."""
        return vit

    def run(self, prepared: Vit, shard: PictureSource) -> Rows:
        """The numbers of some of the pictures."""
        return Rows.join(list(measured(prepared, shard, self.batch_size, self.measure, self.stage)))

    def merge(self, prepared: Vit, parts: Iterable[Rows]) -> Rows:
        """The numbers of all pictures."""
        return Rows.join(list(parts))

    def encode(self, part: Rows) -> Mapping[str, bytes]:
        """One file."""
        return {FILE: part.encode()}

    def decode(self, files: Mapping[str, bytes]) -> Rows:
        """What ``encode`` made, back."""
        return Rows.decode(files[FILE])


def go_through(
    analysis: Analysis[PictureSource, Any, Part, Result],
    vit: Vit,
    source: PictureSource,
    batch_size: int,
    stage: CountedStage,
    checkpoint: Folder | None,
    recipe: Recipe | None = None,
) -> Result:
    """Run an analysis over all pictures in parts of whole batches.

    checkpoint: a folder that keeps every finished part, so that a stopped run goes on. Raises PictureError when no
    picture could be used.
    """
    folder = None if checkpoint is None else Path(checkpoint)
    found = run_in_parts(
        analysis, vit, source, growing(batch_size), folder=folder, stage=stage, recipe=recipe
    )
    source.refuse_all_skipped()
    return found
