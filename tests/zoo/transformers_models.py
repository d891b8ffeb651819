"""Hugging Face models, small, each with fused (sdpa) and eager attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tests.zoo.entry import Entry
from tests.zoo.timm_models import REGISTERS

SMALL: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 96,
    "image_size": 64,
    "patch_size": 16,
}
TEXT: dict[str, Any] = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96, "vocab_size": 50,
    "max_position_embeddings": 20,
}  # fmt: skip


def _build(model: str, config: str, attention: str, **options: Any) -> nn.Module:
    import transformers  # seconds long, and many tests need none of these models

    made = getattr(transformers, f"{config}Config")(**options)
    built: nn.Module = getattr(transformers, model)._from_config(made, attn_implementation=attention)
    return built


def _classifier(name: str, **options: Any) -> Callable[[str], nn.Module]:
    return lambda attention: _build(
        f"{name}ForImageClassification", name, attention, **SMALL, num_labels=10, **options
    )


def _towers(name: str) -> Callable[[str], nn.Module]:
    text = {**TEXT, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    return lambda attention: _build(
        f"{name}ForImageClassification", name, attention, vision_config=SMALL, text_config=text, num_labels=10
    )


def _full_clip(attention: str) -> nn.Module:
    from vitscope.models.sources.hf import PictureTower

    text = {**TEXT, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    return PictureTower(_build("CLIPModel", "CLIP", attention, vision_config=SMALL, text_config=text))


def _bert(attention: str) -> nn.Module:
    return _build("BertForSequenceClassification", "Bert", attention, **TEXT, num_labels=10)


_FAMILIES: dict[str, tuple[Callable[[str], nn.Module], dict[str, Any]]] = {
    "hf-vit": (_classifier("ViT"), {}),
    # the classifier without a teacher reads the class token only
    "hf-deit": (_classifier("DeiT"), {"prefix": ("class", "distillation")}),
    "hf-deit-teacher": (
        lambda a: _build("DeiTForImageClassificationWithTeacher", "DeiT", a, **SMALL, num_labels=10),
        {"prefix": ("class", "distillation"), "pooling": "class+distillation"},
    ),
    "hf-beit": (
        _classifier("Beit", use_relative_position_bias=True, layer_scale_init_value=0.1), {"pooling": "mean"}
    ),
    "hf-dinov2": (_classifier("Dinov2"), {"pooling": "class+mean"}),
    "hf-dinov2-registers": (
        _classifier("Dinov2WithRegisters"), {"prefix": ("class", *REGISTERS), "pooling": "class+mean"}
    ),
    "hf-dinov3": (
        lambda a: _build("DINOv3ViTModel", "DINOv3ViT", a, **SMALL, num_register_tokens=4),
        {"prefix": ("class", *REGISTERS), "classes": None, "other_size": (96, 32), "other_grid": (6, 2)},
    ),
    "hf-clip": (_towers("CLIP"), {"pooling": "mean"}),
    "hf-clip-full": (_full_clip, {"classes": None}),
    "hf-siglip": (_towers("Siglip"), {"prefix": (), "pooling": "mean"}),
    "hf-siglip-vision": (
        lambda a: _build("SiglipVisionModel", "SiglipVision", a, **SMALL),
        {"prefix": (), "pooling": "attention", "classes": None},
    ),
    "hf-bert": (_bert, {"grid": (1, 6), "prefix": ("class",), "pooling": "class", "post_norm": True, "text": True}),
}  # fmt: skip

TRANSFORMERS: dict[str, Entry] = {
    f"{name}-{attention}": Entry(
        lambda make=make, attention=attention: make(attention), **{**facts, "fused": attention == "sdpa"}
    )
    for name, (make, facts) in _FAMILIES.items()
    for attention in ("sdpa", "eager")
}
