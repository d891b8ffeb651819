"""An interrupted run goes on where it stopped, and what a page shows does not depend on parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vitscope as vs
from vitscope.evaluation import checkpoint, gallery
from vitscope.evaluation.evaluate import RESUMED
from vitscope.evaluation.metric import Metric, statistics_of

QUICK = vs.Protocol(steps=3, random_draws=1)
METRICS = ["srg", "grid-pointing"]
LABELS = [0, 1, 2, 3, 4, 0, 1]


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def run(vit: Any, pictures: torch.Tensor, **more: Any) -> vs.Leaderboard:
    return vs.evaluate(vit, pictures, LABELS, ["daam"], METRICS, QUICK, batch_size=2, **more)


@pytest.mark.parametrize("stop", [20, 47], ids=["among the pictures", "among the mosaics"])
def test_an_interrupted_run_goes_on(
    vit: Any, pictures: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0)
    whole = run(vit, pictures)
    seen: list[tuple[str, int, int]] = []

    def interrupt(what: str, done: int, total: int) -> None:
        if done >= stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(vit, pictures, checkpoint=tmp_path / "c", progress=interrupt)
    again = run(vit, pictures, checkpoint=tmp_path / "c", progress=lambda *s: seen.append(s))
    assert seen[0][0] == RESUMED
    assert 0 < seen[0][1] <= stop
    assert seen[-1][1] == seen[-1][2] == 2 * 7 * len(whole.names)
    assert again.protocol == whole.protocol
    assert again.total_evaluations == whole.total_evaluations
    assert set(again.pictures) == set(whole.pictures)
    for name in whole.names:
        for metric in METRICS:
            first, second = whole.interval(name, metric), again.interval(name, metric)
            assert first.value == pytest.approx(second.value, abs=1e-6, nan_ok=True)
            assert first.n == second.n


def test_another_run_does_not_go_on_from_it(
    vit: Any, pictures: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0)
    run(vit, pictures, checkpoint=tmp_path)
    for changed in (
        {"methods": ["gae"]},
        {"metrics": ["mif"]},
        {"protocol": vs.Protocol(steps=4, random_draws=1)},
        {"images": pictures.flip(0)},
    ):
        seen: list[str] = []
        given: dict[str, Any] = {
            "images": pictures, "labels": LABELS, "methods": ["daam"], "metrics": ["srg"], "protocol": QUICK,
            "checkpoint": tmp_path, "progress": lambda what, *_, seen=seen: seen.append(what), **changed,
        }  # fmt: skip
        vs.evaluate(vit, **given)
        assert RESUMED not in seen, changed


def test_a_damaged_part_is_left_aside(
    vit: Any, pictures: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0)
    whole = run(vit, pictures, checkpoint=tmp_path)
    (place,) = (tmp_path / "pictures").iterdir()
    assert place.name == f"{7:09d}", "earlier parts are removed once a later one is whole"
    next(place.glob("statistics-*.parquet")).write_bytes(b"PAR1")
    again = run(vit, pictures, checkpoint=tmp_path)
    assert again.interval("daam", "srg").value == pytest.approx(whole.interval("daam", "srg").value)


def test_the_extremes_of_the_whole_are_kept() -> None:
    """40 pictures, batch by batch: at the end the four lowest and the four highest values are there, no more."""
    values = torch.rand(40, generator=torch.Generator().manual_seed(0))
    state, pictures, maps = Metric("srg"), {}, {}
    for start in range(0, 40, 5):
        keys = [f"{index:02d}" for index in range(start, start + 5)]
        state.update_rows(keys, statistics_of(values[start : start + 5]))
        for key in keys:
            pictures[key] = np.zeros((2, 2, 3), dtype=np.uint8)
            maps[("a", key)] = np.zeros((1, 1))
        gallery.prune({("a", "srg"): state}, ["entropy", "srg"], pictures, maps)
        assert len(pictures) <= 8
    order = [f"{index:02d}" for index in values.argsort().tolist()]
    worst, best = gallery.extremes(state, pictures)
    assert worst == order[:4]
    assert best == order[::-1][:4]
    assert {key for _, key in maps} == set(pictures) == {*worst, *best}
    assert gallery.ordering_metric(["entropy", "grid-pointing"]) is None
