"""Preprocessors out of what libraries publish about their own: timm, transformers, torchvision, open_clip, a dict."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from packaging.version import Version
from PIL import Image
from torch import Tensor

from vitscope.errors import ModelError, nearest
from vitscope.models.preparing.preprocessor import Preprocessor, ResizeRule
from vitscope.options.door import checked

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PRESETS = {"imagenet": IMAGENET, "clip": CLIP, "half": HALF}
"""Means and deviations that nearly all published ViTs use, by name: ``preprocess="imagenet"``."""

HEEDS_FILTER = Version("1.0.31")
"""Before it, timm resized by the bilinear filter, whatever was asked for, where the input is no square."""
_KEYS = ("size", "mean", "std", "interpolation", "crop_pct", "crop_mode", "fill")


@checked(ModelError)
def as_preprocessor(value: Any, size: tuple[int, int] | None = None) -> Preprocessor:
    """Whatever a user may hand over as ``preprocess=``, as a ``Preprocessor``.

    Args:
        value: A ``Preprocessor``; the name of a preset (``imagenet``, ``clip``, ``half``); a mapping with size, mean,
            std and optionally interpolation, crop_pct, crop_mode; a transformers image processor; torchvision's
            ``ImageClassification`` preset or a ``Compose`` of a resize, a centre crop, a conversion and a normalisation
            (as timm and open_clip make them).
        size: (H, W), wins over the size found there.

    Returns:
        The preprocessor.

    Raises:
        ModelError: It is none of these, or something in it is not understood.

    Example:
        >>> as_preprocessor({"size": (224, 224), "mean": [0.5] * 3, "std": [0.5] * 3}).size
        (224, 224)
        >>> as_preprocessor("imagenet", (384, 384)).size
        (384, 384)
    """
    if isinstance(value, Preprocessor):
        recipe = value
    elif isinstance(value, str):
        recipe = _from_preset(value, size or (224, 224))
    elif isinstance(value, Mapping):
        recipe = from_mapping(value)
    elif hasattr(value, "image_processor"):
        recipe = from_image_processor(value.image_processor)
    elif hasattr(value, "image_mean") and callable(value):
        recipe = from_image_processor(value)
    elif hasattr(value, "crop_size") and hasattr(value, "resize_size"):
        recipe = from_torchvision(value)
    elif isinstance(getattr(value, "transforms", None), Sequence):
        recipe = from_compose(value)
    else:
        raise ModelError(
            f"expected preprocess= as a Preprocessor, a mapping (size, mean, std), a library's transform or one of "
            f"{', '.join(PRESETS)}; got {type(value).__name__}; apply other functions yourself and pass ready tensors"
        )
    return recipe if size is None or recipe.size == size else recipe.with_size(size)


def from_mapping(settings: Mapping[str, Any]) -> Preprocessor:
    """From plain settings, as in a bundled model's card: size, mean, std; the rest by the names of timm."""
    unknown = [key for key in settings if key not in _KEYS]
    if unknown:
        close = ", ".join(nearest(str(unknown[0]), _KEYS))
        raise ModelError(f"unknown preprocessing setting {unknown[0]!r}; did you mean {close}?")
    lacking = [key for key in ("size", "mean", "std") if key not in settings]
    if lacking:
        raise ModelError(
            f"preprocessing settings need {', '.join(lacking)}; got {', '.join(map(str, settings))}"
        )
    return _from_settings({"crop_pct": 1.0, **settings, "input_size": (3, *pair(settings["size"]))})


def from_timm(config: Mapping[str, Any], size: tuple[int, int] | None = None) -> Preprocessor:
    """From timm's data configuration (``timm.data.resolve_model_data_config``), for its own or another size (H, W)."""
    recipe = _from_settings(config, size)
    if recipe.resize == "cover" and Version(version("timm")) < HEEDS_FILTER:
        return replace(recipe, interpolation="bilinear")
    return recipe


