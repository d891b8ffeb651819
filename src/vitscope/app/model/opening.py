"""How the model's process opens its model: by name as a command line does, or as the maker of a study did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from vitscope.storage.stores import open_store
from vitscope.tracing import Vit, open_model


class Opening(ABC):
    """A model that is not opened yet, in a form that another process can be given."""

    @abstractmethod
    def open(self) -> Vit:
        """The opened model. Raises what ``vs.open_model`` raises."""

    @abstractmethod
    def as_python(self) -> str:
        """The expression of Python that opens the same model."""


@dataclass(frozen=True)
class NamedOpening(Opening):
    """What ``vs.open_model`` takes. seeded: random weights are drawn as every command draws them."""

    model: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seeded: bool = False

    def open(self) -> Vit:
        with torch.random.fork_rng(enabled=self.seeded):
            if self.seeded:
                torch.manual_seed(0)
            return open_model(self.model, **self.arguments)

    def as_python(self) -> str:
        return opening_in_python(self.model, self.arguments)


@dataclass(frozen=True)
class StudiedOpening(Opening):
    """The model of a study. weights: their file, where it lies elsewhere now."""

    place: str
    device: str | None = None
    weights: str | None = None

    def open(self) -> Vit:
        # The rooms of studies are large, and a model that is named needs none of them.
        from vitscope.studies.manifest import read_manifest
        from vitscope.studies.models import Placed, opened_for

        manifest = read_manifest(open_store(self.place, alone=True))
        return opened_for(manifest, Placed(self.device, self.weights))

    def as_python(self) -> str:
        from vitscope.studies.manifest import read_manifest

        model = read_manifest(open_store(self.place, alone=True)).model
        given = {"weights": self.weights} if self.weights is not None else {}
        return opening_in_python(model.name or "", {**model.opening, **given, "device": self.device})


def opening_in_python(model: str, arguments: Mapping[str, Any]) -> str:
    """``vs.open_model(...)`` with what was given; what says nothing is left out."""
    said = {name: value for name, value in arguments.items() if value is not None}
    if said.get("precision") == "float32":
        del said["precision"]
    if said.get("device") == "cpu":
        del said["device"]
    if isinstance(said.get("image_size"), list):
        said["image_size"] = tuple(said["image_size"])
    written = [repr(model), *(f"{name}={_literal(value)}" for name, value in said.items())]
    return f"vs.open_model({', '.join(written)})"


def _literal(value: Any) -> str:
    return repr(value if isinstance(value, str | int | float | bool | tuple | list | dict) else str(value))
