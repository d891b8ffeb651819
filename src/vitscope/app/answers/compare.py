"""Methods compared: what a study's own leaderboard says, and how far the maps that it keeps agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vitscope.app.tensors import finite
from vitscope.evaluation import Leaderboard
from vitscope.evaluation.map_agreement import TOP, Measure, map_agreement
from vitscope.evaluation.metric import get_metric
from vitscope.reports import words

TITLES: Mapping[str, str] = {
    "rank": "rank correlation of the patches",
    "iou": f"overlap of the highest {TOP:.0%} of the patches (IoU)",
}

CURVES: Mapping[str, str] = {
    "mif": "deletion: the most relevant patches first",
    "lif": "deletion: the least relevant patches first",
    "deletion": "deletion: the most relevant patches first",
    "insertion": "insertion: the most relevant patches first",
}
"""What is done along a curve."""


def board_answer(board: Leaderboard, kept: Sequence[str]) -> dict[str, Any]:
    """A leaderboard as plain values: nothing in it is computed here.

    Args:
        board: Of the study.
        kept: Methods of which there are maps.
    """
    frame = board.to_pandas()
    return {
        "pictures": board.protocol.pictures,
        "methods": [
            {
                "name": each.name,
                "family": each.family,
                "class_specific": each.class_specific,
                "control": each.control,
                "maps": each.name in kept,
                "seconds": finite(each.seconds),
            }
            for each in board.methods
        ],
        "metrics": [_metric(board, name) for name in board.metrics],
        "scores": [
            {
                "method": row["method"],
                "metric": row["metric"],
                **{name: finite(row[name]) for name in ("value", "low", "high")},
                **{name: int(row[name]) for name in ("n", "undefined")},
            }
            for row in frame.to_dict("records")
        ],
        "verdicts": [
            {"metric": metric, "first": row["first"], "second": row["second"], **compared_answer(row)}
            for metric in board.metrics
            for row in board.compare(metric).to_dict("records")
        ],
        "curves": [
            {
                "method": method,
                "curve": curve,
                "title": CURVES.get(curve, curve),
                "axis": words.curve_axis(curve),
                "fractions": [float(each) for each in record.fractions],
                "values": [finite(each) for each in record.mean()],
            }
            for (method, curve), record in board.curves.items()
        ],
        "missing": None,
    }


def compared_answer(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A paired comparison as plain values, from a row of differences with their verdicts."""
    return {
        **{name: finite(row[name]) for name in ("difference", "low", "high")},
        "p": finite(row["p_holm"]),
        "n": int(row["n"]),
        "better": row["better"],
        "verdict": row["verdict"],
    }


def no_board_answer(kept: Sequence[str], reason: str, command: str | None) -> dict[str, Any]:
    """The methods alone, with the reason why they have no scores."""
    methods = [
        {"name": name, "family": "", "class_specific": True, "control": False, "maps": True, "seconds": None}
        for name in kept
    ]
    empty: dict[str, Any] = {name: [] for name in ("metrics", "scores", "verdicts", "curves")}
    missing = {"reason": reason, "command": command}
    return {"pictures": 0, "methods": methods, **empty, "missing": missing}


def agreement_answer(maps: Mapping[str, Any], measure: Measure, total: int) -> dict[str, Any]:
    """How far maps of the same pictures agree, by method: (N, h, w) each."""
    tensors = {name: torch.from_numpy(np.asarray(values, np.float32)) for name, values in maps.items()}
    found = map_agreement(tensors, measure)
    return {
        "measure": measure,
        "title": TITLES[measure],
        "methods": list(maps),
        "values": [[finite(each) for each in row] for row in found],
        "n": len(next(iter(tensors.values()))) if tensors else 0,
        "total": total,
        "missing": None,
    }


def no_agreement_answer(measure: Measure, reason: str, command: str | None) -> dict[str, Any]:
    """Why there is none."""
    missing = {"reason": reason, "command": command}
    return {
        "measure": measure, "title": TITLES[measure], "methods": [], "values": [], "n": 0, "total": 0,
        "missing": missing,
    }  # fmt: skip


def _metric(board: Leaderboard, name: str) -> dict[str, Any]:
    info, compared = get_metric(name), board.by(name)
    return {
        "name": name,
        "title": info.title,
        "higher_is_better": info.higher_is_better,
        "ranking": compared.ranking(),
        "best": compared.best(),
        "needed": compared.needed,
    }
