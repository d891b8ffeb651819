"""What a study does with the pictures of a shard: one class for each analysis, all of this form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from vitscope.pictures.read_batch import ReadBatch
from vitscope.studies.manifest import Manifest
from vitscope.studies.output import Output, Places
from vitscope.studies.store.specs import ArraySpec
from vitscope.tracing import Vit

Part = TypeVar("Part")


@dataclass(frozen=True)
class Desk:
    """What every analysis is given: the opened model, and what is the same for the whole study.

    batch_size: pictures in a batch. known: which of labels, boxes and masks the pictures have. seed: of all draws.
    """

    vit: Vit
    batch_size: int
    known: tuple[str, ...]
    seed: int
    model: Mapping[str, Any]
    """The model's part of a recipe, made once: it reads all weights."""

    @classmethod
    def of(cls, vit: Vit, manifest: Manifest) -> Desk:
        """The desk of a study that is there."""
        return cls(vit, manifest.batch_size, manifest.input.known, manifest.seed, manifest.model.identity)


class ShardAnalysis(Protocol[Part]):
    """One analysis. It is made once for a worker from its options, and sees the batches of a shard one by one."""

    @property
    def tables(self) -> Sequence[str]:
        """Names of the tables that it writes."""

    def arrays(self, parts: Sequence[Part]) -> Sequence[ArraySpec]:
        """The arrays that it writes, as the parts of some pictures show them."""

    def run(self, pictures: ReadBatch) -> Part:
        """What it makes of one batch."""

    def finish(self, parts: Sequence[Part], places: Places) -> Output:
        """What it leaves of a shard, from what it made of its batches in their order."""
