"""Attention of one picture as it was seen: one token's row or column of every head, or one head's whole matrix."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from vitscope.app.answers.maps import Arrays
from vitscope.errors import TraceError
from vitscope.heads.looking import MEAN, read_query
from vitscope.models.token_layout import TokenLayout
from vitscope.tracing import AttentionSite, Trace

Direction = Literal["out", "in"]
CLASS = "cls"
"""The class token, or in a model without one the mean over all tokens."""


def rows_answer(
    trace: Trace, block: int, query: str = CLASS, direction: Direction = "out"
) -> tuple[Arrays, dict[str, Any]]:
    """What one token looks at (``out``), or who looks at it (``in``), in every head of one block.

    Args:
        trace: Of one picture.
        block: From 0.
        query: ``cls``, the name of a prefix token, ``mean``, or a patch's number row by row.
        direction: Its row, or its column.

    Returns:
        ``rows`` (H, N) float32, over all tokens in their order, prefix tokens first.

    Raises:
        TraceError: Such attention was not seen in that block.
        HeadsError: There is no such token.
    """
    layout = trace.layout
    site = _site(trace, block)
    named = read_query(None if query == CLASS else query, layout)
    if named == MEAN:
        values = site.attention()[0].mean(1 if direction == "out" else 2)
    elif direction == "out":
        values = site.row(_place(site, layout, named, site.queries, "asks"))[0]
    else:
        values = site.attention()[0, :, :, _place(site, layout, named, site.keys, "is asked")]
    head = {
        "block": block,
        "query": named,
        "direction": direction,
        "heads": site.heads,
        "prefix": layout.prefix_count if values.shape[-1] == layout.tokens else 0,
        "prefix_names": list(layout.prefix),
        "grid": list(layout.grid),
    }
    return {"rows": np.asarray(values.float().cpu().numpy(), np.float32)}, head


def matrix_answer(trace: Trace, block: int, head: int) -> tuple[Arrays, dict[str, Any]]:
    """One head's attention matrix in 8 bits: row i is ``matrix[i] / 255 * scale[i]``.

    Args:
        trace: Of one picture.
        block: From 0.
        head: From 0.

    Returns:
        ``matrix`` (Nq, Nk) uint8 and ``scale`` (Nq,) float32, the largest value of each row.

    Raises:
        TraceError: There is no such head, or no such attention was seen.
    """
    site, layout = _site(trace, block), trace.layout
    if not 0 <= head < site.heads:
        raise TraceError(
            f"block {block} has heads from 0 to {site.heads - 1}, got {head}; choose one of them"
        )
    values = np.asarray(site.attention(heads=slice(head, head + 1))[0, 0].float().cpu().numpy(), np.float32)
    scale = values.max(1)
    shares = np.divide(values, scale[:, None], out=np.zeros_like(values), where=scale[:, None] > 0)
    matrix = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    known = {
        "block": block,
        "head": head,
        "prefix": layout.prefix_count if values.shape[1] == layout.tokens else 0,
        "prefix_names": list(layout.prefix),
        "grid": list(layout.grid),
    }
    return {"matrix": matrix, "scale": scale}, known


def _site(trace: Trace, block: int) -> AttentionSite:
    found = [site for site in trace.sites if site.info.block == block]
    if not found:
        raise TraceError(
            f"there is no attention in block {block}; the model has blocks 0 to {len(trace.anatomy.blocks) - 1}"
        )
    site = found[0]
    layout = trace.layout
    if site.info.kind not in ("self", "class") or site.keys not in (layout.tokens, layout.patches):
        raise TraceError(
            f"the attention of block {block} is {site.info.kind} attention, which has no row over the tokens; "
            "choose another block"
        )
    return site


def _place(site: AttentionSite, layout: TokenLayout, named: str, length: int, does: str) -> int:
    """Where a token stands among the queries or the keys of a site. Raises TraceError where it is none of them."""
    with_prefix = length == layout.tokens
    if named in layout.prefix:
        if with_prefix:
            return layout.prefix.index(named)
        if named == "class" and does == "asks" and site.class_query is not None:
            return site.class_query
    elif with_prefix or length == layout.patches:
        row, column = (int(part) for part in named.removeprefix("patch ").split(","))
        number = row * layout.grid[1] + column
        return number + (layout.prefix_count if with_prefix else 0)
    raise TraceError(f"no {named} token {does} in block {site.info.block}; choose another token or block")
