"""What opening a model gives: the module and everything that is known about it without running it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from vitscope.models.preparing.preprocessor import Preprocessor

OutputKind = Literal["logits", "embedding", "unknown"]


@dataclass
class LoadedModel:
    """A model ready to be traced.

    source: where it came from, such as ``timm/deit_tiny_patch16_224``; family: the architecture's short name;
    preprocessor: None when it is not known how pictures are prepared; class_names: one per class, None when unknown;
    image_size: (H, W) to probe with, None when unknown; output: whether the output's last axis are classes
    (``logits``) or features (``embedding``); weights: ``random``, ``pretrained``, ``given``, or the file's path;
    notes: remarks worth showing, each one line; extras: what only one source has (``text``: a ``TextTower``,
    ``tokenizer``, ``config``, ``card`` ...).
    """

    module: nn.Module
    source: str
    family: str
    preprocessor: Preprocessor | None = None
    class_names: list[str] | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None
    output: OutputKind = "unknown"
    weights: str = "given"
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TextTower:
    """The text side of a contrastive model, for explaining "how much of this sentence is in the picture".

    encode: T sentences to unit vectors (T, D) in the space of the picture embedding (B, D); the model's own score
    of picture and sentence is ``logit_scale * cosine + logit_bias``.
    """

    encode: Callable[[Sequence[str]], Tensor]
    logit_scale: float
    logit_bias: float
    module: nn.Module
