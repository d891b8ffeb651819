"""The sums of a leaderboard as one file: four arrays of all columns, and a note of whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitscope.evaluation.board.records import Board
from vitscope.evaluation.board.sum_state import CurveSums, SumState
from vitscope.evaluation.board.summing import Summed
from vitscope.evaluation.metric import get_metric
from vitscope.storage import tensors
from vitscope.sums.moments import ExactSum
from vitscope.sums.poisson_bootstrap import PoissonSums

FILE = "sums.safetensors"
KIND = "sums of a leaderboard"
PARTS = ("total.high", "total.low", "samples.high", "samples.low")


def encode(board: Board) -> bytes:
    """The content of the file."""
    found: dict[str, list[dict[str, Any]]] = {"states": [], "shared": [], "curves": []}
    columns: list[PoissonSums] = []

    def note(kind: str, place: tuple[str, ...], what: SumState | CurveSums, **more: Any) -> None:
        columns.append(what.sums)
        width = what.sums.total.high.shape[-1] if what.sums.total.high.ndim else 0
        found[kind].append({"place": list(place), "count": what.count, "width": width, **more})

    for place, state in board.states.items():
        if isinstance(state, SumState):
            note("states", place, state, defined=state.defined, where=str(state.where))
    for both, state in board.shared.items():
        note("shared", both, state, defined=state.defined, where=str(state.where))
    for place, curve in board.curves.items():
        if isinstance(curve, CurveSums):
            note("curves", place, curve, fractions=curve.fractions.tolist())
    filled = [_parts(sums) for sums in columns if sums.total.high.ndim]
    arrays = {
        name: torch.cat([parts[place] for parts in filled], dim=-1) if filled else torch.zeros(0)
        for place, name in enumerate(PARTS)
    }
    return tensors.encode(KIND, arrays, found)


def decode(content: bytes, place: Path) -> Summed:
    """What ``encode`` made, back. Raises StorageError, KeyError or ValueError for another file."""
    arrays, note = tensors.decode(content, place, KIND)
    widths = [int(each["width"]) for kind in ("states", "shared", "curves") for each in note[kind]]
    if any(sum(widths) != arrays[name].shape[-1] for name in PARTS):
        raise ValueError("it has not the sums of every score")
    pieces = iter(_pieces(arrays, widths))
    made = Summed()
    for each in note["states"]:
        method, metric = (str(name) for name in each["place"])
        made.states[method, metric] = _state(metric, each, next(pieces))
    for each in note["shared"]:
        method, other, metric = (str(name) for name in each["place"])
        made.shared[method, other, metric] = _state(metric, each, next(pieces))
    for each in note["curves"]:
        method, curve = (str(name) for name in each["place"])
        fractions = torch.tensor(each["fractions"], dtype=torch.float64)
        made.curves[method, curve] = CurveSums(fractions, int(each["count"]), next(pieces))
    return made


def _state(metric: str, note: Mapping[str, Any], sums: PoissonSums) -> SumState:
    return SumState(
        get_metric(metric), int(note["count"]), int(note["defined"]), int(note["where"]) % 2**64, sums
    )


def _parts(sums: PoissonSums) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return sums.total.high, sums.total.low, sums.samples.high, sums.samples.low


def _pieces(arrays: Mapping[str, Tensor], widths: list[int]) -> list[PoissonSums]:
    cut = [arrays[name].split(widths, dim=-1) for name in PARTS]
    return [
        PoissonSums(ExactSum(a, b), ExactSum(c, d)) if width else PoissonSums()
        for width, a, b, c, d in zip(widths, *cut, strict=True)
    ]
