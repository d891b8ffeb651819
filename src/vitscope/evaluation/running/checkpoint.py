"""An evaluation as ``prepare → run(shard) → merge(parts)``: what is prepared, what one part is, how it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vitscope.errors import StorageError
from vitscope.evaluation.board import encoding, merging
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.cascade import Cascade
from vitscope.evaluation.running.dataset import EvaluationSet
from vitscope.evaluation.running.plan import Plan
from vitscope.evaluation.running.recipe import of_shard
from vitscope.evaluation.running.run import Run, shortens
from vitscope.progress import CountedStage
from vitscope.storage import arrays
from vitscope.storage.recipe import Recipe

if TYPE_CHECKING:
    from vitscope.tracing import Vit


@dataclass(frozen=True)
class Prepared:
    """What is known before the first picture: randomised copies of the model where a metric needs them, and whether
    removed tokens may be left out of the sequence."""

    vit: Vit
    cascade: Cascade | None
    shorten: bool


@dataclass(frozen=True)
class Evaluation:
    """Every contestant against every metric, as an :class:`~vitscope.analysis.Analysis`.

    A part is the leaderboard of some of the pictures. It is kept in the files that a leaderboard is kept in, with the
    pictures and maps that a page may show. stage: told of the pictures that a contestant is scored on.
    """

    plan: Plan
    stage: CountedStage
    name: str = "evaluate"

    def recipe(self, vit: Vit, source: EvaluationSet) -> Recipe:
        """That of the bound protocol."""
        recipe = self.plan.protocol.recipe
        assert recipe is not None
        return recipe

    def prepare(self, vit: Vit, source: EvaluationSet) -> Prepared:
        """Depends on the model, the seed and the size of the input only."""
        protocol = self.plan.protocol
        sanity = any(info.family == "sanity" for info in self.plan.metrics)
        cascade = Cascade(vit, protocol.seed) if sanity else None
        first = source.first(vit)
        drawn = torch.randn(2, *first.shape[1:], generator=torch.Generator().manual_seed(0))
        drawn = drawn.to(first.device, first.dtype)
        removal = protocol.removal
        return Prepared(vit, cascade, removal == "drop" or (removal == "mask" and shortens(vit, drawn)))

    def run(self, prepared: Prepared, shard: EvaluationSet) -> Leaderboard:
        """The leaderboard of these pictures."""
        run = Run(
            prepared.vit,
            replace(self.plan, protocol=of_shard(self.plan.protocol, shard)),
            self.stage,
            prepared.cascade,
            prepared.shorten,
        )
        run.over(shard)
        return run.board()

    def merge(self, prepared: Prepared, parts: Iterable[Leaderboard]) -> Leaderboard:
        """The leaderboard of all parts."""
        return merging.merge(parts)

    def encode(self, part: Leaderboard) -> Mapping[str, bytes]:
        """The files of a leaderboard, and the pictures and maps that a page may show."""
        tables, note = encoding.encode(part)
        return {"protocol.json": json.dumps(note).encode(), **tables, "pictures.npz": _pictures(part)}

    def decode(self, files: Mapping[str, bytes]) -> Leaderboard:
        """What ``encode`` made, back. Raises StorageError where it is of other methods."""
        place = Path("the part of an evaluation")
        board = encoding.decode(files, json.loads(files["protocol.json"]), place, Leaderboard)
        if board.names != [row.name for row in self.plan.rows]:
            raise StorageError("this part of an evaluation is of other methods; evaluate again")
        shown = arrays.decode(files["pictures.npz"])
        pictures = {str(key): shown[f"picture {i}"] for i, key in enumerate(shown["keys"])}
        places = [(str(method), str(key)) for method, key in shown["places"]]
        maps = {place: shown[f"map {i}"] for i, place in enumerate(places)}
        return replace(board, pictures=pictures, maps=maps)


def _pictures(board: Leaderboard) -> bytes:
    shown = {
        "keys": np.array(list(board.pictures), dtype=np.str_),
        "places": np.array(list(board.maps), dtype=np.str_).reshape(-1, 2),
        **{f"picture {i}": picture for i, picture in enumerate(board.pictures.values())},
        **{f"map {i}": values for i, values in enumerate(board.maps.values())},
    }
    return arrays.encode(shown)