def _from_settings(config: Mapping[str, Any], size: tuple[int, int] | None = None) -> Preprocessor:
    height, width = size or tuple(config["input_size"][-2:])
    share = float(config.get("crop_pct") or 0.875)
    target = (math.floor(height / share), math.floor(width / share))
    mode = config.get("crop_mode") or "center"
    mean = _three(config["mean"])
    rules: dict[str, ResizeRule] = {"squash": "squash", "border": "contain"}
    rule = rules.get(mode, "short" if target[0] == target[1] else "cover")
    fill = (
        tuple(round(255 * value) for value in mean)
        if mode == "border"
        else tuple(config.get("fill", (0, 0, 0)))
    )
    return Preprocessor(
        size=(height, width),
        mean=mean,
        std=_three(config["std"]),
        resize=rule,
        resize_to=target,
        interpolation=str(config.get("interpolation") or "bicubic"),
        fill=(int(fill[0]), int(fill[1]), int(fill[2])),
    )


def from_torchvision(preset: Any) -> Preprocessor:
    """From torchvision's ``ImageClassification`` preset, the ``transforms()`` of a weights entry."""
    side = preset.resize_size[0]
    return Preprocessor(
        size=pair(preset.crop_size),
        mean=_three(preset.mean),
        std=_three(preset.std),
        resize_to=(side, side),
        interpolation=preset.interpolation.value,
    )


def from_open_clip(config: Mapping[str, Any]) -> Preprocessor:
    """From open_clip's preprocessing record (``model.visual.preprocess_cfg``)."""
    size = pair(config["size"])
    mode = config.get("resize_mode") or "shortest"
    rules: dict[str, ResizeRule] = {"squash": "squash", "longest": "contain"}
    fill = int(config.get("fill_color") or 0)
    return Preprocessor(
        size=size,
        mean=_three(config["mean"]),
        std=_three(config["std"]),
        resize=rules.get(mode, "short" if size[0] == size[1] else "cover"),
        # open_clip knows these two; anything else means bicubic there.
        interpolation="bilinear" if config.get("interpolation") == "bilinear" else "bicubic",
        fill=(fill, fill, fill),
    )


def from_image_processor(processor: Any) -> Preprocessor:
    """From a transformers image processor. What it really does is tried on small pictures, not taken on trust."""
    settings = {
        name: getattr(processor, name, None)
        for name in ("do_resize", "size", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
                     "do_normalize", "image_mean", "image_std", "resample")
    }  # fmt: skip
    try:
        recipe = _read_processor(settings)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike(processor, f"its settings are of another kind: {error!r}") from error

    def run(picture: Image.Image) -> Tensor:
        return torch.as_tensor(np.asarray(processor(images=picture, return_tensors="pt")["pixel_values"])[0])

    return _verified(recipe, processor, run)


def from_compose(transform: Any) -> Preprocessor:
    """From a torchvision ``Compose`` of known steps; checked on small pictures."""
    fields: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "resize": "none"}
    for step in transform.transforms:
        name = type(step).__name__ if not callable(getattr(step, "__code__", None)) else step.__name__
        if name in ("Resize", "ResizeKeepRatio"):
            size = pair(step.size)
            single = isinstance(step.size, int) or len(step.size) == 1
            keeps = "contain" if getattr(step, "longest", 0) == 1 else "cover"
            fields["resize"] = keeps if name == "ResizeKeepRatio" else ("short" if single else "squash")
            fields["resize_to"] = size
            fields["interpolation"] = getattr(step.interpolation, "value", str(step.interpolation))
        elif name in ("CenterCrop", "CenterCropOrPad"):
            fields["size"] = pair(step.size)
            fill = getattr(step, "fill", 0)
            fields["fill"] = tuple(fill) if isinstance(fill, Sequence) else (int(fill),) * 3
        elif name == "Normalize":
            fields["mean"], fields["std"] = _three(step.mean), _three(step.std)
    if "size" not in fields:
        if fields["resize"] != "squash":
            raise _unlike(transform, "it has no centre crop, so its output has no fixed size")
        fields["size"] = fields["resize_to"]
    return _verified(Preprocessor(**fields), transform, transform)


def pair(size: Any) -> tuple[int, int]:
    """One number, or two as (height, width), to (height, width). Raises ``ModelError``."""
    values = (
        [size, size]
        if isinstance(size, (int, np.integer))
        else list(size)
        if isinstance(size, Iterable)
        else []
    )
    values = values * 2 if len(values) == 1 else values
    if len(values) != 2 or not all(isinstance(value, (int, np.integer)) and value > 0 for value in values):
        raise ModelError(f"expected an image size as one whole number or (height, width); got {size!r}")
    return int(values[0]), int(values[1])


