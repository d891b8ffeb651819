"""Metadata that a model carries: class names and preparation, also inside adapters and training modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from vitscope.errors import ModelError
from vitscope.models.opening.architecture import output_of
from vitscope.models.opening.class_names import as_class_names, from_id2label
from vitscope.models.opening.image_processor import read_processor
from vitscope.models.preparing.preprocessor import Preprocessor
from vitscope.models.preparing.published import from_timm

_NAME_ATTRIBUTES = ("class_names", "label_names", "id2label", "idx_to_class")


@dataclass
class OwnMetadata:
    """Class names and preparation of pictures that a model carries, and remarks about where they were found."""

    preprocessor: Preprocessor | None = None
    class_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def knowing_parts(module: nn.Module) -> dict[str, nn.Module]:
    """The outermost parts, by path, with a record by timm or transformers; the whole model (``""``) if it has one."""
    if _has_record(module):
        return {"": module}
    found: dict[str, nn.Module] = {}
    for path, part in module.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in found)
        if path and not inside and _has_record(part):
            found[path] = part
    return found


def ask(module: nn.Module, size: tuple[int, int] | None) -> OwnMetadata:
    """Ask a model, and what lies in its wrappers, for class names and preparation.

    What comes from a part is noted with the part's path. Where two disagree nothing is taken, and that is noted."""
    known = OwnMetadata()
    parts = knowing_parts(module) or {"": module}
    recipes = {
        path: recipe for path, part in parts.items() if (recipe := _recipe_of(part, size, known.notes))
    }
    known.preprocessor = _agreed(recipes, "preparation of pictures", "preprocess=", known.notes)
    known.class_names = _agreed(
        _names(module, parts, known.notes), "class names", "class_names=", known.notes
    )
    return known


def _agreed(found: Mapping[str, Any], what: str, option: str, notes: list[str]) -> Any:
    if not found:
        return None
    (place, first), *others = found.items()
    other = next((path for path, value in others if value != first), None)
    if other is not None:
        notes.append(f"'{place}' and '{other}' disagree about the {what}, so neither is taken; give {option}")
        return None
    if place:
        notes.append(f"{what} taken from '{place}'")
    return first


def _has_record(module: nn.Module) -> bool:
    if isinstance(vars(module).get("pretrained_cfg"), dict):
        return True
    ours = (kind for kind in type(module).__mro__ if kind.__module__.startswith("transformers."))
    made_by_transformers = any(kind.__name__ == "PreTrainedModel" for kind in ours)
    return made_by_transformers and hasattr(vars(module).get("config"), "model_type")


def _recipe_of(module: nn.Module, size: tuple[int, int] | None, notes: list[str]) -> Preprocessor | None:
    pretrained = getattr(module, "pretrained_cfg", None)
    if isinstance(pretrained, dict) and pretrained.get("mean") and pretrained.get("input_size"):
        return from_timm(pretrained, size)
    folder = Path(str(getattr(getattr(module, "config", None), "_name_or_path", "") or ""))
    if (folder / "preprocessor_config.json").is_file():
        return read_processor(str(folder), size, notes)
    return None


def _names(module: nn.Module, parts: Mapping[str, nn.Module], notes: list[str]) -> dict[str, list[str]]:
    """Class names by where they were found: what the model itself keeps, its hyperparameters, the parts' records."""
    found: dict[str, list[str]] = {}
    kept = {"": vars(module), "hparams": _mapping(getattr(module, "hparams", None))}
    for place, attributes in kept.items():
        for name in _NAME_ATTRIBUTES:
            names = _as_names(attributes.get(name))
            if names is not None:
                found[f"{place}.{name}".strip(".")] = names
    for path, part in parts.items():
        names = _recorded_names(part)
        if names is None:
            continue
        outside = _outside(module, path)
        if path and outside is not None:
            notes.append(
                f"class names of '{path}' are left out: '{outside}' outside it may change what its scores mean; give "
                "class_names="
            )
        else:
            found[path] = names
    return found


def _recorded_names(module: nn.Module) -> list[str] | None:
    if output_of(module) != "logits":
        return None
    labels = getattr(getattr(module, "config", None), "id2label", None)
    if isinstance(labels, dict):
        return from_id2label(labels)
    record = getattr(module, "pretrained_cfg", None)
    names = _as_names(record.get("label_names")) if isinstance(record, dict) else None
    return names if names is not None and len(names) == getattr(module, "num_classes", None) else None


def _as_names(value: Any) -> list[str] | None:
    if isinstance(value, Mapping):
        return from_id2label(value)
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(each, str) for each in value)
    ):
        return None
    try:
        return as_class_names(value) or None
    except ModelError:
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    return vars(value) if hasattr(value, "__dict__") else {}


def _outside(module: nn.Module, path: str) -> str | None:
    """The first part with weights that lies outside the part at ``path``; adapters lie inside."""
    for name, _ in module.named_parameters():
        if path and not name.startswith(f"{path}."):
            return name.rpartition(".")[0] or name
    return None
