"""Why a forward failed: the reason behind the error, and what mends it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vitscope.errors import ModelError, brief
from vitscope.models.opening.architecture import size_of
from vitscope.tracing.calls.calling import Inputs, pictures_of

_PICTURES = ("pixel_values", "images", "image", "pixels", "x")
_CHANNELS = re.compile(r"expected input\[.*\] to have (\d+) channels, but got (\d+) channels")
_MISSING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (.+)")
_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")
_PLACES = ("same device", "on cpu but", "different from other tensors", "device type", "expected device")
_NUMBERS = ("same dtype", "scalar type", "should be the same", "dtype")
_SIZES = ("size", "shape", "height", "width", "divisible", "multiple", "resolution", "dimension", "match")


class DoesNotRunError(ModelError):
    """A forward failed. by_size: another size of pictures may mend it."""

    def __init__(self, message: str, by_size: bool) -> None:
        super().__init__(message)
        self.by_size = by_size


def why_not_run(
    source: str, model: nn.Module, inputs: Inputs, error: Exception, place: str
) -> DoesNotRunError:
    """The error to raise in place of ``error``, which the model's forward ended with inside the module ``place``."""
    pictures = pictures_of(inputs)
    what = "these inputs"
    if pictures is not None:
        what = f"pictures of {pictures.shape[-2]}x{pictures.shape[-1]}"
    reason, by_size = _reason(model, inputs, error, place)
    return DoesNotRunError(f"'{source}' does not run on {what}: {reason}", by_size)


def picture_tower(model: nn.Module) -> str | None:
    """The path of the outermost part, if there is one, that takes pictures only: a contrastive model's picture side."""
    parts: list[tuple[str, nn.Module]] = [(path, part) for path, part in model.named_modules() if path]
    for path, part in sorted(parts, key=lambda item: item[0].count(".")):
        parameters = _parameters(part)
        if parameters and parameters[0].name == "pixel_values" and not _wants_texts(part) and _is_deep(part):
            return str(path)
    return None


def _reason(model: nn.Module, inputs: Inputs, error: Exception, place: str) -> tuple[str, bool]:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    missing = _MISSING.search(said)
    if _wants_texts(model) and not (isinstance(inputs, Mapping) and "input_ids" in inputs):
        return _texts_too(model), False
    if isinstance(error, TypeError) and not place and missing:
        names = ", ".join(re.findall(r"'(\w+)'", missing[1]))
        return f"it also wants {names}; give all arguments by name, {_by_name(model, names)}", False
    unknown = _UNKNOWN.search(said)
    if isinstance(error, TypeError) and not place and unknown:
        known = ", ".join(parameter.name for parameter in _parameters(model)) or "none"
        return f"it has no argument '{unknown[1]}', those it has: {known}; leave it out or name it so", False
    if isinstance(error, TypeError) and not place and isinstance(inputs, Tensor) and _keyword_only(model):
        return f"it takes its arguments by name only; give {_by_name(model)}", False
    counts = _counts(inputs)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        return f"it is given {listed}; give as many of each ({_line(said)})", False
    channels = _CHANNELS.search(said)
    if channels:
        wanted, given = channels.groups()
        return (
            f"it takes {wanted} channels and the pictures have {given}; give pictures of {wanted} channels",
            False,
        )
    low = said.lower()
    if any(words in low for words in _PLACES) and _kinds(model, "device") > 1:
        return f"its parts lie on several devices ({said}); put all on one with model.to(device)", False
    if any(words in low for words in _NUMBERS) and _kinds(model, "dtype") > 1:
        return (
            f"its parts compute with several kinds of numbers ({said}); make them one with model.float()",
            False,
        )
    where = f", in '{place}'" if place else ""
    if any(word in low for word in _SIZES) and pictures_of(inputs) is not None:
        return f"{_line(said)}{where}; {_size_remedy(model, inputs)}", True
    return f"{brief(error)}{where}; mend the model, or call it by itself on such inputs until it runs", False


def _counts(inputs: Inputs) -> dict[str, int]:
    """How many of each argument a mapping holds."""
    if isinstance(inputs, Tensor):
        return {}
    return {
        name: len(value) for name, value in inputs.items() if isinstance(value, Tensor) and value.dim() > 1
    }


def _line(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."


def _size_remedy(model: nn.Module, inputs: Inputs) -> str:
    stated, pictures = size_of(model), pictures_of(inputs)
    if stated is not None and pictures is not None and tuple(pictures.shape[-2:]) != stated:
        side = f"{stated[0]}" if stated[0] == stated[1] else f"({stated[0]}, {stated[1]})"
        return f"it says that it takes {stated[0]}x{stated[1]}, so give pictures of that size (image_size={side})"
    return "give the size it wants with image_size="


def _texts_too(model: nn.Module) -> str:
    tower = picture_tower(model)
    alone = f", or open its picture tower alone: open_model(model.{tower})" if tower else ""
    return (
        "it takes pictures and texts together, and the texts are missing; give both, "
        f'{{"pixel_values": pictures, "input_ids": texts}}{alone}'
    )


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    try:
        listed = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return []
    return [
        p for p in listed if p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]


def _wants_texts(model: nn.Module) -> bool:
    names = {parameter.name for parameter in _parameters(model)}
    return {"pixel_values", "input_ids"} <= names


def _keyword_only(model: nn.Module) -> bool:
    parameters = _parameters(model)
    return bool(parameters) and all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters)


def _by_name(model: nn.Module, more: str = "") -> str:
    """The mapping to give, written out: the pictures' own name in the forward, then what is missing."""
    names = [parameter.name for parameter in _parameters(model)]
    own = next((name for name in _PICTURES if name in names), names[0] if names else "pixel_values")
    given = [f'"{own}": pictures', *(f'"{name}": ...' for name in more.split(", ") if name and name != own)]
    return "{" + ", ".join(given) + "}"


def _is_deep(part: nn.Module) -> bool:
    """Whether a part holds more than a patch embedding."""
    return any(isinstance(each, nn.ModuleList) for each in part.modules())


def _kinds(model: nn.Module, attribute: str) -> int:
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    found: set[Any] = {getattr(t, attribute) for t in tensors if t.is_floating_point()}
    return len(found)
