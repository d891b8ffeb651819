"""A memory bank of picture features: what a self-supervised model is asked to recognise a picture by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vitscope.errors import AnswerError, MethodError, OutputError, RecipeError, StorageError
from vitscope.options.bounds import BatchSize, FilePath
from vitscope.options.door import checked
from vitscope.pictures import Images, Labels, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.shown import drawn_by
from vitscope.storage import tensors
from vitscope.storage.notes import decoding
from vitscope.storage.recipe import Recipe, pictures_digest
from vitscope.tracing import Vit
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.recipe import library_versions, model_identity

if TYPE_CHECKING:
    import pandas as pd

KIND = "memory bank"
CHUNK = 65536
"""Rows of the bank that are compared at once."""


@dataclass(frozen=True, repr=False)
class MemoryBank:
    """Unit features (M, D) float16 of M pictures, their labels (M,) when known, and the model that made them.

    made: what the features depend on: weights, preparation of pictures, precision, the pictures themselves. keys: the
    names of the pictures. ids: the hash of what each holds. Both are empty for features that came from outside."""

    features: Tensor
    labels: Tensor | None
    label_names: tuple[str, ...]
    model: str
    fingerprint: str
    made: Recipe | None = None
    keys: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<MemoryBank of {len(self)} pictures by {self.model} ({self.fingerprint})>"

    def __len__(self) -> int:
        return int(self.features.shape[0])

    @property
    def recipe(self) -> Recipe | None:
        """What makes these features; a bank serves models and preparations of the same recipe only."""
        return self.made

    def in_recipe(self) -> dict[str, Any]:
        """What results that use this bank depend on: what it holds, whatever the pictures are called."""
        names = ("features", "labels", "label_names", "fingerprint")
        return {name: getattr(self, name) for name in names}

    @checked(RecipeError)
    def merge(self, *others: MemoryBank) -> MemoryBank:
        """The bank of these pictures and those of the others, one after the other.

        Raises:
            RecipeError: another model, preparation or precision made one of them, a picture is in two of them, labels
                are known of some only, or one came from outside.

        Example:
            ``first.merge(second).save("bank")``
        """
        parts = (self, *others)
        made = [part.made for part in parts if part.made is not None]
        if len(made) < len(parts) or any(len(part.keys) != len(part) for part in parts):
            raise RecipeError(
                "a memory bank without a recipe cannot be merged; merge what vitscope bank build made"
            )
        recipe = made[0].merged(*made[1:], what="memory banks")
        keys = tuple(key for part in parts for key in part.keys)
        seen: set[str] = set()
        for key in keys:
            if key in seen:
                raise RecipeError(
                    f"the picture {key!r} is in two of the memory banks; give each picture once"
                )
            seen.add(key)
        labels, names = _labels_together(parts)
        features = torch.cat([part.features for part in parts])
        ids = tuple(each for part in parts for each in part.ids)
        return MemoryBank(features, labels, names, self.model, self.fingerprint, recipe, keys, ids)

    def to_pandas(self) -> pd.DataFrame:
        """One row per picture: key (empty for a bank from outside), id, label and class_name where they are known."""
        import pandas as pd

        unknown = [""] * len(self)
        columns: dict[str, Any] = {"key": self.keys or unknown, "id": self.ids or unknown}
        if self.labels is not None:
            columns["label"] = self.labels.tolist()
            if self.label_names:
                columns["class_name"] = [self.label_names[label] for label in columns["label"]]
        return pd.DataFrame(columns)

    def _repr_html_(self) -> str:
        return str(drawn_by("notebook", "frame_html")(self, self.to_pandas()))

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

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write the bank to one safetensors file (ending added when missing); returns its path. Raises OutputError."""
        arrays = {"features": self.features}
        if self.labels is not None:
            arrays["labels"] = self.labels
        note = {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "label_names": self.label_names,
            "recipe": None if self.made is None else self.made.to_dict(),
            "keys": self.keys,
            "ids": self.ids,
        }
        return tensors.save(path, KIND, arrays, note)

    @staticmethod
    @checked(StorageError)
    def load(path: FilePath) -> MemoryBank:
        """Read what ``save`` wrote. Raises StorageError for a damaged file, or one of another kind or version."""
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            features, labels = arrays["features"], arrays.get("labels")
            if features.dim() != 2 or not features.is_floating_point():
                raise ValueError("its features are no (pictures, width)")
            if labels is not None and labels.shape != features.shape[:1]:
                raise ValueError("it has not one label per picture")
            names, keys, ids = (
                tuple(str(text) for text in note[name]) for name in ("label_names", "keys", "ids")
            )
            if len(keys) not in (0, len(features)) or len(ids) != len(keys):
                raise ValueError("it has not one key per picture")
            made = None if note["recipe"] is None else Recipe.from_dict(note["recipe"])
            return MemoryBank(
                features, labels, names, str(note["model"]), str(note["fingerprint"]), made, keys, ids
            )


