"""Values of Quantus, grad-cam and torch-cam, where they are installed, reproduced where definitions are equal."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest


def _benchmark(repository: Path) -> ModuleType:
    path = repository / "benchmarks" / "evaluation_peers.py"
    spec = importlib.util.spec_from_file_location("evaluation_peers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its records look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("peer", ["quantus", "pytorch_grad_cam", "torchcam"])
def test_equal_definitions_give_equal_values(
    repository: Path, peer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(peer, reason=f"{peer} is not installed; benchmarks/evaluation_peers.py names how")
    benchmark = _benchmark(repository)
    monkeypatch.setattr(benchmark, "present", lambda: [peer])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = benchmark.equality(benchmark.Setting("deit_tiny_patch16_224", 2, 8, size=64, patch=8))
    assert len(rows) >= 4
    for row in rows:
        # grad-cam's imputer solves exactly, ours to 1e-4; in ROAD each side draws noise of its own.
        bound = 0.05 if row["what"].startswith("ROAD") else 1e-3 if "imputation" in row["what"] else 1e-5
        assert row["relative"] < bound, row
