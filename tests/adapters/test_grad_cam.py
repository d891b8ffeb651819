"""grad-cam's call form, held against the package itself: same model, same block, same targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_grad_cam as theirs
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from torch import Tensor, nn

import vitscope as vs
from tests.conftest import _module_state
from vitscope.adapters import AdapterError, GradCAM
from vitscope.errors import MethodError, TargetError

# In float32, both from 0 to 1: what a gradient backwards through three or twelve blocks and two resizings leave.
CLOSE = 2e-4
SAME = {
    "gradcam": theirs.GradCAM,
    "hirescam": theirs.HiResCAM,
    "xgradcam": theirs.XGradCAM,
    "layercam": theirs.LayerCAM,
}
"""Methods of one formula on both sides."""


def to_grid(tokens: Tensor) -> Tensor:
    """What grad-cam's users write by hand: no class token, tokens as a picture (B, D, h, w)."""
    side = int((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)


def their_maps(kind: Any, model: nn.Module, pictures: Tensor, targets: Any, **call: Any) -> np.ndarray:
    with kind(model=model, target_layers=[model.blocks[-1].norm1], reshape_transform=to_grid) as cam:  # type: ignore
        maps: np.ndarray = cam(pictures, targets, **call)
    for parameter in model.parameters():
        parameter.grad = None  # it leaves them
    return maps


@pytest.mark.parametrize("method", sorted(SAME))
@pytest.mark.parametrize(
    "targets", [None, [ClassifierOutputTarget(c) for c in (4, 0, 2)]], ids=["top1", "classes"]
)
def test_maps_are_those_of_grad_cam(method: str, targets: Any, model: nn.Module, pictures: Tensor) -> None:
    expected = their_maps(SAME[method], model, pictures, targets)
    with GradCAM(model=model, method=method) as cam:
        found = cam(pictures, targets=targets)
    assert found.shape == (3, 32, 32) and found.dtype == np.float32
    assert expected.max() > 0.9, "a map of zeros would prove nothing"
    np.testing.assert_allclose(found, expected, atol=CLOSE)


def test_maps_are_those_of_grad_cam_on_photographs(deit: Any, sample_pictures: list[Any]) -> None:
    photographs = deit.inputs(sample_pictures[:2])
    targets = [ClassifierOutputTarget(281), ClassifierOutputTarget(3)]
    expected = their_maps(theirs.GradCAM, deit.model, photographs, targets)
    cam = GradCAM(deit)
    np.testing.assert_allclose(cam(photographs, targets), expected, atol=CLOSE)
    assert cam.outputs is not None and cam.outputs.shape == (2, 1000)


def test_smoothing_over_augmented_inputs_is_theirs(model: nn.Module, pictures: Tensor) -> None:
    targets = [ClassifierOutputTarget(1)] * 3
    expected = their_maps(theirs.GradCAM, model, pictures, targets, aug_smooth=True)
    found = GradCAM(model)(pictures, targets, aug_smooth=True)
    np.testing.assert_allclose(found, expected, atol=CLOSE)
    assert not np.allclose(found, GradCAM(model)(pictures, targets), atol=0.01)


def test_the_softmax_target_is_theirs(model: nn.Module, pictures: Tensor) -> None:
    targets = [ClassifierOutputSoftmaxTarget(c) for c in (1, 2, 3)]
    expected = their_maps(theirs.GradCAM, model, pictures, targets)
    np.testing.assert_allclose(GradCAM(model)(pictures, targets), expected, atol=CLOSE)


@pytest.mark.parametrize(
    "targets",
    [2, [2, 2, 2], [ClassifierOutputTarget(2)] * 3, [lambda logits: logits[2]] * 3, [2, "class:2", 2]],
)
def test_one_target_in_every_form(targets: Any, model: nn.Module, pictures: Tensor) -> None:
    cam = GradCAM(model, method="dart")
    found = cam(pictures, targets)
    raw = vs.explain(vs.open_model(model), pictures, "dart", target=2).maps
    assert cam.explanation is not None
    torch.testing.assert_close(cam.explanation.maps, raw, rtol=1e-4, atol=1e-6)
    positive = raw.clamp_min(0).numpy()
    scaled = (positive - positive.min((1, 2), keepdims=True)) / np.ptp(positive, axis=(1, 2), keepdims=True)
    # The centre of a patch of 8 pixels lies between four of them; their mean is the patch's value.
    centres = found.reshape(3, 4, 8, 4, 8)[:, :, 3:5, :, 3:5].mean((2, 4))
    scale = np.ptp(centres, axis=(1, 2)) / np.ptp(scaled, axis=(1, 2))
    assert np.corrcoef(centres.ravel(), scaled.ravel())[0, 1] > 0.97 and (scale > 0.8).all()


def test_the_model_is_left_alone(model: nn.Module, pictures: Tensor) -> None:
    model.train()
    before = _module_state(model)
    with GradCAM(model) as cam:
        cam(pictures)
    assert _module_state(model) == before


def test_a_map_without_a_positive_value_is_0() -> None:
    from vitscope.adapters.grad_cam import _from_0_to_1

    assert _from_0_to_1(torch.zeros(1, 2, 2)).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_what_is_not_there_is_refused_in_one_line(model: nn.Module, pictures: Tensor) -> None:
    for call, error, words in (
        (lambda: GradCAM(model, [model.blocks[-1].norm1]), AdapterError, "target_layers"),  # type: ignore
        (lambda: GradCAM(model, reshape_transform=to_grid), AdapterError, "reshape_transform"),
        (lambda: GradCAM("resnet"), AdapterError, "nn.Module"),
        (lambda: GradCAM(model, method="grad-camm"), MethodError, "gradcam"),
        (lambda: GradCAM(model, colour="red"), MethodError, "colour"),
        (lambda: GradCAM(model)(pictures, [1, 2]), AdapterError, "expected 3 targets"),
        (lambda: GradCAM(model)(pictures, ClassifierOutputTarget(1)), AdapterError, "list"),
        (lambda: GradCAM(model)(pictures, [lambda logits: logits] * 3), TargetError, "one number"),
        (lambda: GradCAM(model)(pictures, [lambda logits: logits[77]] * 3), TargetError, "fails"),
        (lambda: GradCAM(model)(pictures[0]), AdapterError, "input_tensor"),
        (lambda: GradCAM(model)(pictures, eigen_smooth=True), AdapterError, "eigen_smooth"),
    ):
        with pytest.raises(error, match=words) as said:
            call()  # type: ignore[no-untyped-call]
        assert "\n" not in str(said.value)