def _labels_together(banks: Sequence[MemoryBank]) -> tuple[Tensor | None, tuple[str, ...]]:
    """The labels of several banks under one list of names. Raises RecipeError where they are known of some only."""
    labels = [bank.labels for bank in banks if bank.labels is not None]
    if not labels:
        return None, ()
    if len(labels) < len(banks) or len({bool(bank.label_names) for bank in banks}) > 1:
        raise RecipeError("labels, or their names, are known of some memory banks only; give them for all")
    if not banks[0].label_names:
        return torch.cat(labels), ()
    names = tuple(sorted({name for bank in banks for name in bank.label_names}))
    if all(bank.label_names == banks[0].label_names for bank in banks):
        names = banks[0].label_names
    places = [torch.tensor([names.index(name) for name in bank.label_names]) for bank in banks]
    return torch.cat([place[own] for place, own in zip(places, labels, strict=True)]), names


@checked(MethodError)
@unaffected
def build_bank(
    vit: Vit,
    images: Images,
    labels: Labels | None = None,
    label_names: Sequence[str] = (),
    *,
    batch_size: BatchSize = 16,
    progress: Progress | None = None,
) -> MemoryBank:
    """A bank of the model's output features of pictures.

    Args:
        vit: The opened model; its output must be features, not class scores.
        images: Pictures in any form that ``vitscope.pictures.picture_source`` takes. Those that a source skips are
            left out.
        labels: One whole number per picture, in order; None takes those of a source that has labels.
        label_names: What the labels are called, by number.
        batch_size: Pictures of a batch. Changes no result.
        progress: Told how far it is, and asked before each batch whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The bank. Those of shards of pictures are put together by ``merge``.

    Raises:
        MethodError: a classifier, whose output are no features, or no picture.
        DataError: labels for another number of pictures.
        PictureError: a picture that cannot be read.

    Example:
        ``build_bank(vit, "photos").save("bank")``
    """
    if vit.anatomy.classes is not None:
        raise MethodError(
            f"'{vit.source}' gives class scores, not features; open it without its classifier: timm models with "
            "num_classes=0, others as an encoder or open_clip model"
        )
    source = picture_source(images, labels=labels)
    stage = CountedStage(progress, "features of pictures", len(source))
    features: list[Tensor] = []
    known: list[Tensor] = []
    keys: list[str] = []
    ids: list[str] = []
    for batch in source.batches(vit, batch_size):
        stage.check()
        try:
            features.append(normalize(vit.forward(batch.images), dim=-1).half().cpu())
        except AnswerError as error:
            raise error.among(batch.positions) from None
        if batch.labels is not None:
            known.append(batch.labels.cpu())
        keys += batch.keys
        ids += batch.ids
        stage.reach(batch.positions[-1] + 1)
    if not len(source):
        raise MethodError("expected at least one picture for a memory bank, got none")
    source.refuse_all_skipped()
    stage.reach(len(source))
    made = Recipe(
        "bank",
        model=model_identity(vit),
        pictures=pictures_digest(keys, ids),
        count=len(keys),
        versions=library_versions(),
    )
    return MemoryBank(
        torch.cat(features),
        torch.cat(known) if known else None,
        tuple(label_names),
        vit.source,
        vit.fingerprint,
        made,
        tuple(keys),
        tuple(ids),
    )
