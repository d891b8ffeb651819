"""Quantus' metrics ask vitscope for their attributions."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.adapters.conftest import small_model
from vitscope.adapters import AdapterError, explain_func

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

CLASSES = np.array([4, 0, 2])


def expected(model: nn.Module, pictures: Tensor, method: str) -> np.ndarray:
    raw = vs.explain(vs.open_model(model), pictures, method, target=CLASSES).maps
    return raw.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None].numpy()


def test_values_are_those_of_explain(model: nn.Module, pictures: Tensor) -> None:
    for given in (pictures, pictures.numpy()):
        found = explain_func(model, given, CLASSES, method="dart", device="cpu")
        assert found.shape == (3, 1, 32, 32) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected(model, pictures, "dart"), rtol=1e-5, atol=1e-7)


def scores(metric: Any, model: nn.Module, pictures: Tensor, **more: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric(
            model=model, x_batch=pictures.numpy(), y_batch=CLASSES, channel_first=True, device="cpu", **more
        )


def test_a_metric_scores_vitscopes_maps(model: nn.Module, pictures: Tensor) -> None:
    """Asked by the metric or handed to it, the maps and so the scores are the same."""
    settings = {"features_in_step": 128, "perturb_baseline": "black", "disable_warnings": True}
    asked = scores(
        quantus.PixelFlipping(**settings), model, pictures,
        explain_func=explain_func, explain_func_kwargs={"method": "gradcam"},
    )  # fmt: skip
    handed = scores(
        quantus.PixelFlipping(**settings), model, pictures, a_batch=expected(model, pictures, "gradcam")
    )
    np.testing.assert_allclose(np.asarray(asked), np.asarray(handed), rtol=1e-4)
    others = scores(
        quantus.PixelFlipping(**settings), model, pictures, a_batch=expected(model, pictures, "rollout")
    )
    assert not np.allclose(np.asarray(asked), np.asarray(others), rtol=1e-3), "another order of pixels"


def test_each_model_that_a_metric_makes_is_looked_at(model: nn.Module, pictures: Tensor) -> None:
    """Quantus' randomisation metrics change the weights; what was learned of one model is not kept for another."""
    first = explain_func(model, pictures, CLASSES, method="gae")
    with torch.no_grad():
        for old, new in zip(model.parameters(), small_model(seed=1).parameters(), strict=True):
            old.copy_(new)
    changed = explain_func(model, pictures, CLASSES, method="gae")
    np.testing.assert_allclose(changed, expected(small_model(seed=1), pictures, "gae"), rtol=1e-4, atol=1e-6)
    assert not np.allclose(first, changed, rtol=0.01)


def test_it_is_called_by_quantus_names() -> None:
    assert list(inspect.signature(explain_func).parameters)[:3] == ["model", "inputs", "targets"]


def test_what_is_no_picture_is_refused_in_one_line(model: nn.Module, pictures: Tensor) -> None:
    with pytest.raises(AdapterError, match=r"expected inputs as floats \(B, C, H, W\)"):
        explain_func(model, pictures.numpy().astype(np.uint8), CLASSES)
    with pytest.raises(AdapterError, match="expected device"):
        explain_func(model, pictures, CLASSES, device="the fast one")
