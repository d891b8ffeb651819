"""The most likely classes of each picture with logits and probabilities, how sure the whole answer is, and the class
that is explained."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vitscope.heads.distance.profiles import row_entropy
from vitscope.heads.errors import HeadsError
from vitscope.heads.per_picture import Rows
from vitscope.pictures import Batch
from vitscope.tracing import Target, TopK, Trace, Vit
from vitscope.tracing.targets.quantity import quantity_of

NO_CLASS = -1
"""Stands for the explained class where what is explained is no class."""


@dataclass(frozen=True)
class Predictions:
    """What :class:`~vitscope.heads.per_picture.PerPicture` measures: the ``k`` most likely classes of each picture.

    values: class (n, k) int32, the most likely first and equal logits by their number; logit and probability (n, k)
    float32; entropy (n,) float32 of all class probabilities in bits, where classes exclude each other; target (n,)
    int32, the explained class. Models with fewer classes give as many as they have."""

    vit: Vit
    target: Target = field(default_factory=TopK)
    k: int = 5

    def __call__(self, batch: Batch) -> Rows:
        trace = self.vit.trace(batch.images, self.target, gradient=False, keys=batch.keys)
        found = {name: value.cpu().numpy() for name, value in top_classes(trace, self.k).items()}
        return Rows(tuple(batch.keys), tuple(batch.ids), found, float(len(batch)))


def top_classes(trace: Trace, k: int = 5) -> dict[str, Tensor]:
    """class, logit and probability (B, k), entropy and target (B,) of a trace, see :class:`Predictions`.

    Raises HeadsError for a model without class scores."""
    anatomy = trace.anatomy
    if anatomy.classes is None:
        raise HeadsError(
            f"{trace.model.source} has no class scores to predict from; pass classes= to open_model"
        )
    order = trace.logits.sort(dim=1, descending=True, stable=True).indices[:, :k]
    probabilities = quantity_of(trace.logits, "probability", anatomy.probability)
    explained = trace.classes
    exclusive = anatomy.probability == "softmax"
    return {
        **({"entropy": row_entropy(probabilities)} if exclusive else {}),
        "class": order.to(torch.int32),
        "logit": trace.logits.gather(1, order),
        "probability": probabilities.gather(1, order),
        "target": torch.full((trace.batch,), NO_CLASS, dtype=torch.int32, device=order.device)
        if explained is None
        else explained.to(torch.int32),
    }


def as_columns(rows: Rows) -> dict[str, np.ndarray]:
    """A line for each picture and rank: picture (its place), rank, class, logit, probability, target, and entropy where
    it is known."""
    classes = rows.values["class"]
    n, k = classes.shape
    return {
        "picture": np.arange(n, dtype=np.int64).repeat(k),
        "rank": np.tile(np.arange(k, dtype=np.int8), n),
        **{name: rows.values[name].reshape(-1) for name in ("class", "logit", "probability")},
        **{name: rows.values[name].repeat(k) for name in ("target", "entropy") if name in rows.values},
    }
