"""Two studies held against each other: what is said of their models, by each method, on the pictures of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vitscope.app.answers.compare import compared_answer
from vitscope.app.tensors import finite
from vitscope.evaluation import Leaderboard
from vitscope.evaluation.map_agreement import maps_correlation
from vitscope.evaluation.metric import get_metric
from vitscope.studies import PairedStudies, StudyError
from vitscope.studies.paired import targets_of

MOST = 500
"""Pictures whose maps are held against each other."""


def models_answer(paired: PairedStudies) -> dict[str, Any]:
    """Scores and verdicts of two studies as plain values, from :meth:`PairedStudies.to_pandas`; none where they cannot
    be compared, with the reason."""
    told: dict[str, Any] = {
        "names": list(paired.names),
        "pictures": len(paired.ids),
        "only": list(paired.only),
        "targets": list(targets_of(paired)),
        "notes": paired.notes(),
        "agreement": _agreement(paired),
        "missing": None,
    }
    try:
        boards = paired.boards()
        return {**told, **_scores(paired, boards)}
    except StudyError as error:
        return {**told, **NOTHING, "missing": {"reason": str(error), "command": None}}


NOTHING: Mapping[str, Any] = {"metrics": [], "scores": [], "verdicts": [], "unlike": []}


def no_models_answer(names: Sequence[str], reason: str, command: str | None) -> dict[str, Any]:
    """Why two studies cannot be held against each other."""
    missing = {"reason": reason, "command": command}
    return {
        "names": list(names), "pictures": 0, "only": [0, 0], "targets": [], "notes": [], "agreement": [], **NOTHING,
        "missing": missing,
    }  # fmt: skip


def _scores(paired: PairedStudies, boards: Mapping[str, Leaderboard]) -> dict[str, Any]:
    table = paired.to_pandas(boards)
    metrics = list(dict.fromkeys(table["metric"]))
    first = next(iter(boards.values()))
    return {
        "metrics": [
            {
                "name": name,
                "title": get_metric(name).title,
                "higher_is_better": get_metric(name).higher_is_better,
                "ranking": first.ranking(name),
                "best": [],
                "needed": int(table[table["metric"] == name]["needed"].iloc[0]),
            }
            for name in metrics
        ],
        "scores": [
            {"model": model, "method": method, "metric": metric, **_score(board, method, metric)}
            for model, board in boards.items()
            for metric in metrics
            for method in board.names
        ],
        "verdicts": [
            {"method": row["method"], "metric": row["metric"], **compared_answer(row)}
            for row in table.to_dict("records")
        ],
        "unlike": [
            {"method": method, "reason": "; ".join(differences)}
            for method in first.names
            if all(method in board.names for board in boards.values())
            and (differences := paired.options_differ(method))
        ],
    }


def _score(board: Leaderboard, method: str, metric: str) -> dict[str, Any]:
    found, state = board.interval(method, metric), board.state(method, metric)
    return {
        **{name: finite(getattr(found, name)) for name in ("value", "low", "high")},
        "n": found.n,
        "undefined": (0 if state is None else state.count) - found.n,
    }


def _agreement(paired: PairedStudies) -> list[dict[str, Any]]:
    """How far the maps of the two agree, for each method whose maps both keep; pictures spread over all."""
    every = slice(None, None, max(1, -(-len(paired.ids) // MOST)))
    studies = (paired.first, paired.second)
    kept = [{path for path in each.manifest.arrays if path.startswith("maps/")} for each in studies]
    found = []
    for path in sorted(kept[0] & kept[1]):
        maps = [
            np.asarray(study.array(path)[rows[every]], np.float32)
            for study, rows in zip(studies, paired.rows, strict=True)
        ]
        each = maps_correlation(*maps)
        known = each[np.isfinite(each)]
        found.append(
            {
                "method": path.removeprefix("maps/"),
                "rank": float(known.mean()) if len(known) else None,
                "n": len(known),
                "total": len(paired.ids),
            }
        )
    return found
