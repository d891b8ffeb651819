"""Maps and flows of every method, as ``vs.explain`` gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.errors import AnswerError
from vitscope.methods import get_method
from vitscope.methods.explaining.batch import explain_batch, resolved
from vitscope.pictures import Batch
from vitscope.pictures.batch import batch_of
from vitscope.pictures.read_batch import ReadBatch
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.output import Output, Places
from vitscope.studies.store.specs import ArraySpec, array_spec
from vitscope.tracing import by_number, parse_target


@dataclass(frozen=True)
class Maps:
    """keys: of the pictures. maps: by method, (n, h, w) float32. flows: by method, (n, L, h, w), where it has one."""

    keys: tuple[str, ...]
    maps: Mapping[str, NDArray[np.float32]]
    flows: Mapping[str, NDArray[np.float32]]


class Explanations:
    """The maps of several methods from as few passes as they allow.

    Args:
        desk: Model and study.
        methods: By name, every option as it is used.
        target: What is explained, in words.
        clean: Whether outlier patches get the median of their neighbours.
        maps: Whether the maps are kept.
        flow: Whether the maps of every block are kept.
    """

    tables: Sequence[str] = ()

    def __init__(
        self,
        desk: Desk,
        methods: Mapping[str, Mapping[str, Any]],
        target: str,
        clean: bool,
        maps: bool,
        flow: bool,
    ) -> None:
        self._vit, self._clean, self._maps, self._flow = desk.vit, clean, maps, flow
        self._methods = {name: get_method(name).check_options(chosen) for name, chosen in methods.items()}
        self._target = by_number(parse_target(target), desk.vit.class_names, desk.vit.source)

    def run(self, pictures: ReadBatch) -> Maps:
        """Pictures with nothing to explain (a score that depends on none of their patches) are left out, and said."""
        batch: Batch | None = next(pictures.batches(self._vit, len(pictures)))
        while batch is not None:
            try:
                return self._explain(batch)
            except AnswerError as error:
                for place in error.pictures:
                    pictures.skipped[batch.keys[place]] = error.of_one
                left = [picture for i, picture in enumerate(batch.pictures) if i not in error.pictures]
                batch = batch_of(self._vit, left) if left else None
        return Maps((), {}, {})

    def _explain(self, batch: Batch) -> Maps:
        inputs = self._vit.inputs(batch.images)
        request = resolved(self._vit, inputs, self._methods)
        found = explain_batch(self._vit, inputs, request, self._target, self._clean)
        flows = {
            name: each.flow.numpy() for name, each in found.items() if self._flow and each.flow is not None
        }
        maps = {name: each.maps.numpy() for name, each in found.items() if self._maps}
        return Maps(tuple(batch.keys), maps, flows)

    def arrays(self, parts: Sequence[Maps]) -> Sequence[ArraySpec]:
        """``maps/METHOD`` and ``flow/METHOD``."""
        specs = []
        for part in parts[:1]:
            specs += [array_spec(f"maps/{name}", maps.shape[1:]) for name, maps in part.maps.items()]
            specs += [array_spec(f"flow/{name}", flow.shape[1:]) for name, flow in part.flows.items()]
        return specs

    def finish(self, parts: Sequence[Maps], places: Places) -> Output:
        """A row for every picture."""
        filled = [part for part in parts if part.keys]
        keys = [key for part in filled for key in part.keys]
        arrays = {}
        for kind, of in (("maps", "maps"), ("flow", "flows")):
            for name in getattr(filled[0], of) if filled else ():
                joined = np.concatenate([getattr(part, of)[name] for part in filled])
                arrays[f"{kind}/{name}"] = places.spread(keys, joined)
        return Output(arrays=arrays)
