"""Models that the user made or opened: unwrapped, never changed, and asked what they know of themselves."""

from __future__ import annotations

import torch
from torch import nn

from vitscope.errors import ModelError
from vitscope.models.opening.loaded import LoadedModel, OutputKind
from vitscope.models.opening.self_knowledge import ask, knowing_parts


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
    """Raise ``ModelError`` for scripted modules, whose inner calls Python never makes, and for weights without values.

    Parts compiled by torch.compile may stay: they run eagerly while they are looked at.
    """
    for name, part in module.named_modules():
        where = f"its part {name!r}" if name else "the model"
        if isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"{where} is a TorchScript module, whose attention cannot be seen; "
                "pass the Python model it was made from"
            )
    empty = next((name for name, weight in module.named_parameters() if weight.is_meta), None)
    if empty is not None:
        raise ModelError(
            f"the weights have no values yet (meta device), such as {empty!r}; load them first, with "
            "model.to_empty(device='cpu') and load_state_dict"
        )


def from_module(module: object, image_size: tuple[int, int] | None = None) -> LoadedModel:
    """Any ``nn.Module``. Class names and preparation come from timm's or transformers' records when it carries them,
    also inside wrappers (see ``self_knowledge.ask``).

    The module is neither moved nor switched to evaluation nor changed in any other way.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"expected a model's name such as 'timm/deit_tiny_patch16_224' or a torch nn.Module; got "
            f"{type(module).__name__}"
        )
    plain = unwrapped(module)
    refuse_unseeable(plain)
    parts = list(knowing_parts(plain).values())
    inner = parts[0] if len(parts) == 1 else plain
    size = image_size or size_of(plain) or size_of(inner)
    known = ask(plain, size)
    return LoadedModel(
        module=plain,
        source=f"{type(plain).__module__}.{type(plain).__qualname__}",
        family=family_of(inner),
        preprocessor=known.preprocessor,
        class_names=known.class_names,
        image_size=size or (known.preprocessor.size if known.preprocessor else None),
        output=output_of(plain),
        notes=known.notes,
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
