"""The runner behind all perturbation metrics: removes tokens or pixels, asks the model in batches, and counts.

For one batch of pictures the clean scores and the empty end points are computed once and serve every curve of
every method. Everything stays on the model's device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from vitscope.errors import EvaluationError
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.removal.pixels import IMAGENET_COLOUR, blurred, colour_picture, composite
from vitscope.models.preparing.cells import Cells

ModelCall = Callable[[Tensor, "Tensor | None"], Tensor]
"""``model(images (M, 3, H, W), keep (M, P) bool or None) -> logits (M, C)``; keep goes to token removal."""


@dataclass(frozen=True)
class Outcome:
    """What is kept of M model evaluations: enough for every score of the explained class."""

    logit: Tensor
    normaliser: Tensor
    top: Tensor

    def score(self, quantity: str) -> Tensor:
        """(M,) float32: ``logit``, ``probability`` or ``log_probability`` of the explained class."""
        if quantity == "logit":
            return self.logit
        log_probability = self.logit - self.normaliser
        return log_probability.exp() if quantity == "probability" else log_probability

    def __getitem__(self, index: Any) -> Outcome:
        return Outcome(self.logit[index], self.normaliser[index], self.top[index])

    def view(self, *shape: int) -> Outcome:
        """The same outcomes in another shape."""
        return Outcome(self.logit.view(*shape), self.normaliser.view(*shape), self.top.view(*shape))


@dataclass(frozen=True)
class Asking:
    """How a model is asked about pictures with something removed, and what it answers with.

    class_token: whether the model can answer with no patch at all. Without a class token the average over no
    patch is undefined, so there the empty end point is the picture of the mean colour, for every curve alike
    (the end point has the same weight in MIF and LIF, so SRG does not depend on this choice).
    mean, std: (3,) of the normalisation, for colours; ImageNet's by default. batch_size: pictures that it sees at
    once. equal_lengths: whether the model must be asked about equally many kept patches at a time, as when the sequence
    is shortened; by default for the removal ``drop``. probability: how the model's logits become probabilities.

    Raises EvaluationError for a batch size below 1.
    """

    class_token: bool = True
    mean: Tensor | None = None
    std: Tensor | None = None
    batch_size: int = 64
    equal_lengths: bool | None = None
    probability: Literal["softmax", "sigmoid"] = "softmax"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise EvaluationError(f"expected a batch size of at least 1, got {self.batch_size}")


class Perturber:
    """Removes patches or pixels from one batch of pictures and scores what is left.

    Args:
        model: Pictures and kept patches to logits.
        images: (B, 3, H, W) as the model takes them.
        classes: (B,) the explained class.
        cells: The patches on the pixels.
        protocol: What is removed, and which score is read.
        asking: How the model is asked.
    """

    def __init__(
        self,
        model: ModelCall,
        images: Tensor,
        classes: Tensor,
        cells: Cells,
        protocol: Protocol,
        asking: Asking | None = None,
    ) -> None:
        asking = asking or Asking()
        self.images, self.classes = images, classes.to(images.device)
        self.cells, self.protocol = cells, protocol
        self.evaluations = 0
        self._model, self._asking = model, asking
        self._equal_lengths = (
            protocol.removal == "drop" if asking.equal_lengths is None else asking.equal_lengths
        )
        self._mean = (torch.tensor(IMAGENET_COLOUR) if asking.mean is None else asking.mean).to(images)
        self._std = (torch.tensor((0.229, 0.224, 0.225)) if asking.std is None else asking.std).to(images)
        self._kept: dict[str, Outcome] = {}
        self._fills: dict[str, Tensor] = {}

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patches."""
        return self.cells.grid

    @property
    def patches(self) -> int:
        """Patches P of the grid."""
        return self.grid[0] * self.grid[1]

    def clean(self) -> Outcome:
        """The untouched pictures, (B,)."""
        if "clean" not in self._kept:
            index = torch.arange(len(self.images), device=self.images.device)
            self._kept["clean"] = self._ask(index, lambda part: (self.images[part], None))
        return self._kept["clean"]

    def adopt_clean(self, logits: Tensor) -> None:
        """Use logits (B, C) of the untouched pictures that are known already."""
        self._kept["clean"] = self._digest(logits, self.classes)

    def empty(self) -> Outcome:
        """The pictures with every patch removed, (B,)."""
        if "empty" not in self._kept:
            index = torch.arange(len(self.images), device=self.images.device)
            if self.protocol.removal in ("mask", "drop") and self._asking.class_token:
                none = torch.zeros(
                    len(self.images), self.patches, dtype=torch.bool, device=self.images.device
                )
                self._kept["empty"] = self._ask(index, lambda part: (self.images[part], none[part]))
            else:
                kind = "mean" if self.protocol.removal in ("mask", "drop") else self.protocol.removal
                self._kept["empty"] = self._ask(index, lambda part: (self.fill(kind)[part], None))
        return self._kept["empty"]

    def fill(self, kind: str) -> Tensor:
        """What stands in the place of removed pixels, (B, 3, H, W) in the normalised space."""
        if kind not in self._fills:
            if kind == "blur":
                self._fills[kind] = blurred(self.images)
            elif kind == "zero":
                self._fills[kind] = torch.zeros_like(self.images)
            elif kind in ("mean", "black"):
                colour = (
                    (0.0, 0.0, 0.0) if kind == "black" else (self.protocol.mean_colour or IMAGENET_COLOUR)
                )
                tone = (torch.tensor(colour).to(self._mean) - self._mean) / self._std
                self._fills[kind] = colour_picture(self.images, tone)
            else:
                raise EvaluationError(f"expected a pixel removal (mean, blur, zero or black), got {kind!r}")
        return self._fills[kind]

    def remove(self, index: Tensor, keep: Tensor) -> Outcome:
        """Score pictures ``index`` (M,) with only the patches ``keep`` (M, P): outcomes (M,).

        Rows that keep all or none are taken from the shared end points.
        """
        count = keep.sum(1)
        outcome = self.clean()[index]
        logit, normaliser, top = outcome.logit.clone(), outcome.normaliser.clone(), outcome.top.clone()
        none = (count == 0).nonzero().squeeze(1)
        if len(none):
            empty = self.empty()[index[none]]
            logit[none], normaliser[none], top[none] = empty.logit, empty.normaliser, empty.top
        inner = ((count > 0) & (count < keep.shape[1])).nonzero().squeeze(1)
        if len(inner) == 0:
            return Outcome(logit, normaliser, top)
        groups = [inner]
        if self._equal_lengths:
            # Sequences in one batch must be of one length.
            groups = [inner[count[inner] == size] for size in count[inner].unique().tolist()]
        for group in groups:
            part = self._ask_removal(index[group], keep[group])
            logit[group], normaliser[group], top[group] = part.logit, part.normaliser, part.top
        return Outcome(logit, normaliser, top)

    def _ask_removal(self, index: Tensor, keep: Tensor) -> Outcome:
        if self.protocol.removal in ("mask", "drop"):
            return self._ask(index, lambda part: (self.images[index[part]], keep[part]))
        fill = self.fill(self.protocol.removal)

        def build(part: slice) -> tuple[Tensor, None]:
            chosen = index[part]
            return composite(self.images[chosen], fill[chosen], self.cells.kept(keep[part])), None

        return self._ask(index, build)

    def pictures(self, index: Tensor, build: Callable[[slice], Tensor]) -> Outcome:
        """Score M ready pictures made piece by piece: ``build(slice)`` gives (m, 3, H, W), ``index`` (M,) says
        of which picture each is a changed copy."""
        return self._ask(index, lambda part: (build(part), None))

    def _ask(self, index: Tensor, build: Callable[[slice], tuple[Tensor, Tensor | None]]) -> Outcome:
        parts = []
        for start in range(0, len(index), self._asking.batch_size):
            part = slice(start, min(start + self._asking.batch_size, len(index)))
            images, keep = build(part)
            parts.append(self._digest(self._model(images, keep), self.classes[index[part]]))
            self.evaluations += len(images)
        return Outcome(
            torch.cat([p.logit for p in parts]),
            torch.cat([p.normaliser for p in parts]),
            torch.cat([p.top for p in parts]),
        )

    def _digest(self, logits: Tensor, classes: Tensor) -> Outcome:
        logits = logits.float()
        chosen = logits.gather(1, classes.view(-1, 1)).squeeze(1)
        # log p = logit - normaliser: over all classes, or each against its own absence
        alone = self._asking.probability == "sigmoid"
        return Outcome(chosen, softplus(chosen) if alone else logits.logsumexp(1), logits.argmax(1))
