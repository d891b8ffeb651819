"""A memory bank of picture features: what a self-supervised model is asked to recognise a picture by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vitscope.errors import MethodError
from vitscope.storage import tensors
from vitscope.storage.notes import decoding
from vitscope.storage.recipe import Recipe
from vitscope.tracing import Vit
from vitscope.tracing.recipe import library_versions, model_identity

KIND = "memory bank"
CHUNK = 65536
"""Rows of the bank that are compared at once."""


@dataclass(frozen=True, repr=False)
class MemoryBank:
    """Unit features (M, D) float16 of M pictures, their labels (M,) when known, and the model that made them.

    made: what the features depend on besides the pictures: weights, preparation of pictures, precision."""

    features: Tensor
    labels: Tensor | None
    label_names: tuple[str, ...]
    model: str
    fingerprint: str
    made: Recipe | None = None

    def __repr__(self) -> str:
        return f"<MemoryBank of {len(self)} pictures by {self.model} ({self.fingerprint})>"

    def __len__(self) -> int:
        return int(self.features.shape[0])

    @property
    def recipe(self) -> Recipe | None:
        """What makes these features; a bank serves models and preparations of the same recipe only."""
        return self.made

    def check(self, vit: Vit) -> None:
        """Raise MethodError when another model made this bank, or other preparation of pictures or precision."""
        if self.fingerprint != vit.fingerprint:
            raise MethodError(
                f"this memory bank was made by '{self.model}' ({self.fingerprint}), not by '{vit.source}' "
                f"({vit.fingerprint}); make one with: vitscope bank build FOLDER --model {vit.source}"
            )
        differences = (
            [] if self.made is None else self.made.differences(replace(self.made, model=model_identity(vit)))
        )
        if differences:
            raise MethodError(
                f"this memory bank was made otherwise ({'; '.join(differences)}); open the model as it was then, or "
                f"make a new bank with: vitscope bank build FOLDER --model {vit.source}"
            )

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(cosine similarities, rows) of the k nearest, (B, k) each, nearest first; exact, chunk by chunk.

        queries (B, D) need not be of unit length."""
        queries = normalize(queries.float(), dim=-1)
        k = min(k, len(self))
        best = queries.new_full((queries.shape[0], 0), -2.0)
        rows = torch.zeros(queries.shape[0], 0, dtype=torch.long, device=queries.device)
        for start in range(0, len(self), CHUNK):
            chunk = self.features[start : start + CHUNK].to(queries.device).float()
            similarity = queries @ chunk.T
            here = torch.arange(start, start + chunk.shape[0], device=queries.device).expand_as(similarity)
            best, rows = torch.cat([best, similarity], 1), torch.cat([rows, here], 1)
            best, order = best.topk(min(k, best.shape[1]), dim=1)
            rows = rows.gather(1, order)
        return best, rows

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the bank to one safetensors file (ending added when missing); returns its path. Raises OutputError."""
        arrays = {"features": self.features}
        if self.labels is not None:
            arrays["labels"] = self.labels
        note = {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "label_names": self.label_names,
            "recipe": None if self.made is None else self.made.to_dict(),
        }
        return tensors.save(path, KIND, arrays, note)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> MemoryBank:
        """Read what ``save`` wrote. Raises StorageError for a damaged file, or one of another kind or version."""
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            features, labels = arrays["features"], arrays.get("labels")
            if features.dim() != 2 or not features.is_floating_point():
                raise ValueError("its features are no (pictures, width)")
            if labels is not None and labels.shape != features.shape[:1]:
                raise ValueError("it has not one label per picture")
            names = tuple(str(name) for name in note["label_names"])
            made = None if note["recipe"] is None else Recipe.from_dict(note["recipe"])
            return MemoryBank(features, labels, names, str(note["model"]), str(note["fingerprint"]), made)


def build_bank(
    vit: Vit, batches: Iterable[Any], labels: Sequence[int] | None = None, label_names: Sequence[str] = ()
) -> MemoryBank:
    """A bank of the model's output features, float16, for batches of pictures in any form that ``Vit.images`` takes.

    ``labels``: one per picture, in order. Raises MethodError for a classifier, whose output are no features."""
    features: list[Tensor] = []
    for batch in batches:
        found = vit.forward(batch)
        if vit.anatomy.classes is not None:
            raise MethodError(
                f"'{vit.source}' gives class scores, not features; open it without its head (timm: num_classes=0)"
            )
        features.append(normalize(found, dim=-1).half().cpu())
    if not features:
        raise MethodError("expected at least one picture for a memory bank, got none")
    joined = torch.cat(features)
    if labels is not None and len(labels) != joined.shape[0]:
        raise MethodError(f"expected one label per picture ({joined.shape[0]}), got {len(labels)}")
    return MemoryBank(
        joined,
        None if labels is None else torch.as_tensor(list(labels), dtype=torch.long),
        tuple(label_names),
        vit.source,
        vit.fingerprint,
        Recipe("bank", model=model_identity(vit), count=len(joined), versions=library_versions()),
    )
