"""Mean outputs of heads over all pictures: what stands in for a head where heads are replaced by their mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from vitscope.heads.origin import Origin
from vitscope.heads.pruning.means import HeadOutputs, OutputSums
from vitscope.heads.pruning.output_means import KIND, MeanOutputs
from vitscope.pictures.read_batch import ReadBatch
from vitscope.progress import CountedStage
from vitscope.storage.recipe import Recipe
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.output import Output, Places
from vitscope.studies.store.specs import ArraySpec

STATE = "means"


class Means:
    """Sums of the outputs of every head.

    Args:
        desk: Model and study.
        per_query: Whether every query has its own mean.
    """

    tables: Sequence[str] = ()

    def __init__(self, desk: Desk, per_query: bool) -> None:
        self._desk, self._per_query = desk, per_query

    def _sums(self, pictures: int) -> HeadOutputs:
        stage = CountedStage(None, KIND, pictures)
        return HeadOutputs(Recipe(KIND), self._per_query, self._desk.batch_size, stage)

    def run(self, pictures: ReadBatch) -> OutputSums:
        """The sums over one batch."""
        return self._sums(len(pictures)).run(self._desk.vit, pictures)

    def arrays(self, parts: Sequence[OutputSums]) -> Sequence[ArraySpec]:
        """None."""
        return ()

    def finish(self, parts: Sequence[OutputSums], places: Places) -> Output:
        """The sums over a shard."""
        return Output(states=self._packed(parts))

    def _packed(self, parts: Iterable[OutputSums]) -> dict[str, bytes]:
        sums = self._sums(0)
        whole = sums.merge(self._desk.vit, parts)
        return {f"{STATE}/{name}": content for name, content in sums.encode(whole).items()}

    def reduce(self, states: Iterable[Mapping[str, bytes]]) -> dict[str, bytes]:
        """The sums over all shards, from the states of each in their order."""
        return self._packed(self._unpacked(state) for state in states)

    def _unpacked(self, state: Mapping[str, bytes]) -> OutputSums:
        files = {
            name.partition("/")[2]: content for name, content in state.items() if name.startswith(f"{STATE}/")
        }
        return self._sums(0).decode(files)

    def means(self, state: Mapping[str, bytes]) -> Tensor:
        """The means of the reduced sums, (L, H, d) or (L, H, N, d)."""
        found = self._unpacked(state)
        return MeanOutputs(found.total, found.keys, Origin(Recipe(KIND), found.ids)).means
