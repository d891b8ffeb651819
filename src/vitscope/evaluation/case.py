"""One batch under evaluation: what all methods share on it (Case), and one method's maps on it (Subject)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from vitscope.errors import EvaluationError
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.removal.curves import area, kept_patches, most_relevant, removal_order, step_counts
from vitscope.evaluation.removal.draws import uniforms
from vitscope.evaluation.removal.perturbation import Outcome, Perturber
from vitscope.models.preparing.cells import Cells

if TYPE_CHECKING:
    from vitscope.evaluation.cascade import Cascade

Box = tuple[float, float, float, float]
Explainer = Callable[[Tensor, Tensor], Tensor]
"""``explain(images (M, 3, H, W), classes (M,)) -> maps (M, h, w)``."""
T = TypeVar("T")


@dataclass(frozen=True)
class Curves:
    """Scores while the most (mif) or the least (lif) relevant patches are removed first: outcomes (B, K)."""

    fractions: Tensor
    mif: Outcome
    lif: Outcome


@dataclass
class Case:
    """One batch of pictures and what every method shares on it.

    keys: (B) names that the random draws of each picture depend on. masks: (B, Hm, Wm) bool, where the evidence
    or the object lies, at the size of the pictures or any other. boxes: per picture (x0, y0, x1, y1) in pixels of
    the model's input, half open. classes: (B,) the explained class.
    """

    perturber: Perturber
    keys: list[str]
    labels: Tensor | None = None
    masks: Tensor | None = None
    boxes: Sequence[Sequence[Box]] | None = None
    class_count: int = 0
    cascade: Cascade | None = None
    memory: dict[Any, Any] = field(default_factory=dict)

    @property
    def images(self) -> Tensor:
        """(B, 3, H, W) as the model takes them."""
        return self.perturber.images

    @property
    def classes(self) -> Tensor:
        """(B,) the explained classes."""
        return self.perturber.classes

    @property
    def protocol(self) -> Protocol:
        """The protocol of the run."""
        return self.perturber.protocol

    @property
    def cells(self) -> Cells:
        """Where the patches lie on the pictures."""
        return self.perturber.cells

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures."""
        return int(self.images.shape[-2]), int(self.images.shape[-1])

    def __len__(self) -> int:
        return len(self.keys)

    def once(self, name: Any, make: Callable[[], T]) -> T:
        """Compute something for this batch once, shared by all metrics."""
        if name not in self.memory:
            self.memory[name] = make()
        value: T = self.memory[name]
        return value

    def require_labels(self) -> Tensor:
        """(B,) labels. Raises EvaluationError without."""
        if self.labels is None:
            raise EvaluationError(
                "this metric needs the true class of each picture; pass labels= or --labels"
            )
        return self.labels

    def require_masks(self) -> Tensor:
        """Masks at the size of the pictures, (B, H, W) bool; boxes serve where there are no masks."""
        if self.masks is None and self.boxes is None:
            raise EvaluationError("this metric needs to know where the object is; pass masks= or boxes=")
        return self.once("masks", self._masks)

    def _masks(self) -> Tensor:
        height, width = self.size
        if self.masks is not None:
            masks = self.masks.to(self.images.device)
            if masks.shape[-2:] == (height, width):
                return masks.bool()
            return functional.interpolate(masks[:, None].float(), size=self.size, mode="nearest")[:, 0] > 0.5
        masks = torch.zeros(len(self), height, width, dtype=torch.bool, device=self.images.device)
        for index, boxes in enumerate(self.boxes or ()):
            for x0, y0, x1, y1 in boxes:
                masks[index, round(y0) : round(y1), round(x0) : round(x1)] = True
        return masks

    def require_boxes(self) -> Sequence[Sequence[Box]]:
        """Boxes per picture; the box around a mask serves where there are no boxes."""
        if self.boxes is not None:
            return self.boxes
        return self.once("boxes", lambda: [bounding_box(mask) for mask in self.require_masks().cpu()])

    def curves(self, order: Tensor) -> Curves:
        """MIF and LIF outcomes along an order (B, P); end points are shared."""
        patches = order.shape[1]
        counts = step_counts(patches, self.protocol.steps)
        keep = torch.cat([kept_patches(order, counts), kept_patches(order.flip(1), counts)], dim=1)
        index = torch.arange(len(self), device=order.device).repeat_interleave(keep.shape[1])
        outcome = self.perturber.remove(index, keep.flatten(0, 1)).view(len(self), 2, len(counts))
        fractions = torch.tensor(counts, device=order.device, dtype=torch.float32) / patches
        return Curves(fractions, outcome[:, 0], outcome[:, 1])

    def random_subjects(self) -> list[Subject]:
        """The random control, one subject per draw; shared by the control's own row and by MRG and LRG."""

        def make() -> list[Subject]:
            subjects = []
            for draw in range(self.protocol.random_draws):
                purpose = f"random control {draw}"
                maps = uniforms(self.keys, self.perturber.grid, self.protocol.seed, purpose)
                maps = maps.to(self.images.device)
                subjects.append(Subject(self, "random", maps, class_specific=False))
            return subjects

        return self.once("random subjects", make)

    def random_area(self) -> Tensor:
        """Area under the curve of random removal, mean over the draws: (B,)."""

        def make() -> Tensor:
            areas = []
            for subject in self.random_subjects():
                curves = subject.curves()
                both = curves.mif.score(self.protocol.score) + curves.lif.score(self.protocol.score)
                areas.append(area(both / 2, curves.fractions))
            return torch.stack(areas).mean(0)

        return self.once("random area", make)


