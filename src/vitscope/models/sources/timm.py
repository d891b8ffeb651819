"""``timm/NAME``: PyTorch Image Models, the largest zoo of ViTs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from vitscope.errors import ModelError
from vitscope.models.opening import class_names
from vitscope.models.opening.architecture import family_of, size_of
from vitscope.models.opening.loaded import LoadedModel
from vitscope.models.opening.weights import Adapt, load_with_head
from vitscope.models.preparing.published import from_timm
from vitscope.models.quick_imports import without_compiler
from vitscope.models.sources.registry import Request, not_built, not_fetched, register_source, unknown_name


def known_names() -> Iterable[str]:
    with without_compiler():
        import timm

    return [*timm.list_models(), *timm.list_models(pretrained=True)]


@register_source("timm", "PyTorch Image Models", known_names)
def load(request: Request) -> LoadedModel:
    """Build a timm model; published weights are fetched only when no others are given.

    ``image_size`` becomes the model's ``img_size`` (position embeddings are resampled by timm's own conversion), or
    only changes the preparation of pictures for models that take any size. Other options go to ``timm.create_model``.
    """
    with without_compiler():
        import timm
        from timm.data.config import resolve_model_data_config

    if not request.name.startswith(("hf-hub:", "hf_hub:", "local-dir:")) and not timm.is_model(request.name):
        raise unknown_name("timm", request.name, known_names())
    notes: list[str] = []
    options = dict(request.options)
    if request.image_size is not None:
        height, width = request.image_size
        options.setdefault("img_size", height if height == width else (height, width))

    def build(classes: int | None) -> nn.Module:
        asked = options if classes is None else {**options, "num_classes": classes}
        try:
            made: nn.Module = _create(timm.create_model, request, asked)
        except TypeError as error:
            if request.image_size is None or "img_size" not in str(error):
                raise not_built("timm", request.name, error) from error
            options.pop("img_size")
            notes.append(
                "this architecture has no fixed input size; image_size only changes how pictures are prepared"
            )
            return build(classes)
        _refuse_odd_size(made, request)
        return made

    read: int | None = None
    if request.weights is None:
        module = build(None)
    else:
        module, read = load_with_head(
            build,
            request.weights,
            model=f"timm/{request.name}",
            adapt=_conversion,
            classes=options.get("num_classes"),
        )
    size = request.image_size or size_of(module)
    config = resolve_model_data_config(module)
    ours = request.weights_label != "random" and "num_classes" not in request.options and read is None
    return LoadedModel(
        module=module,
        source=f"timm/{request.name}",
        family=family_of(module),
        preprocessor=from_timm(config, size),
        class_names=class_names.from_timm(module) if ours and module.num_classes else None,
        image_size=size,
        output="logits" if module.num_classes else "embedding",
        weights=request.weights_label,
        notes=notes,
    )


def _create(create: Callable[..., nn.Module], request: Request, options: dict[str, Any]) -> Any:
    try:
        return create(request.name, pretrained=request.wants_hub, **options)
    except TypeError as error:
        if "img_size" in str(error):
            raise
        raise not_built("timm", request.name, error) from error
    except Exception as error:
        if request.wants_hub:
            raise not_fetched("timm", request.name, error) from error
        raise not_built("timm", request.name, error) from error


def _refuse_odd_size(module: Any, request: Request) -> None:
    """A size that is no multiple of the patch size would fail in the middle of the first pass."""
    patches = getattr(module, "patch_embed", None)
    patch = getattr(patches, "patch_size", None)
    if request.image_size is None or patch is None or getattr(patches, "dynamic_img_pad", False):
        return
    sides = (patch, patch) if isinstance(patch, int) else tuple(patch)
    if any(side % step for side, step in zip(request.image_size, sides, strict=True)):
        below = tuple(
            max(step, side // step * step) for side, step in zip(request.image_size, sides, strict=True)
        )
        above = tuple(-(-side // step) * step for side, step in zip(request.image_size, sides, strict=True))
        raise ModelError(
            f"image_size {request.image_size[0]}×{request.image_size[1]} is no multiple of the patch size "
            f"{sides[0]}×{sides[1]} of timm/{request.name}; use {below[0]}×{below[1]} or {above[0]}×{above[1]}"
        )


def _conversion(module: nn.Module) -> Adapt | None:
    """timm's own conversion of checkpoints for this architecture (resampled position embeddings, old names)."""
    home = sys.modules.get(type(module).__module__)
    convert: Adapt | None = getattr(home, "checkpoint_filter_fn", None)
    return convert
