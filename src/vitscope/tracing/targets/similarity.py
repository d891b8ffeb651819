"""Targets of models that embed instead of classify: likeness to a text or to another picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vitscope.errors import TargetError
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import AskedModel, Target


@dataclass(frozen=True)
class Similarity(Target):
    """scale * cos(output, feature) + bias, with ``feature`` (D,) for all pictures or (B, D) one each.

    Example:
        >>> import vitscope as vs
        >>> vit, pictures = vs.open_model("bundled/shapes"), vs.worlds.demo_pictures(2).images()
        >>> feature = vit.forward(pictures[:1])[0]
        >>> vs.explain(vit, pictures, "daam", Similarity(feature, name="like the first")).maps.shape
        torch.Size([2, 12, 12])
    """

    feature: Tensor = field(repr=False)
    name: str = "similarity"
    scale: float = 1.0
    bias: float = 0.0
    needs_classifier = False

    @property
    def count(self) -> int | None:
        return None if self.feature.dim() == 1 or len(self.feature) == 1 else len(self.feature)

    def _of(self, positions: list[int]) -> Target:
        return self if self.count is None else replace(self, feature=self.feature[positions])

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        feature = self.feature[None] if self.feature.dim() == 1 else self.feature
        if feature.shape[-1] != logits.shape[-1] or feature.shape[0] not in (1, logits.shape[0]):
            raise TargetError(
                f"target '{self.name}' has a feature {tuple(self.feature.shape)}, the model gives "
                f"{tuple(logits.shape)}; take the feature from the same model"
            )
        unit = normalize(feature.detach().float().to(logits.device), dim=-1).expand(logits.shape[0], -1)
        return self._bound(unit)

    def _bound(self, unit: Tensor) -> ResolvedTarget:
        def function(output: Any, features: Tensor) -> Tensor:
            return self.scale * (normalize(features.float(), dim=-1) * unit).sum(1) + self.bias

        return ResolvedTarget(self.name, None, function, lambda index: self._bound(unit[index]))

    def describe(self) -> str:
        return self.name


@dataclass(frozen=True)
class Text(Target):
    """How much of a sentence is in the picture, for CLIP and SigLIP: the model's own score of picture and text.

    Example:
        >>> Text("a photo of a dog").describe()  # vs.explain(clip, pictures, target="text: a photo of a dog")
        'text: a photo of a dog'
    """

    sentence: str
    needs_classifier = False

    def bind(self, model: AskedModel) -> Target:
        tower = model.text_tower
        if tower is None:
            raise TargetError(
                f"'{model.source}' has no text side, so '{self.describe()}' cannot be scored; "
                "open a CLIP or SigLIP model with its tokenizer (hf/… or open_clip/…)"
            )
        with torch.no_grad():
            feature = tower.encode([self.sentence])[0]
        return Similarity(feature, self.describe(), tower.logit_scale, tower.logit_bias)

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        raise TargetError(f"target '{self.describe()}' needs its model; give it to vit.trace or vs.explain")

    def describe(self) -> str:
        return f"text: {self.sentence}"


@dataclass(frozen=True)
class Picture(Target):
    """Likeness of the output to another picture's: cosine of the two features (or logits).

    Example:
        >>> import vitscope as vs
        >>> vit, (one, other) = vs.open_model("bundled/shapes"), vs.worlds.demo_pictures(2).images()
        >>> vs.explain(vit, [one], "daam", Picture(other)).maps.shape
        torch.Size([1, 12, 12])
    """

    picture: Any
    needs_classifier = False

    def bind(self, model: AskedModel) -> Target:
        return Similarity(model.forward([self.picture])[0], self.describe())

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        raise TargetError(f"target '{self.describe()}' needs its model; give it to vit.trace or vs.explain")

    def describe(self) -> str:
        return f"picture:{self.picture}" if isinstance(self.picture, str) else "picture"
