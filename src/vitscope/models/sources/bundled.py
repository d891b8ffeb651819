"""``bundled/WORLD``: the small trained ViTs that ship with the package."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from importlib.abc import Traversable
from typing import Any

from vitscope.errors import ModelError
from vitscope.models.opening.loaded import LoadedModel
from vitscope.models.opening.weight_files import read_weights
from vitscope.models.opening.weights import load_weights
from vitscope.models.preparing.published import from_mapping
from vitscope.models.quick_imports import without_compiler
from vitscope.models.sources.registry import Request, register_source, unknown_name


def _assets() -> Traversable:
    return resources.files("vitscope").joinpath("assets")


def _names() -> Iterable[str]:
    names = {entry.name for entry in _assets().iterdir()}
    return sorted(
        name.removesuffix(".json") for name in names if name.removesuffix(".json") + ".safetensors" in names
    )


@register_source("bundled", "trained models in the package", _names)
def load(request: Request) -> LoadedModel:
    """A timm ``VisionTransformer`` as its card describes, float16 weights widened to float32."""
    with without_compiler():
        from timm.models.vision_transformer import VisionTransformer

    if request.name not in _names():
        raise unknown_name("bundled", request.name, _names())
    if request.options:
        raise ModelError(f"bundled models take no options, got {', '.join(request.options)}; leave them out")
    card: dict[str, Any] = json.loads(_assets().joinpath(f"{request.name}.json").read_text(encoding="utf-8"))
    preprocessor = from_mapping(card["preprocess"])
    if request.image_size not in (None, preprocessor.size):
        raise ModelError(
            f"bundled/{request.name} sees {preprocessor.size[0]}×{preprocessor.size[1]} pictures only; "
            "leave image_size out"
        )
    module = VisionTransformer(**card["architecture"])
    if request.weights is not None:
        load_weights(module, request.weights, model=f"bundled/{request.name}")
    elif request.pretrained is not False:
        with resources.as_file(_assets().joinpath(f"{request.name}.safetensors")) as file:
            load_weights(module, read_weights(file), model=f"bundled/{request.name}")
    return LoadedModel(
        module=module,
        source=f"bundled/{request.name}",
        family="vit",
        preprocessor=preprocessor,
        class_names=[str(name) for name in card["classes"]],
        extras={"card": card},
        image_size=preprocessor.size,
        output="logits",
        weights=request.weights_label,
    )
