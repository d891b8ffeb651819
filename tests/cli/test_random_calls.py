"""Random calls of the library: a result or a VitscopeError, never another exception, and nothing is left changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vitscope as vs
from tests.tracing.test_answers import small
from vitscope.errors import VitscopeError

CALLS = 300
SIDE = 32


def pictures(count: int = 2) -> list[Image.Image]:
    """Noise."""
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(count)]


class Odd:
    """An object that nobody expects."""


def odd_values(folder: Path) -> list[Any]:
    """Values of wrong types and of wrong sizes."""
    return [
        None, True, -1, 0, 1, 3, 10**30, 0.5, -0.0, float("nan"), float("inf"), "", " ", "²", "nothing", "9" * 5000,
        b"x", [], [1], [None], ["a", 2], (), (1, 2), {}, {"a": 1}, {1: 2}, set(), Odd(), Odd, len, lambda *_: None,
        ..., range(3), np.nan, np.zeros(0), np.zeros((2, 2)), np.zeros((0, 3, 4, 5)), np.array("x"), np.array([None]),
        torch.zeros(0), torch.zeros(1), torch.ones(2, dtype=torch.long), torch.zeros(2, 3, SIDE, SIDE),
        torch.full((2, 3, SIDE, SIDE), float("nan")), torch.zeros(1, 4, SIDE, SIDE), torch.zeros(2, 3, 8, 8),
        torch.zeros(2, 3, SIDE, SIDE, dtype=torch.complex64), torch.zeros(2, 3, SIDE, SIDE, device="meta"),
        torch.eye(2).to_sparse(), folder, folder / "nothing", folder / "nothing.png", str(folder / "*"), "\x1b[31m",
        "\udce9", "a\0b", Image.new("P", (1, 1)), Image.new("RGB", (5000, 1)), nn.Linear(2, 2), Exception("x"), 1j,
    ]  # fmt: skip


def functions(vit: vs.Vit, folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """The public calls with arguments that work."""
    heads = vs.heads
    two = pictures()
    plain = {"vit": vit, "images": two}
    return {
        "explain": (vs.explain, {**plain, "method": "gae", "target": 1, "batch_size": 2, "clean": False}),
        "explain several": (vs.explain, {**plain, "method": ["rollout", "gmar"], "target": None, "alpha": 0.5}),
        "explain options": (vs.explain, {**plain, "method": {"gmar": {"norm": "l1"}}, "keep_pictures": False}),
        "evaluate": (
            vs.evaluate,
            {
                **plain, "labels": [1, 2], "methods": ["rollout"], "metrics": ["complexity"], "keys": ["a", "b"],
                "protocol": vs.Protocol(steps=1, random_draws=1), "options": None, "controls": ("random",),
                "batch_size": 2, "perturbed_batch_size": 4, "masks": None, "boxes": None,
            },
        ),
        "protocol": (
            vs.Protocol,
            {"removal": "mask", "score": "logit", "target": "top1", "steps": 2, "seed": 0, "random_draws": 1,
             "mosaic": 2, "mean_colour": None},
        ),
        "importance": (
            heads.importance,
            {**plain, "labels": [1, 2], "replacement": "zero", "screen": None, "exact": True, "batch_size": 2},
        ),
        "strength": (heads.strength, {**plain, "distance": "chebyshev", "batch_size": 2}),
        "trace": (vit.trace, {"images": two, "target": 1, "gradient": True}),
        "open": (
            vs.open_model,
            {"model": small(), "preprocess": "half", "image_size": SIDE, "device": "cpu", "precision": "float32",
             "class_names": ["a", "b", "c", "d"], "grid": None, "prefix": None, "pooling": None, "classes": 4,
             "blocks": None, "weights": None},
        ),
        "open by name": (vs.open_model, {"model": "bundled/shapes", "image_size": None, "weights": None}),
        "load explanation": (vs.Explanation.load, {"path": folder / "nothing"}),
        "load board": (vs.Leaderboard.load, {"path": folder / "nothing"}),
    }  # fmt: skip


def state(module: nn.Module) -> list[Any]:
    """What a call may not change."""
    return [
        [(name, value.data_ptr(), float(value.detach().double().sum()), value.requires_grad, value.grad is None)
         for name, value in module.named_parameters()],
        [(name, part.training, len(part._forward_hooks), len(part._forward_pre_hooks), "forward" in vars(part))
         for name, part in module.named_modules()],
    ]  # fmt: skip


def copy_of(value: Any) -> Any:
    """What a value was, to be compared afterwards."""
    if isinstance(value, Tensor):
        return value.clone() if value.device.type != "meta" and value.layout is torch.strided else None
    return value.copy() if isinstance(value, np.ndarray | list | dict) else None


def same(value: Any, before: Any) -> bool:
    """Whether a value is what it was."""
    if isinstance(before, Tensor):
        return bool(torch.equal(value.nan_to_num(7.0), before.nan_to_num(7.0)))
    if isinstance(before, np.ndarray):
        return value.tobytes() == before.tobytes()
    return before is None or value == before


def test_random_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vit = vs.open_model(small(), image_size=SIDE, classes=4, preprocess="half")
    known = functions(vit, tmp_path)
    odd = odd_values(tmp_path)
    before = state(vit.model)
    draw = random.Random(9)
    worked = 0
    for index in range(CALLS):
        name = draw.choice(list(known))
        function, given = known[name]
        changed = draw.sample(list(given), k=min(len(given), draw.choice((1, 1, 1, 2))))
        values = {each: draw.choice(odd) for each in changed}
        if draw.random() < 0.05:
            values[draw.choice(("nonsense", "alpha", "_x"))] = draw.choice(odd)
        kept = {each: copy_of(value) for each, value in values.items()}
        said = f"{index}: {name} with { ({each: repr(value)[:60] for each, value in values.items()}) }"
        try:
            function(**{**given, **values})
            worked += 1
        except VitscopeError as error:
            assert "\n" not in str(error) and str(error), said
        except TypeError as error:  # what Python itself says of a name that a function does not have
            assert "unexpected keyword argument" in str(error), said
        except Exception as error:
            raise AssertionError(said) from error
        assert state(vit.model) == before, said
        assert all(same(value, kept[each]) for each, value in values.items()), said
    assert worked > CALLS / 100
    assert list(tmp_path.iterdir()) == []
