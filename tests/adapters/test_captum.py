"""Captum's call form, held against Captum itself and used by its metrics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import LayerGradientXActivation, NoiseTunnel
from captum.metrics import sensitivity_max
from torch import Tensor, nn

import vitscope as vs
from vitscope.adapters import AdapterError, Attribution


def test_values_are_those_of_explain_on_every_pixel_of_a_patch(model: nn.Module, pictures: Tensor) -> None:
    values = Attribution(model, "dart").attribute(pictures, target=[4, 0, 2])
    raw = vs.explain(vs.open_model(model), pictures, "dart", target=[4, 0, 2]).maps
    expected = raw.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None].expand(-1, 3, -1, -1)
    assert values.shape == pictures.shape
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-7)


def test_values_are_those_of_captum_where_the_method_is_the_same(model: nn.Module, pictures: Tensor) -> None:
    """Gradient times tokens before the last block's attention, added over channels, is HiResCAM without its relu."""
    theirs = LayerGradientXActivation(model, model.blocks[-1].norm1).attribute(pictures, target=3)  # type: ignore
    expected = theirs.detach().sum(-1)[:, 1:].unflatten(1, (4, 4))
    values = Attribution(model, "hirescam", relu=False).attribute(pictures, target=3)
    torch.testing.assert_close(values[:, 0, ::8, ::8], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "target", [1, (1,), [1, 1, 1], [(1,)] * 3, torch.tensor([1, 1, 1]), torch.tensor([[1]] * 3)]
)
def test_captums_forms_of_a_target(target: Any, model: nn.Module, pictures: Tensor) -> None:
    attribution = Attribution(model, "gae")
    expected = attribution.attribute(pictures, "class:1")
    torch.testing.assert_close(attribution.attribute(pictures, target), expected, rtol=1e-5, atol=1e-7)
    [in_a_tuple] = attribution.attribute((pictures,), target)
    assert in_a_tuple.equal(attribution.attribute(pictures, target))


def test_without_a_method_it_is_the_default(model: nn.Module) -> None:
    assert Attribution(model).method == "dart-removal"


def test_captums_noise_tunnel_takes_it(model: nn.Module, pictures: Tensor) -> None:
    attribution = Attribution(model, "gae")
    plain = attribution.attribute(pictures, 2)
    tunnel = NoiseTunnel(attribution)  # type: ignore[arg-type]
    same = tunnel.attribute(pictures, nt_samples=2, stdevs=0.0, target=2)
    torch.testing.assert_close(same, plain, rtol=1e-4, atol=1e-6)
    torch.manual_seed(0)
    noisy = tunnel.attribute(pictures, nt_samples=2, stdevs=0.5, target=2)
    assert not torch.allclose(noisy, plain, rtol=1e-2)


def test_captums_sensitivity_takes_it(model: nn.Module, pictures: Tensor) -> None:
    attribution = Attribution(model, "gradcam")
    found = sensitivity_max(
        attribution.attribute, pictures, perturb_radius=0.1, n_perturb_samples=2, target=2
    )
    assert found.shape == (3,) and bool((found > 0).all()) and bool(found.isfinite().all())


def test_what_is_not_there_is_refused_in_one_line(model: nn.Module, pictures: Tensor) -> None:
    attribution = Attribution(model, "gae")
    for call, words in (
        (lambda: attribution.attribute(pictures, (1, 2)), "one row of classes"),
        (lambda: attribution.attribute((pictures, pictures)), "a tuple of 2"),
        (lambda: attribution.attribute(pictures.byte()), "uint8"),
        (lambda: Attribution(None), "NoneType"),
    ):
        with pytest.raises(AdapterError, match=words):
            call()
