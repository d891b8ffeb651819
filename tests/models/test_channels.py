"""Pictures of other than three channels: read with all of their channels, drawn with three of them, and said so."""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import vitscope as vs
from vitscope.errors import MethodError, ModelError, PictureError
from vitscope.models import Preprocessor, to_batch, to_pictures


def vit_of(channels: int) -> Any:
    torch.manual_seed(0)
    return timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=16, embed_dim=24, depth=2, num_heads=2, num_classes=3, in_chans=channels
    ).eval()


def recipe(channels: int) -> Preprocessor:
    means = tuple(0.1 * (c + 1) for c in range(channels))
    return Preprocessor(size=(2, 2), mean=means, std=(0.5,) * channels, resize="none")


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
def test_maps_and_drawings_of_any_number_of_channels(channels: int) -> None:
    images = torch.randn(2, channels, 32, 32, generator=torch.Generator().manual_seed(1))
    found = vs.explain(vs.open_model(vit_of(channels)), images, ["gae", "input-x-gradient"], target=1)
    assert found["gae"].maps.shape == (2, 2, 2)
    told = {
        2: "the picture shows channel 0 of 2",
        4: "the picture shows channels 0, 1, 2 of 4",
        12: "the picture shows channels 0, 1, 2 of 12",
    }.get(channels)
    notes = [note for note in found["gae"].metadata["notes"] if "channel" in note]
    assert notes == ([told] if told else [])
    plain = found["gae"].overlay(0, caption="")
    captioned = found["gae"].overlay(0)
    assert (captioned.height > plain.height) == (told is not None)
    # the channels are summed: x * dy/dx written out
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(vit_of(channels)(x)[:, 1].sum(), x)
    want = (images * gradient).sum(1).reshape(2, 2, 16, 2, 16).sum((2, 4))
    torch.testing.assert_close(found["input-x-gradient"].maps, want, atol=1e-5, rtol=1e-4)


def test_values_of_twelve_channels_by_hand() -> None:
    values = np.arange(48, dtype=np.uint16).reshape(2, 2, 12) * 1000
    got = to_batch([values], recipe(12))
    for row, column, channel in ((0, 0, 0), (0, 1, 3), (1, 0, 11), (1, 1, 7)):
        number = float(values[row, column, channel]) / 65535
        assert got[0, channel, row, column] == pytest.approx((number - 0.1 * (channel + 1)) / 0.5, abs=1e-5)
    as_floats = values.astype(np.float64) / 65535
    torch.testing.assert_close(to_batch(as_floats, recipe(12)), got, atol=1e-5, rtol=0)
    (shown,) = to_pictures(got, recipe(12))
    want = np.rint(values[:, :, :3] / 65535 * 255)
    np.testing.assert_allclose(np.asarray(shown), want, atol=1)


def test_explain_reads_twelve_channels_and_refuses_another_number() -> None:
    model = vit_of(12)
    vit = vs.open_model(model, preprocess={"size": 32, "mean": 0.5, "std": 0.25})
    values = np.random.default_rng(0).integers(0, 65536, (2, 32, 32, 12), dtype=np.uint16)
    ready = ((torch.from_numpy(values / 65535).permute(0, 3, 1, 2) - 0.5) / 0.25).float()
    want = vs.explain(vit, ready, "gae", target=1)
    as_it_is = vs.open_model(model, preprocess=Preprocessor((32, 32), (0.5,), (0.25,), resize="none"))
    found = vs.explain(as_it_is, values, "gae", target=1)
    torch.testing.assert_close(found.maps, want.maps, atol=1e-6, rtol=1e-4)
    assert len(set(found.metadata["ids"])) == 2
    with pytest.raises(PictureError, match="as many channels as the model takes"):
        vs.explain(vit, np.zeros((12, 32, 32), np.uint8), "gae", target=1)


def test_four_channels_are_no_transparency_where_the_model_takes_four(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, 2, 4), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "four.png")
    want = torch.from_numpy(values).permute(2, 0, 1)[None].float() / 255
    want = (want - torch.tensor([0.1, 0.2, 0.3, 0.4]).view(1, 4, 1, 1)) / 0.5
    for given in (
        values,
        torch.from_numpy(values).permute(2, 0, 1),
        Image.fromarray(values),
        tmp_path / "four.png",
    ):
        torch.testing.assert_close(to_batch([given], recipe(4)), want)


def test_resized_channels_are_each_resized_as_a_grey_picture_is() -> None:
    values = np.random.default_rng(0).integers(0, 256, (9, 14, 5), dtype=np.uint8)
    five = Preprocessor(size=(6, 6), mean=(0.0,) * 5, std=(1.0,) * 5)
    one = Preprocessor(size=(6, 6), mean=(0.0,), std=(1.0,))
    got = to_batch([values], five)[0]
    for channel in range(5):
        grey = to_batch([values[:, :, channel]], one)[0, 0]
        torch.testing.assert_close(
            got[channel], grey, atol=1 / 255, rtol=0
        )  # 8 bits are rounded, bands are not


