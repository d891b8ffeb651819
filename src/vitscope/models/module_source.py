"""Models that the user made or opened: unwrapped, never changed, and asked what they know of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitscope.errors import ModelError
from vitscope.models.loaded import LoadedModel, OutputKind
from vitscope.models.preprocess import Preprocessor
from vitscope.models.recipes import from_timm


def unwrapped(module: nn.Module) -> nn.Module:
    """The plain model inside torch.compile's, DataParallel's and DistributedDataParallel's wrappers."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and type(module).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = getattr(module, "module", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def refuse_unseeable(module: nn.Module) -> None:
    """Raise ``ModelError`` for scripted modules, whose inner calls Python never makes.

    Parts compiled by torch.compile may stay: they run eagerly while they are looked at.
    """
    for name, part in module.named_modules():
        where = f"its part {name!r}" if name else "the model"
        if isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"{where} is a TorchScript module, whose attention cannot be seen; "
                "pass the Python model it was made from"
            )


def from_module(module: object, image_size: tuple[int, int] | None = None) -> LoadedModel:
    """Any ``nn.Module``. Preprocessing is taken from timm's or transformers' records when it carries them.

    The module is neither moved nor switched to evaluation nor changed in any other way.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"expected a model's name such as 'timm/deit_tiny_patch16_224' or a torch nn.Module; got "
            f"{type(module).__name__}"
        )
    plain = unwrapped(module)
    refuse_unseeable(plain)
    size = image_size or size_of(plain)
    notes: list[str] = []
    preprocessor = _preprocessor_of(plain, size, notes)
    return LoadedModel(
        module=plain,
        source=f"{type(plain).__module__}.{type(plain).__qualname__}",
        family=family_of(plain),
        preprocessor=preprocessor,
        class_names=_names_of(plain),
        image_size=size or (preprocessor.size if preprocessor else None),
        output=output_of(plain),
        notes=notes,
    )


def size_of(module: nn.Module) -> tuple[int, int] | None:
    """The input size (H, W) that a model states about itself, None when it states none."""
    for holder in (getattr(module, "patch_embed", None), module, getattr(module, "config", None)):
        for name in ("img_size", "image_size", "input_size"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and value > 0:
                return value, value
            if (
                isinstance(value, (tuple, list))
                and len(value) in (2, 3)
                and all(isinstance(v, int) for v in value)
            ):
                return int(value[-2]), int(value[-1])
    pretrained = getattr(module, "pretrained_cfg", None)
    if isinstance(pretrained, dict) and pretrained.get("input_size"):
        return int(pretrained["input_size"][-2]), int(pretrained["input_size"][-1])
    return None


def family_of(module: nn.Module) -> str:
    """The architecture's short name: timm's leading word, transformers' model type, or the class name."""
    pretrained = getattr(module, "pretrained_cfg", None)
    if isinstance(pretrained, dict) and pretrained.get("architecture"):
        return str(pretrained["architecture"]).split("_")[0]
    kind = getattr(getattr(module, "config", None), "model_type", None)
    return str(kind) if kind else type(module).__name__


def output_of(module: nn.Module) -> OutputKind:
    """Whether a model's output are class logits, as far as it says itself."""
    if type(module).__name__.endswith(("ForImageClassification", "ForImageClassificationWithTeacher")):
        return "logits"
    if type(module).__module__.startswith("transformers.") and hasattr(module, "config"):
        return "logits" if "Classification" in type(module).__name__ else "embedding"
    classes = getattr(module, "num_classes", None)
    if isinstance(classes, int):
        return "logits" if classes > 0 else "embedding"
    return "unknown"


def _preprocessor_of(
    module: nn.Module, size: tuple[int, int] | None, notes: list[str]
) -> Preprocessor | None:
    pretrained = getattr(module, "pretrained_cfg", None)
    if isinstance(pretrained, dict) and pretrained.get("mean") and pretrained.get("input_size"):
        return from_timm(pretrained, size)
    folder = Path(str(getattr(getattr(module, "config", None), "_name_or_path", "") or ""))
    if (folder / "preprocessor_config.json").is_file():
        from vitscope.models.hf_source import read_processor

        return read_processor(str(folder), size, notes)
    return None


def _names_of(module: nn.Module) -> list[str] | None:
    from vitscope.models.class_names import from_id2label

    labels: Any = getattr(getattr(module, "config", None), "id2label", None)
    return from_id2label(labels) if isinstance(labels, dict) and output_of(module) == "logits" else None