def _from_preset(name: str, size: tuple[int, int]) -> Preprocessor:
    if name not in PRESETS:
        raise ModelError(f"unknown preprocessing {name!r}; use one of {', '.join(PRESETS)}, or a mapping")
    mean, std = PRESETS[name]
    return _from_settings({"input_size": (3, *size), "mean": mean, "std": std, "crop_pct": 0.9})


def _read_processor(settings: Mapping[str, Any]) -> Preprocessor:
    factor = float(settings["rescale_factor"] or 1 / 255) if settings["do_rescale"] is not False else 1.0
    mean, std = _three(0.0), _three(1.0)
    if settings["do_normalize"] is not False:
        mean, std = _three(settings["image_mean"]), _three(settings["image_std"])
    # Ours divides by 255 always; another factor moves into mean and deviation.
    unit = factor * 255
    size, crop = _plain(settings["size"]), _plain(settings["crop_size"])
    fields: dict[str, Any] = {"resize": "none"}
    if settings["do_resize"] is not False:
        if size.get("height") and size.get("width"):
            fields = {"resize": "squash", "resize_to": (int(size["height"]), int(size["width"]))}
        else:
            fields = {"resize": "short", "resize_to": (int(size["shortest_edge"]),) * 2}
    if settings["do_center_crop"]:
        fields["size"] = (int(crop["height"]), int(crop["width"]))
    elif fields["resize"] == "squash":
        fields["size"] = fields["resize_to"]
    else:
        raise ValueError("no fixed output size")
    resample = settings["resample"]
    return Preprocessor(
        mean=tuple(value / unit for value in mean),
        std=tuple(value / unit for value in std),
        interpolation=Image.Resampling(int(getattr(resample, "value", resample))).name.lower(),
        crop="floor",
        **fields,
    )


def _plain(size: Any) -> dict[str, int]:
    if size is None:
        return {}
    if isinstance(size, int):
        return {"height": size, "width": size}
    return {key: value for key, value in dict(size).items() if value is not None}


def _verified(recipe: Preprocessor, original: Any, run: Callable[[Image.Image], Any]) -> Preprocessor:
    """The variant of ``recipe`` that equals ``run`` on small pictures of awkward sizes; refuses when none does."""
    pictures = _trial_pictures(recipe)
    try:
        with torch.no_grad():
            wanted = [torch.as_tensor(run(picture)).float() for picture in pictures]
    except Exception as error:
        raise _unlike(
            original, f"it fails on a plain RGB picture: {type(error).__name__}: {error}"
        ) from error
    crops = (recipe.crop, "floor" if recipe.crop == "round" else "round")
    for resampler, crop in itertools.product(("pillow", "torch", "torch-float"), crops):
        values = {**recipe.__dict__, "resampler": resampler, "crop": crop}
        candidate = Preprocessor(**values)
        if all(_same(candidate, picture, image) for picture, image in zip(pictures, wanted, strict=True)):
            return candidate
    raise _unlike(original, "resize, centre crop and normalisation do not give its result")


def _trial_pictures(recipe: Preprocessor) -> list[Image.Image]:
    """Noise of awkward sizes; where there is a crop, one has a margin that the crop rules halve differently."""
    shapes = [(61, 97), (331, 257), (300, 401), (240, 333)]
    for width in range(121, 401):
        margin = recipe.resized((120, width))[1] - recipe.size[1]
        if margin > 0 and margin % 4 == 3:
            shapes.append((120, width))
            break
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]


def _same(candidate: Preprocessor, picture: Image.Image, wanted: Tensor) -> bool:
    got = candidate(picture)
    return got.shape == wanted.shape and bool(torch.allclose(got, wanted, atol=1e-4, rtol=0))


def _three(values: Any) -> tuple[float, ...]:
    if isinstance(values, Tensor):
        values = values.flatten().tolist()
    numbers = [float(values)] if isinstance(values, (int, float)) else [float(value) for value in values]
    return tuple(numbers * 3 if len(numbers) == 1 else numbers)


def _unlike(original: Any, cause: str) -> ModelError:
    return ModelError(
        f"the picture preparation of {type(original).__name__} cannot be followed ({cause}); "
        "give preprocess= a mapping (size, mean, std), or apply it yourself and pass ready tensors"
    )
