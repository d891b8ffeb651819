"""Pictures are prepared exactly as the model's own library prepares them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image

from vitscope.errors import ModelError
from vitscope.models import Preprocessor, as_preprocessor
from vitscope.models.preparing.published import from_timm
from vitscope.pictures import read_picture

TOLERANCE = {"atol": 2e-6, "rtol": 0}


def synthetic() -> list[Image.Image]:
    generator = np.random.default_rng(7)
    shapes = ((333, 500), (500, 375), (97, 61), (224, 224), (1, 1), (9, 300))
    return [Image.fromarray(generator.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]


@pytest.fixture(scope="module")
def photographs(sample_pictures: list[Path]) -> list[Image.Image]:
    return [read_picture(path) for path in sample_pictures[::33]]


def by_hand(picture: Image.Image, resize: int, crop: int, mean: Any, std: Any) -> torch.Tensor:
    """Shorter side to ``resize`` bicubic, centre crop, scale, normalise; one line per step, no helpers."""
    width, height = picture.size
    if width <= height:
        new_width, new_height = resize, int(resize * height / width)
    else:
        new_width, new_height = int(resize * width / height), resize
    resized = picture.resize((new_width, new_height), Image.Resampling.BICUBIC)
    left, top = round((new_width - crop) / 2), round((new_height - crop) / 2)
    values = np.asarray(resized.crop((left, top, left + crop, top + crop)), dtype=np.float64) / 255
    normalised = (values - np.array(mean)) / np.array(std)
    return torch.from_numpy(normalised.transpose(2, 0, 1)).float()


def test_equals_the_steps_written_out() -> None:
    mean, std = (0.48, 0.45, 0.40), (0.22, 0.23, 0.24)
    recipe = Preprocessor(size=(64, 64), mean=mean, std=std, resize_to=(72, 72))
    for picture in synthetic():
        torch.testing.assert_close(recipe(picture), by_hand(picture, 72, 64, mean, std), atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", [(224, 224), (160, 224), (96, 64), (384, 384)])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize(("share", "filter_name"), [(0.9, "bicubic"), (0.875, "bilinear"), (1.0, "bicubic")])
def test_equals_timm(size: tuple[int, int], mode: str, share: float, filter_name: str) -> None:
    config = {
        "input_size": (3, *size), "crop_pct": share, "crop_mode": mode, "interpolation": filter_name,
        "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
    }  # fmt: skip
    transform = timm.data.create_transform(**config, is_training=False)
    recipe = from_timm(config)
    for picture in synthetic()[:4]:
        torch.testing.assert_close(recipe(picture), transform(picture), **TOLERANCE)
        assert recipe(picture).shape == (3, *size)


@pytest.mark.parametrize(
    "name", ["deit_tiny_patch16_224", "vit_small_patch14_dinov2", "volo_d1_224", "xcit_nano_12_p8_224"]
)
def test_equals_timm_on_photographs(name: str, photographs: list[Image.Image]) -> None:
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    transform = timm.data.create_transform(**config, is_training=False)
    for picture in photographs:
        torch.testing.assert_close(from_timm(config)(picture), transform(picture), **TOLERANCE)


@pytest.mark.parametrize("tag", ["IMAGENET1K_V1", "IMAGENET1K_SWAG_E2E_V1"])
def test_equals_torchvision(tag: str, photographs: list[Image.Image]) -> None:
    from torchvision.models import get_model_weights

    transform = get_model_weights("vit_b_16")[tag].transforms()
    recipe = as_preprocessor(transform)
    for picture in [*photographs, *synthetic()]:
        torch.testing.assert_close(recipe(picture), transform(picture), **TOLERANCE)


def hf_processors() -> dict[str, Any]:
    transformers = pytest.importorskip("transformers")
    square = {"height": 48, "width": 64}
    return {
        "ViT": transformers.ViTImageProcessor(size=square),
        "ViT lanczos, other scale": transformers.ViTImageProcessor(
            size=square, rescale_factor=1 / 127.5, image_mean=[1, 1, 1], image_std=[1, 1, 1], resample=3
        ),
        "ViT unnormalised": transformers.ViTImageProcessor(size=square, do_normalize=False),
        "DeiT": transformers.DeiTImageProcessor(
            size={"height": 72, "width": 72}, crop_size={"height": 65, "width": 64}
        ),
        "BEiT": transformers.BeitImageProcessor(size=square),
        "CLIP": transformers.CLIPImageProcessor(
            size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
        ),
        "DINOv2": transformers.BitImageProcessor(
            size={"shortest_edge": 73}, crop_size={"height": 64, "width": 64}
        ),
        "SigLIP": transformers.SiglipImageProcessor(size=square),
        "DINOv3": transformers.DINOv3ViTImageProcessor(size=square),
    }


@pytest.mark.parametrize("name", ["ViT", "ViT lanczos, other scale", "ViT unnormalised", "DeiT", "BEiT", "CLIP",
                                  "DINOv2", "SigLIP", "DINOv3"])  # fmt: skip
def test_equals_transformers(name: str, photographs: list[Image.Image]) -> None:
    processor = hf_processors()[name]
    recipe = as_preprocessor(processor)
    for picture in [*photographs, *synthetic()[:4]]:
        wanted = processor(images=picture, return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(recipe(picture), wanted, atol=1e-5, rtol=0)


def test_equals_transformers_pillow_backend(photographs: list[Image.Image]) -> None:
    transformers = pytest.importorskip("transformers")
    processor_class = getattr(transformers, "CLIPImageProcessorPil", None)
    if processor_class is None:
        pytest.skip("this transformers has no Pillow backend of its own")
    processor = processor_class(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    recipe = as_preprocessor(processor)
    assert recipe.resampler == "pillow"
    for picture in photographs:
        wanted = processor(images=picture, return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(recipe(picture), torch.as_tensor(wanted).float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [64, (48, 80)])
def test_equals_open_clip(mode: str, size: Any, photographs: list[Image.Image]) -> None:
    open_clip = pytest.importorskip("open_clip")
    config = open_clip.transform.PreprocessCfg(size=size, resize_mode=mode, fill_color=9)
    transform = open_clip.transform.image_transform_v2(config, is_train=False)
    from vitscope.models.preparing.published import from_open_clip

    for recipe in (from_open_clip(config.__dict__), as_preprocessor(transform)):
        for picture in [*photographs, *synthetic()[:4]]:
            torch.testing.assert_close(recipe(picture), transform(picture), **TOLERANCE)


def test_a_compose_of_ones_own() -> None:
    from torchvision import transforms

    steps = [transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor()]
    normalise = transforms.Normalize([0.5] * 3, [0.25] * 3)
    for transform in (transforms.Compose([*steps, normalise]), transforms.Compose(steps)):
        recipe = as_preprocessor(transform)
        for picture in synthetic()[:4]:
            torch.testing.assert_close(recipe(picture), transform(picture), **TOLERANCE)
    assert as_preprocessor(transforms.Compose([*steps, normalise]), (64, 96)).size == (64, 96)


def test_a_compose_that_cannot_be_followed() -> None:
    from torchvision import transforms

    with pytest.raises(ModelError, match="cannot be followed"):
        as_preprocessor(transforms.Compose([transforms.Resize(40), transforms.ToTensor()]))
    flip = transforms.RandomHorizontalFlip(p=1.0)
    with pytest.raises(ModelError, match="cannot be followed"):
        as_preprocessor(transforms.Compose([transforms.Resize((32, 32)), flip, transforms.ToTensor()]))
    with pytest.raises(ModelError, match="function"):
        as_preprocessor(lambda picture: picture)


def test_settings_and_presets() -> None:
    recipe = as_preprocessor({"size": [48, 64], "mean": [0.5], "std": 0.25, "interpolation": "bilinear"})
    assert (recipe.size, recipe.mean, recipe.std) == ((48, 64), (0.5,) * 3, (0.25,) * 3)
    assert as_preprocessor("imagenet", (96, 96)).size == (96, 96)
    assert as_preprocessor(recipe) is recipe
    assert Preprocessor(**recipe.as_dict()) == recipe
    for value, says in (
        ("imagnet", "imagenet"), ({"size": 3}, "mean, std"), ({"size": 8, "mean": 0.5, "std": 1, "meen": 1}, "mean"),
        ({"size": "x", "mean": 0.5, "std": 1}, "image size"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match=says):
            as_preprocessor(value)


@pytest.mark.parametrize(
    "fields",
    [{"size": (0, 3)}, {"std": (0, 1, 1)}, {"interpolation": "cubic"}, {"resize": "long"}, {"mean": (0.5,)}],
)
def test_nonsense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        Preprocessor(**{"size": (8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3, **fields})


def test_display_is_the_input_without_normalisation() -> None:
    mean, std = (0.48, 0.45, 0.40), (0.22, 0.23, 0.24)
    for rule, resampler in itertools.product(("short", "squash", "contain"), ("pillow", "torch")):
        recipe = Preprocessor(
            size=(32, 40),
            mean=mean,
            std=std,
            resize=rule,
            resize_to=(44, 44),
            fill=(9, 8, 7),
            resampler=resampler,
        )
        for picture in synthetic()[:4]:
            shown = np.asarray(recipe.display(picture))
            assert shown.shape == (32, 40, 3)
            values = (
                torch.from_numpy(shown.copy()).permute(2, 0, 1) / 255 - recipe.mean_std()[0]
            ) / recipe.mean_std()[1]
            torch.testing.assert_close(values, recipe(picture), atol=1e-5, rtol=0)
            again = recipe.denormalise(recipe(picture)[None])
            torch.testing.assert_close(
                again[0] * 255, torch.from_numpy(shown.copy()).permute(2, 0, 1).float(), atol=1e-3, rtol=0
            )


def test_other_sizes_crop_the_same_share() -> None:
    recipe = Preprocessor(size=(224, 224), mean=(0.5,) * 3, std=(0.5,) * 3, resize_to=(256, 256))
    assert recipe.with_size((448, 448)).resize_to == (512, 512)
    wide = recipe.with_size((224, 448))
    assert (wide.resize, wide.resize_to) == ("cover", (256, 512))
    assert wide(synthetic()[0]).shape == (3, 224, 448)


@pytest.mark.parametrize("rule", ["short", "cover"])
def test_long_thin_pictures_are_not_inflated(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Bilinear, because Pillow may swap its two passes and only bicubic overshoots are clipped in between.
    recipe = Preprocessor(
        size=(64, 48),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        resize=rule,
        resize_to=(70, 56),
        interpolation="bilinear",
    )
    pictures = [*synthetic(), Image.effect_noise((900, 7), 80).convert("RGB")]
    whole = [recipe(picture) for picture in pictures]
    monkeypatch.setattr("vitscope.models.preparing.preprocessor.MAX_RESIZED_PIXELS", 0)
    for picture, wanted in zip(pictures, whole, strict=True):
        # Both round to 8 bits, so one step of 1/255 (times 2 by the deviation) may lie between them.
        torch.testing.assert_close(recipe(picture), wanted, atol=2.1 / 255, rtol=0)
    monkeypatch.undo()
    assert recipe(Image.new("RGB", (1_000_000, 1), (255, 0, 0)))[0].min() == 1


def test_every_mode_is_taken() -> None:
    recipe = Preprocessor(size=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3)
    for mode in ("1", "L", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "LA", "I;16"):
        assert recipe(Image.new(mode, (20, 10))).shape == (3, 8, 8)