def test_one_channel_takes_the_grey_of_colours() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], dtype=np.uint8)
    got = to_batch([colours], Preprocessor(size=(2, 2), mean=(0.5,), std=(0.25,), resize="none"))
    grey = torch.tensor([[76.0, 150.0], [29.0, 18.0]]) / 255  # 0.299 R + 0.587 G + 0.114 B
    torch.testing.assert_close(got[0, 0], (grey - 0.5) / 0.25, atol=0.02, rtol=0)


def test_one_mean_serves_every_channel_and_means_of_colours_only_colours() -> None:
    for preprocess in ("half", {"size": 32, "mean": 0.5, "std": 0.5}, recipe_of_one()):
        found = vs.open_model(vit_of(12), preprocess=preprocess).preprocessor
        assert found.mean == (0.5,) * 12
    with pytest.raises(ModelError, match="12; give those that it was trained with"):
        vs.open_model(vit_of(12), preprocess="imagenet")
    assert vs.open_model(vit_of(3), preprocess=recipe_of_one()).preprocessor.mean == (0.5,) * 3


def recipe_of_one() -> Preprocessor:
    return Preprocessor(size=(32, 32), mean=(0.5,), std=(0.5,))


def test_a_grey_checkpoint_by_name_says_what_it_needs_and_that_works() -> None:
    options: dict[str, Any] = {
        "pretrained": False,
        "in_chans": 1,
        "num_classes": 3,
        "embed_dim": 12,
        "depth": 1,
    }
    picture = Image.fromarray(np.full((40, 40), 7, np.uint8))
    with pytest.raises(ModelError, match=r"'mean': 0[.]5"):
        vs.explain(
            vs.open_model("timm/deit_tiny_patch16_224", image_size=32, **options), picture, "gae", target=1
        )
    vit = vs.open_model(
        "timm/deit_tiny_patch16_224",
        image_size=32,
        preprocess={"size": 32, "mean": 0.5, "std": 0.5},
        **options,
    )
    assert vs.explain(vit, picture, "gae", target=1).maps.shape == (1, 2, 2)


def test_pictures_of_other_channels_than_the_model_takes_are_refused() -> None:
    for given, recipe_channels, words in (
        (np.zeros((4, 4, 3), np.uint8), 12, "takes pictures of 12 channels"),
        (np.zeros((4, 4, 12), np.uint8), 3, "as many channels"),
        (np.full((2, 2, 12), 2.0), 12, "scale each channel to 0..1"),
        (np.full((2, 2, 12), np.nan), 12, "scale each channel to 0..1"),
        (np.zeros((2, 2, 12), np.int32), 12, "int32"),
    ):
        with pytest.raises(PictureError, match=words):
            to_batch([given], recipe(recipe_channels))


def test_a_file_of_twelve_channels_says_how_it_is_read(tmp_path: Path) -> None:
    tags = [
        (256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 12, 134), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 158),
        (277, 3, 1, 12), (278, 3, 1, 2), (279, 4, 1, 48), (284, 3, 1, 1),
    ]  # fmt: skip
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    file = tmp_path / "bands.tif"
    file.write_bytes(
        b"II*\0" + struct.pack("<IH", 8, 10) + body + struct.pack("<I12H", 0, *[8] * 12) + bytes(range(48))
    )
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    with pytest.raises(PictureError, match="tifffile"):
        to_batch([file], recipe(12))
    logging.getLogger("PIL").setLevel(logging.NOTSET)


def test_weights_without_values_are_refused_in_one_line() -> None:
    with torch.device("meta"):
        model = vit_of(3)
    with pytest.raises(ModelError, match="meta device"):
        vs.open_model(model)
    with pytest.raises(ModelError, match="'meta' holds no values"):
        vs.open_model(vit_of(3), device="meta")


@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "smoothgrad", "input-x-gradient"])
def test_what_captum_raises_is_one_line_with_the_reason(method: str) -> None:
    vit = vs.open_model(vit_of(3))
    images = torch.randn(1, 3, 32, 32)
    with pytest.raises(MethodError, match="no gradient comes back from the score") as caught:
        vs.explain(vit, images, method, target=_Cut(vit))
    assert "\n" not in str(caught.value)


class _Cut:
    """A target with a gradient inside the model's own trace, and none in what Captum calls."""

    def __init__(self, vit: Any) -> None:
        self.calls = 0

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return output[:, 1] if self.calls == 1 else output[:, 1].detach()


@pytest.mark.parametrize(("mean", "std"), [((0.4, 0.5, 0.5), (0.5,) * 3), ((0.5,) * 3, (0.2, 0.3, 0.3))])
def test_numbers_of_colours_serve_no_other_channels(mean: Any, std: Any) -> None:
    with pytest.raises(ModelError, match="one for each channel or one for all"):
        vs.open_model(vit_of(2), preprocess=Preprocessor((32, 32), mean, std))
