"""Worlds as evaluation sets: exact masks, repeatable pictures, and scores against the planted evidence."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import vitscope as vs
from vitscope.errors import VitscopeError
from vitscope.evaluation import evaluate_world, world_names, world_set
from vitscope.evaluation.running.worlds import WORLD_METRICS


@pytest.mark.parametrize("name", ["shapes", "conjunction", "redundancy", "position", "clever-hans"])
def test_every_world_has_exact_truth(name: str) -> None:
    assert name in world_names()
    data, longer = world_set(name, 4, seed=3), world_set(name, 6, seed=3)
    assert data.labels is not None
    assert data.masks is not None
    assert longer.keys[:4] == data.keys
    for index in range(4):
        assert np.array_equal(data.pictures[index], longer.pictures[index])
        mask = np.asarray(data.masks[index])
        assert mask.shape == data.pictures[index].shape[:2]
        assert 0 < mask.mean() < 0.5
    other = world_set(name, 4, seed=4)
    assert not np.array_equal(data.pictures[0], other.pictures[0])


def test_a_world_is_scored() -> None:
    """On an untrained model: what is tested is the way of the masks, and that controls do what geometry says."""
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(
        img_size=96, patch_size=16, embed_dim=24, depth=2, num_heads=3, num_classes=10
    )
    vit = vs.open_model(
        model.eval(), image_size=96, preprocess=vs.models.Preprocessor((96, 96), (0.5,) * 3, (0.5,) * 3)
    )
    protocol = vs.Protocol(removal="drop", steps=3, random_draws=2, target="label")
    board = evaluate_world("shapes", ["rollout", "daam"], protocol=protocol, count=5, vit=vit)
    assert board.metrics == list(WORLD_METRICS)
    data = world_set("shapes", 5)
    assert data.masks is not None
    area = float(np.mean([np.asarray(mask).mean() for mask in data.masks]))
    assert board.interval("uniform", "mass").value == pytest.approx(area, abs=1e-6)
    assert board.protocol.target == "label"
    assert board.interval("daam", "srg").n == 5


def test_unknown_world() -> None:
    with pytest.raises(VitscopeError, match="moon"):
        world_set("moon")


def test_the_examples_of_the_page_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vitscope.evaluation import metric

    monkeypatch.chdir(tmp_path)
    vs.evaluation.all_metrics()
    monkeypatch.setattr(metric, "_METRICS", dict(metric._METRICS))
    blocks = re.findall(
        r"^```python\n(.*?)^```", (repository / "docs" / "metrics.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/metrics.md", "exec"), {})
    assert (tmp_path / "board" / "index.html").is_file()
    assert vs.evaluation.get_metric("peak").title == "largest value"
