"""Mappings with pictures: what an image processor returns, flags, and other data beside the picture."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import BatchFeature, ViTConfig, ViTForImageClassification

import vitscope as vs
from vitscope.errors import MethodError, PictureError


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=32, patch_size=8,
        num_labels=3,
    )  # fmt: skip
    return ViTForImageClassification(config).eval()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


METHODS = ["gae", "rollout", "saliency", "dart", "occlusion"]


@pytest.mark.parametrize("form", ["a dictionary", "a processor's record", "arrays", "a list of arrays"])
def test_what_a_processor_returns_is_the_pictures(model, pictures, form):
    given = {
        "a dictionary": {"pixel_values": pictures},
        "a processor's record": BatchFeature({"pixel_values": pictures}),
        "arrays": {"pixel_values": pictures.numpy()},
        "a list of arrays": {"pixel_values": list(pictures.numpy())},
    }[form]
    expected = vs.explain(vs.open_model(model), pictures, METHODS, target=1)
    found = vs.explain(vs.open_model(model), given, METHODS, target=1, batch_size=2)
    for name in METHODS:
        torch.testing.assert_close(found[name].maps, expected[name].maps, rtol=1e-4, atol=1e-6)
        assert torch.equal(found[name].pictures, expected[name].pictures)


def test_flags_are_handed_on(model, pictures):
    larger = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    found = vs.explain(
        vs.open_model(model), {"pixel_values": larger, "interpolate_pos_encoding": True}, "gae", target=1
    )
    assert found.maps.shape == (1, 6, 6)
    assert found.pictures is not None
    plain = {"pixel_values": pictures, "interpolate_pos_encoding": False}
    torch.testing.assert_close(
        vs.explain(vs.open_model(model), plain, "gae", target=1).maps,
        vs.explain(vs.open_model(model), pictures, "gae", target=1).maps,
    )


def test_a_mapping_without_tensors_says_what_to_ask_for(model):
    with pytest.raises(PictureError, match="return_tensors"):
        vs.explain(vs.open_model(model), {"pixel_values": [[1, 2], [3]]}, "gae")


class WithAge(nn.Module):
    """A picture and a number of the patient: the score is the picture's, weighed by the age."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.vit = timm.models.vision_transformer.VisionTransformer(
            img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=3
        )

    def forward(self, scan: Tensor, age: Tensor) -> Tensor:
        return self.vit(scan) * age[:, None]


def test_a_picture_and_other_data_of_each_patient(pictures):
    model = WithAge().eval()
    age = torch.tensor([1.0, 2.0, -0.5])
    opened = vs.open_model(model, image_size=32, classes=3)
    alone = vs.explain(vs.open_model(model.vit), pictures, METHODS, target=1)
    found = vs.explain(opened, {"scan": pictures, "age": age}, METHODS, target=1)
    assert found["gae"].pictures is not None
    torch.testing.assert_close(found["rollout"].maps, alone["rollout"].maps)
    torch.testing.assert_close(found["saliency"].maps, alone["saliency"].maps * age.abs()[:, None, None])
    by_age = alone["occlusion"].maps * age[:, None, None]
    torch.testing.assert_close(found["occlusion"].maps, by_age, rtol=1e-4, atol=1e-6)
    backwards = {"scan": pictures.flip(0), "age": age.flip(0)}
    again = vs.explain(opened, backwards, "gae", target=1, batch_size=2).maps.flip(0)
    torch.testing.assert_close(again, found["gae"].maps, rtol=1e-4, atol=1e-7)


def test_two_pictures_have_no_one_grid(pictures):
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = WithAge().vit

        def forward(self, one: Tensor, two: Tensor) -> Tensor:
            return (self.vit(one) * self.vit(two)).sum(1, keepdim=True)

    with pytest.raises(MethodError, match="run more than once"):
        vs.explain(
            vs.open_model(Pair().eval(), classes=1), {"one": pictures, "two": pictures}, "gae", target=0
        )


def test_numpy_arrays_are_not_changed(model, pictures):
    given = pictures.numpy().copy()
    before = given.copy()
    vs.explain(vs.open_model(model), {"pixel_values": given}, "dart", target=1)
    assert np.array_equal(given, before)
