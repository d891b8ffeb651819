"""What the page must show, from the Python API: numbers as explanations and traces give them, colours as drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import vitscope as vs
from vitscope.rendering.colour import colourise, default_colour
from vitscope.rendering.maps.scaling import scale

SCALINGS = {"linear": "minmax", "sqrt": "sqrt", "rank": "rank"}


def colours(values: Any, signed: bool, curve: str = "linear") -> NDArray[np.uint8]:
    """RGB of each cell of a map that stands alone."""
    scaled = scale(np.asarray(values, dtype=np.float32), "signed" if signed else SCALINGS[curve])
    return colourise(scaled.values, default_colour(signed))


def without(vit: vs.Vit, heads: Sequence[tuple[int, int]]) -> vs.HeadAblation:
    """These heads (block, head) switched off."""
    keep = torch.ones(1, len(vit.anatomy.blocks), vit.anatomy.heads)
    for block, head in heads:
        keep[0, block, head] = 0
    return vs.HeadAblation(keep)


def probabilities(vit: vs.Vit, picture: Path, heads: Sequence[tuple[int, int]] = ()) -> NDArray[np.float32]:
    """The model's answer, (C,), without some heads."""
    logits = vit.forward([picture], ablation=without(vit, heads)) if heads else vit.forward([picture])
    found: NDArray[np.float32] = logits[0].softmax(-1).detach().numpy()
    return found


def attention_map(vit: vs.Vit, picture: Path, block: int, patch: int, direction: str) -> NDArray[np.float32]:
    """What a patch looks at in a block, or who looks at it: the mean over heads, on the grid."""
    layout = vit.anatomy.layout
    assert layout is not None
    matrix = vit.trace([picture], gradient=False).sites[block].attention()[0].mean(0)  # (N, N)
    before = layout.prefix_count
    row = matrix[before + patch] if direction == "out" else matrix[:, before + patch]
    found: NDArray[np.float32] = row[before:].reshape(layout.grid).numpy()
    return found


def cover(values: Any, signed: bool) -> NDArray[np.uint8]:
    """How much of the photograph each cell covers at full opacity, 0 to 255."""
    position = scale(np.asarray(values, dtype=np.float32), "signed" if signed else "minmax").values
    share = np.abs(2 * position.astype(np.float64) - 1) if signed else position.astype(np.float64)
    found: NDArray[np.uint8] = np.floor(255 * share + 0.5).astype(np.uint8)
    return found
