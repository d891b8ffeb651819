"""The registry of places that models come from: one file per source, one registration line in each."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vitscope.errors import ModelError, brief, nearest
from vitscope.models.opening.loaded import LoadedModel

Weights = str | os.PathLike[str] | Mapping[str, Tensor]


@dataclass(frozen=True)
class Request:
    """What was asked of a source. name: without the prefix; image_size: (H, W); options: for the library."""

    name: str
    weights: Weights | None = None
    image_size: tuple[int, int] | None = None
    pretrained: bool | str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def wants_hub(self) -> bool:
        """Whether published weights are to be fetched: unless other weights are given or random ones asked for."""
        return self.weights is None and self.pretrained is not False

    @property
    def weights_label(self) -> str:
        """``pretrained``, ``random``, ``given`` (a state dict) or the path of the file."""
        if self.weights is None:
            return "pretrained" if self.wants_hub else "random"
        return "given" if isinstance(self.weights, Mapping) else str(self.weights)


@dataclass(frozen=True)
class Source:
    """prefix: the part of a model's name before the slash; load: makes the model; names: lists what it knows."""

    prefix: str
    title: str
    load: Callable[[Request], LoadedModel]
    names: Callable[[], Iterable[str]]


FILES = ("bundled", "hf", "open_clip", "timm", "torchvision")
"""Files of this room that register a source; each imports its library when it is used."""
_SOURCES: dict[str, Source] = {}


def register_source(prefix: str, title: str, names: Callable[[], Iterable[str]]) -> Callable[..., Any]:
    """Register the decorated function as the loader of models named ``prefix/...``."""

    def add(load: Callable[[Request], LoadedModel]) -> Callable[[Request], LoadedModel]:
        _SOURCES[prefix] = Source(prefix, title, load, names)
        return load

    return add


def sources() -> dict[str, Source]:
    """All registered sources by prefix."""
    for file in FILES:
        importlib.import_module(f"vitscope.models.sources.{file}")
    return dict(sorted(_SOURCES.items()))


def unknown_name(prefix: str, name: str, known: Iterable[str]) -> ModelError:
    """The error for a name that a source does not know, with the nearest ones."""
    spelled = {other.lower(): other for other in known}
    if not spelled:
        return ModelError(
            f"{prefix} has no model named {name!r}, and no other; give a model from another source"
        )
    close = ", ".join(f"{prefix}/{spelled[other]}" for other in nearest(name, spelled))
    return ModelError(f"{prefix} has no model named {name!r}; did you mean {close}?")


def not_fetched(prefix: str, name: str, error: BaseException) -> ModelError:
    """The error for published weights that could not be fetched; of hf also for a folder that is not there."""
    here = f", and there is no folder {name} here; check the name," if prefix == "hf" else ";"
    return ModelError(
        f"the published weights of {prefix}/{name} could not be fetched ({brief(error, 90)}){here} give weights from a "
        "file with weights= or take random ones with pretrained=False"
    )


def not_built(prefix: str, name: str, error: BaseException) -> ModelError:
    """The error for an architecture that its library refuses to build as asked."""
    return ModelError(
        f"{prefix}/{name} cannot be built as asked ({brief(error)}); check image_size= and the options"
    )
