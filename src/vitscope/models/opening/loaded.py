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

    Example:
        >>> from vitscope.models import load_model
        >>> found = load_model("bundled/shapes")
        >>> found.source, found.image_size, found.class_names[:2]
        ('bundled/shapes', (96, 96), ['disc', 'square'])
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

    Example:
        >>> import torch
        >>> from vitscope.models import TextTower
        >>> words = torch.nn.Embedding(2, 4)
        >>> def encode(sentences):  # a real tower reads the sentences; this one knows two words
        ...     places = torch.tensor(["dog" in each for each in sentences]).long()
        ...     return torch.nn.functional.normalize(words(places), dim=-1)
        >>> TextTower(encode, logit_scale=100.0, logit_bias=0.0, module=words).encode(["a cat", "a dog"]).shape
        torch.Size([2, 4])
    """

    encode: Callable[[Sequence[str]], Tensor]
    logit_scale: float
    logit_bias: float
    module: nn.Module
