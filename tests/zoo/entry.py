"""One animal of the zoo: how to build it, and what is true of it, written down by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Entry:
    """A tiny random model and its anatomy.

    size: input (H, W). grid: patches (h, w), None where the tokens lie on no single grid. prefix: names of the
    tokens before the patches. kinds: the kind of each block's first site, in order. readout: token positions with
    a weight in the pooling, None for an attention pooling. classes: None for an embedding. refused: part of the
    reason why token methods do not apply. row_refused: the same for methods that chain rows only.
    fused: the sites go through ``scaled_dot_product_attention``. convolves: patches mix outside attention, so
    removing tokens by masking keys is not exact. text: the input is a mapping of token ids."""

    make: Callable[[], nn.Module]
    size: tuple[int, int] = (64, 64)
    grid: tuple[int, int] | None = (4, 4)
    prefix: tuple[str, ...] = ("class",)
    blocks: int = 2
    heads: int = 3
    width: int = 48
    kinds: tuple[str, ...] = ("self", "self")
    pooling: str = "class"
    classes: int | None = 10
    fused: bool = True
    post_norm: bool = False
    refused: str | None = None
    row_refused: str | None = None
    convolves: bool = False
    text: bool = False
    other_size: tuple[int, int] | None = None
    other_grid: tuple[int, int] | None = None
