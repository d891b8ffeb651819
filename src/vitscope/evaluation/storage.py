"""A leaderboard on disk: Parquet tables and the protocol as JSON, written so that a half-written one is never read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import torch

from vitscope.errors import EvaluationError, OutputError
from vitscope.evaluation.metric import Metric
from vitscope.evaluation.protocol import Protocol

if TYPE_CHECKING:
    from vitscope.evaluation.leaderboard import Leaderboard


def save(board: Leaderboard, folder: Path) -> Path:
    """Write the tables of a leaderboard into ``folder``; returns it. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _parquet(board.to_pandas(), folder / "leaderboard.parquet")
        _parquet(board.per_image(), folder / "per_image.parquet")
    except OSError as error:
        raise _no_place(folder, error) from None
    return save_state(board, folder)


def save_state(board: Leaderboard, folder: Path, pictures: bool = False) -> Path:
    """Write what a leaderboard is made of and no tables; ``pictures``: also those that a page shows, and the maps."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if pictures:
            _save_pictures(board, folder / "pictures.npz")
        statistics: dict[str, list[Any]] = {"key": [], "method": [], "metric": [], "row": []}
        for (method, metric), state in board.states.items():
            statistics["key"] += state.keys
            statistics["method"] += [method] * len(state.keys)
            statistics["metric"] += [metric] * len(state.keys)
            statistics["row"] += list(state.rows.numpy())
        _parquet(pd.DataFrame(statistics), folder / "statistics.parquet")
        curves: dict[str, list[Any]] = {"key": [], "method": [], "curve": [], "fractions": [], "values": []}
        for (method, name), curve in board.curves.items():
            curves["key"] += curve.keys
            curves["method"] += [method] * len(curve.keys)
            curves["curve"] += [name] * len(curve.keys)
            curves["fractions"] += [curve.fractions.double().numpy()] * len(curve.keys)
            curves["values"] += list(curve.values.double().numpy())
        _parquet(pd.DataFrame(curves), folder / "curves.parquet")
        record = {
            "protocol": board.protocol.to_dict(),
            "digest": board.protocol.digest,
            "methods": [asdict(method) for method in board.methods],
            "metrics": board.metrics,
            "evaluations": [[*place, count] for place, count in board.evaluations.items()],
            "shared_evaluations": board.shared_evaluations,
        }
        waiting = folder / ".protocol.json.part"
        waiting.write_text(json.dumps(record, indent=2))
        # Last: a folder without protocol.json is no leaderboard yet.
        waiting.replace(folder / "protocol.json")
    except OSError as error:
        raise _no_place(folder, error) from None
    return folder


def _no_place(folder: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    return OutputError(f"cannot write the leaderboard to {folder} ({reason}); choose another folder")


def load(folder: Path) -> Leaderboard:
    """Read a leaderboard. Raises EvaluationError when the folder holds none."""
    from vitscope.evaluation.leaderboard import CurveRecord, Leaderboard, MethodRecord

    try:
        record = json.loads((folder / "protocol.json").read_text())
        statistics = pd.read_parquet(folder / "statistics.parquet")
        curves = pd.read_parquet(folder / "curves.parquet")
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "not readable"
        raise EvaluationError(f"{folder} holds no complete leaderboard ({cause}); evaluate again") from None
    states: dict[tuple[str, str], Metric] = {}
    for place, part in statistics.groupby(["method", "metric"], sort=False):
        method, metric = (str(name) for name in cast(tuple[str, str], place))
        state = Metric(metric)
        state.update_rows(
            list(part["key"]), torch.tensor([list(row) for row in part["row"]], dtype=torch.float64)
        )
        states[(method, metric)] = state
    kept: dict[tuple[str, str], CurveRecord] = {}
    for place, part in curves.groupby(["method", "curve"], sort=False):
        method, name = (str(word) for word in cast(tuple[str, str], place))
        kept[(method, name)] = CurveRecord(
            torch.tensor(list(part["fractions"].iloc[0]), dtype=torch.float64),
            list(part["key"]),
            torch.tensor([list(values) for values in part["values"]], dtype=torch.float64),
        )
    pictures, maps = _load_pictures(folder / "pictures.npz")
    return Leaderboard(
        Protocol.from_dict(record["protocol"]),
        [MethodRecord(**method) for method in record["methods"]],
        record["metrics"],
        states,
        {(method, metric): count for method, metric, count in record["evaluations"]},
        record["shared_evaluations"],
        kept,
        pictures,
        maps,
    )


def _save_pictures(board: Leaderboard, path: Path) -> None:
    if not board.pictures:
        return
    waiting = path.with_name(f".{path.name}.part")
    with waiting.open("wb") as file:
        arrays: dict[str, Any] = {
            "keys": np.array(list(board.pictures)),
            "places": np.array(list(board.maps)).reshape(-1, 2),
            **{f"picture {i}": picture for i, picture in enumerate(board.pictures.values())},
            **{f"map {i}": values for i, values in enumerate(board.maps.values())},
        }
        np.savez(file, **arrays)
    waiting.replace(path)


def _load_pictures(path: Path) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
    if not path.is_file():
        return {}, {}
    with np.load(path, allow_pickle=False) as file:
        pictures = {str(key): file[f"picture {i}"] for i, key in enumerate(file["keys"])}
        places = [(str(method), str(key)) for method, key in file["places"]]
        return pictures, {place: file[f"map {i}"] for i, place in enumerate(places)}


def _parquet(table: pd.DataFrame, path: Path) -> None:
    waiting = path.with_name(f".{path.name}.part")
    table.to_parquet(waiting, index=False, compression="zstd")
    waiting.replace(path)
