"""What a model states about its architecture: input size, family, kind of output."""

from __future__ import annotations

from torch import nn

from vitscope.models.opening.loaded import OutputKind


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
