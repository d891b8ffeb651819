"""``torchvision/NAME`` or ``torchvision/NAME.TAG`` (one of its weights entries, such as imagenet1k_swag_e2e_v1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from vitscope.errors import ModelError, nearest
from vitscope.models.opening.loaded import LoadedModel
from vitscope.models.opening.weight_files import StateDict
from vitscope.models.opening.weights import load_with_head
from vitscope.models.preparing.published import from_torchvision
from vitscope.models.quick_imports import without_compiler
from vitscope.models.sources.registry import Request, not_built, not_fetched, register_source, unknown_name


def _names() -> Iterable[str]:
    with without_compiler():
        from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


@register_source("torchvision", "torchvision", _names)
def load(request: Request) -> LoadedModel:
    """Build a torchvision classifier; its weights entry tells the preparation of pictures and the class names.

    ``image_size`` must be square there; ViT position embeddings are resampled by torchvision's own function.
    """
    with without_compiler():
        from torchvision import models

    name, _, tag = request.name.partition(".")
    if name not in _names():
        raise unknown_name("torchvision", name, _names())
    entry = _entry(models, name, tag or (request.pretrained if isinstance(request.pretrained, str) else ""))
    preprocessor = from_torchvision(entry.transforms())
    options = dict(request.options)
    if request.image_size is not None:
        if request.image_size[0] != request.image_size[1]:
            raise ModelError(
                f"torchvision models take square pictures only, got image_size {request.image_size[0]}×"
                f"{request.image_size[1]}; use one number, or the timm model of the same name"
            )
        preprocessor = preprocessor.with_size(request.image_size)
    if name.startswith("vit_"):
        options.setdefault("image_size", preprocessor.size[0])
    weights = _fetch(entry, request) if request.wants_hub else request.weights

    def build(classes: int | None) -> nn.Module:
        asked = options if classes is None else {**options, "num_classes": classes}
        try:
            made: nn.Module = models.get_model(name, weights=None, **asked)
        except Exception as error:
            raise not_built("torchvision", request.name, error) from error
        return made

    read: int | None = None
    if weights is None:
        module = build(None)
    else:
        module, read = load_with_head(
            build,
            weights,
            model=f"torchvision/{name}",
            adapt=lambda module: _resampled,
            classes=options.get("num_classes"),
        )
    named = request.weights_label != "random" and "num_classes" not in options and read is None
    return LoadedModel(
        module=module,
        source=f"torchvision/{request.name}",
        family=name.split("_")[0],
        preprocessor=preprocessor,
        class_names=list(entry.meta["categories"]) if named else None,
        image_size=preprocessor.size,
        output="logits",
        weights=request.weights_label,
    )


def _entry(models: Any, name: str, tag: str) -> Any:
    entries = models.get_model_weights(name)
    if not tag:
        return entries.DEFAULT
    by_tag = {entry.name.lower(): entry for entry in entries}
    if tag.lower() not in by_tag:
        close = ", ".join(f"{name}.{other}" for other in nearest(tag, by_tag))
        raise ModelError(f"torchvision has no weights {tag!r} for {name}; did you mean {close}?")
    return by_tag[tag.lower()]


def _fetch(entry: Any, request: Request) -> StateDict:
    try:
        state: StateDict = entry.get_state_dict(progress=False, check_hash=True)
        return state
    except Exception as error:
        raise not_fetched("torchvision", request.name, error) from error


def _resampled(state: StateDict, module: Any) -> StateDict:
    with without_compiler():
        from torchvision.models.vision_transformer import interpolate_embeddings

    resampled: StateDict = interpolate_embeddings(module.image_size, module.patch_size, state)
    return resampled