@dataclass
class Subject:
    """One method's maps on one batch.

    maps: (B, h, w) raw relevance on the patch grid. flow: (B, L, h, w) or None. signed: whether the method
    claims that its values add up to the score. explain: the method on other pictures or classes, None for maps
    that came from outside. cascade_maps: the method at every level of the cascade; last_maps: at its end.
    total_of: gives the (B,) relevance of all tokens, prefix tokens included, or None where a method knows no tokens.
    """

    case: Case
    name: str
    maps: Tensor
    flow: Tensor | None = None
    signed: bool = False
    class_specific: bool = True
    explain: Explainer | None = None
    cascade_maps: Callable[[Tensor, Tensor], Iterator[Tensor]] | None = None
    last_maps: Explainer | None = None
    total_of: Callable[[], Tensor | None] | None = None
    curves_kept: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    memory: dict[Any, Any] = field(default_factory=dict)

    def once(self, name: Any, make: Callable[[], T]) -> T:
        """Compute something for this method and batch once."""
        if name not in self.memory:
            self.memory[name] = make()
        value: T = self.memory[name]
        return value

    @property
    def flat(self) -> Tensor:
        """Maps as (B, P)."""
        return self.maps.flatten(1)

    @property
    def pixels(self) -> Tensor:
        """Maps at the size of the pictures, (B, H, W), by the protocol's upsampling."""
        cells, grid = self.case.cells, (int(self.maps.shape[-2]), int(self.maps.shape[-1]))
        if cells.grid != grid:  # maps of a feature map at another resolution
            cells = Cells.even(grid, self.case.size)
        return self.once("pixels", lambda: cells.spread(self.maps, self.case.protocol.upsampling))

    def order(self) -> Tensor:
        """Patches from most to least relevant, (B, P)."""
        return self.once("order", lambda: removal_order(self.maps, self.case.keys, self.case.protocol.seed))

    def pixel_order(self) -> Tensor:
        """Pixels from most to least relevant, (B, H * W)."""
        return self.once(
            "pixel order", lambda: removal_order(self.pixels, self.case.keys, self.case.protocol.seed)
        )

    def peak(self) -> Tensor:
        """The first pixel of ``pixel_order``, (B,), at a fraction of its cost."""
        return most_relevant(self.pixels, self.case.keys, self.case.protocol.seed)

    def curves(self) -> Curves:
        """The removal curves of these maps."""
        return self.once("curves", lambda: self.case.curves(self.order()))

    def keep_curve(self, name: str, fractions: Tensor, values: Tensor) -> None:
        """Remember a curve, (K,) fractions and (B, K) values, for the leaderboard's plots."""
        self.curves_kept[name] = (fractions, values)


def bounding_box(mask: Tensor) -> list[Box]:
    """The box around a mask (H, W), half open, as a list of one; empty for an empty mask."""
    rows, columns = mask.any(1).nonzero().squeeze(1), mask.any(0).nonzero().squeeze(1)
    if len(rows) == 0:
        return []
    return [(float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)]
