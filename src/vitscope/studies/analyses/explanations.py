"""Maps and flows of every method, as ``vs.explain`` gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.methods import get_method
from vitscope.methods.explaining.explaining import Aimed, Explaining, Prepared
from vitscope.pictures.read_batch import ReadBatch
from vitscope.progress import CountedStage
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.output import Output, Places
from vitscope.studies.store.specs import ArraySpec, array_spec
from vitscope.tracing import by_number, parse_target


@dataclass(frozen=True)
class Maps:
    """keys: of n pictures. arrays: by path, ``maps/METHOD`` (n, h, w) and ``flow/METHOD`` (n, L, h, w)."""

    keys: tuple[str, ...]
    arrays: Mapping[str, NDArray[np.float32]]


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
        self._desk, self._maps, self._flow = desk, maps, flow
        self._methods = {name: get_method(name).check_options(chosen) for name, chosen in methods.items()}
        self._target = by_number(parse_target(target), desk.vit.class_names, desk.vit.source)
        self._clean = clean
        self._prepared = Prepared(desk.vit, desk.model, Aimed(self._target))

    def run(self, pictures: ReadBatch) -> Maps:
        """The maps of one batch. Pictures with nothing to explain (a score that depends on none of their patches) are
        left out, and said."""
        stage = CountedStage(None, "explaining", len(pictures))
        explaining = Explaining(self._methods, self._target, self._desk.batch_size, stage, self._clean)
        found = explaining.run(self._prepared, pictures)
        arrays: dict[str, NDArray[np.float32]] = {}
        for name, explanation in found.items():
            if self._maps:
                arrays[f"maps/{name}"] = explanation.maps.numpy()
            if self._flow and explanation.flow is not None:
                arrays[f"flow/{name}"] = explanation.flow.numpy()
        keys = next((each.metadata["keys"] for each in found.values()), ())
        return Maps(tuple(keys), arrays)

    def arrays(self, parts: Sequence[Maps]) -> Sequence[ArraySpec]:
        """``maps/METHOD`` and ``flow/METHOD``."""
        filled = [part for part in parts if part.keys][:1]
        return [array_spec(path, values.shape[1:]) for part in filled for path, values in part.arrays.items()]

    def finish(self, parts: Sequence[Maps], places: Places) -> Output:
        """A row for every picture."""
        filled = [part for part in parts if part.keys]
        keys = [key for part in filled for key in part.keys]
        paths = list(filled[0].arrays) if filled else []
        joined = {path: np.concatenate([part.arrays[path] for part in filled]) for path in paths}
        return Output(arrays={path: places.spread(keys, values) for path, values in joined.items()})
