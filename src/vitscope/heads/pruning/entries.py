"""Which entries of an attention matrix each part of a head is: rows, columns, patches so many hops apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from vitscope.heads.distance.hops import grid_geometry
from vitscope.heads.errors import HeadsError
from vitscope.models.token_layout import TokenLayout

HopPart = Literal["at", "within", "beyond"]
FixedPart = Literal["class_query", "patch_queries", "class_key", "whole_head"]
Part = FixedPart | HopPart | Literal["query"]
HOP_PARTS: tuple[HopPart, ...] = get_args(HopPart)
FIXED_PARTS: tuple[FixedPart, ...] = get_args(FixedPart)
PARTS = (*FIXED_PARTS, *HOP_PARTS, "query")


def entry_mask(
    part: str,
    layout: TokenLayout,
    *,
    k: int | None = None,
    query: int | None = None,
    distance: str = "chebyshev",
) -> Tensor:
    """(N, N) bool, True where the attention entry (query, key) is taken away.

    at / within / beyond: entries between patches whose hop distance is exactly / at most / at least k. query: the row
    of one patch (0 ... P-1, row-major). whole_head: every entry.
    """
    N, start = layout.tokens, layout.prefix_count
    mask = torch.zeros(N, N, dtype=torch.bool)
    if part in ("class_query", "class_key"):
        if layout.class_index is None:
            raise HeadsError(
                f"expected a model with a class token for {part}, got none; use patch_queries or hops"
            )
        if part == "class_query":
            mask[layout.class_index] = True
        else:
            mask[:, layout.class_index] = True
    elif part == "patch_queries":
        mask[start:] = True
    elif part == "whole_head":
        mask[:] = True
    elif part in HOP_PARTS:
        geometry = grid_geometry(layout.grid, distance)
        if k is None or not 0 <= k < geometry.rings:
            raise HeadsError(
                f"expected a hop count from 0 to {geometry.rings - 1}, got {k}; choose k in that range"
            )
        hops = geometry.hops
        mask[start:, start:] = hops == k if part == "at" else hops <= k if part == "within" else hops >= k
    elif part == "query":
        if query is None or not 0 <= query < layout.patches:
            raise HeadsError(
                f"expected a patch from 0 to {layout.patches - 1}, got {query}; count row by row"
            )
        mask[start + query] = True
    else:
        raise HeadsError(f"expected a part among {', '.join(PARTS)}, got {part!r}; choose one of them")
    return mask


def steps_and_masks(
    layout: TokenLayout | None,
    source: str,
    parts: Sequence[str],
    queries: Sequence[int],
    hops: Sequence[int] | None,
    distance: str,
) -> tuple[list[tuple[str, int]], Tensor]:
    """The (part, k or query, or -1) of each step, and the entries that it takes away, (steps, N, N) bool.

    Raises HeadsError for a model without a patch grid, and for a part or k that does not exist."""
    if layout is None:
        raise HeadsError(f"expected a model with a patch grid, got {source}; pass grid=(h, w) to open_model")
    steps: list[tuple[str, int]] = []
    rings = grid_geometry(layout.grid, distance).rings
    for part in parts:
        if part == "query":
            continue
        if part in ("class_query", "class_key") and layout.class_index is None and len(parts) > 1:
            continue  # the default list asks for what a model without class token does not have
        steps += (
            [(part, k) for k in (hops if hops is not None else range(rings))]
            if part in HOP_PARTS
            else [(part, -1)]
        )
    steps += [("query", int(query)) for query in queries]
    if not steps:
        raise HeadsError("expected at least one part or query to take away, got none; name one of PARTS")
    masks = [
        entry_mask(
            part,
            layout,
            k=k if part in HOP_PARTS else None,
            query=k if part == "query" else None,
            distance=distance,
        )
        for part, k in steps
    ]
    return steps, torch.stack(masks)
