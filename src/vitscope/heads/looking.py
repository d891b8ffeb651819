"""What every head looks at on one picture: one query's row of attention, head by head."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.heads.head_look import HeadLook
from vitscope.heads.origin import Origin, heads_recipe
from vitscope.models.preparing.inputs import drawable
from vitscope.models.token_layout import TokenLayout
from vitscope.options.door import checked
from vitscope.pictures import Images, picture_source
from vitscope.tracing import AttentionSite, Trace, Vit
from vitscope.tracing.calls.callers_switches import unaffected

MEAN = "mean"
"""The query that stands for all: the mean over the tokens that ask."""


@checked(HeadsError)
@unaffected
def look(vit: Vit, picture: Images, *, query: str | int | tuple[int, int] | None = None) -> HeadLook:
    """Show what every head looks at on one picture: the attention of one token, head by head.

    Args:
        vit: The opened model.
        picture: One picture, in any form that :func:`vitscope.pictures.picture_source` takes.
        query: What asks. None: the class token, or in a model without one the mean over all tokens. A prefix token's
            name such as ``"class"`` or ``"distillation"``; ``"mean"``; a patch by row and column, ``(3, 5)`` or
            ``"3,5"``, or by its number row by row. Rows, columns and numbers count from 0.

    Returns:
        The attention on the patches, (L, H, h, w), each entry the share of the query's attention; and on prefix tokens.
        Blocks at which the query does not ask (the patches' blocks of CaiT for the class token) are left out.

    Raises:
        HeadsError: More than one picture; a query that the model does not have; a model whose tokens lie on no one
            grid, or that takes films or texts.
        PictureError: The picture cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> picture = vs.worlds.world("shapes").sample(1, seed=1).images()[0]
        >>> seen = vs.heads.look(vit, picture, query=(3, 5))
        >>> seen.maps.shape, seen.place
        ((6, 4, 12, 12), (3, 5))
        >>> table = vs.heads.look(vit, picture).to_pandas()
        >>> table.loc[0, ["block", "head"]].tolist()
        [0, 0]
    """
    source = picture_source(picture)
    if len(source) != 1:
        raise HeadsError(f"expected one picture to look at, got {len(source)}; look at one after the other")
    batch = next(source.batches(vit, 1))
    trace = vit.trace(batch.images, gradient=False, keys=batch.keys)
    anatomy = trace.anatomy
    if anatomy.layout is None or anatomy.film or anatomy.image_size is None:
        reason = anatomy.why_no_tokens() or "its input is no picture"
        raise HeadsError(f"expected a model whose tokens lie on one picture, got {vit.source}: {reason}")
    layout = anatomy.layout
    asked = read_query(query, layout)
    found = [(site, row) for site in trace.sites if (row := _row(site, layout, asked)) is not None]
    if not found:
        raise HeadsError(
            f"expected a query that asks in some block of {vit.source}, got {asked!r}; "
            f"take one of {', '.join((*layout.prefix, MEAN))}, or a patch"
        )
    most = max(row.shape[0] for _, row in found)
    rows = torch.stack([_padded(row, most) for _, row in found])  # (L, H, N)
    made = heads_recipe(vit, source, "look", {"query": asked})
    return HeadLook(
        layout.to_grid(rows[..., layout.prefix_count :]).numpy(),
        rows[..., : layout.prefix_count].numpy(),
        tuple(int(site.info.block or 0) for site, _ in found),
        tuple(layout.prefix),
        asked,
        _shown(trace, vit),
        trace.cells.extent,
        tuple(batch.keys),
        {"analysis": "look", "model": vit.source, "fingerprint": made.model["fingerprint"]},
        Origin(made, tuple(batch.ids), dict(source.skipped)),
    )


def read_query(query: Any, layout: TokenLayout) -> str:
    """The query in the words of a result: a prefix token's name, ``mean``, or ``patch ROW,COLUMN``.

    Raises HeadsError for one that is not there."""
    rows, columns = layout.grid
    known = (
        f"{', '.join((*layout.prefix, MEAN))}, or a patch as row,column from 0,0 to {rows - 1},{columns - 1}"
    )
    if query is None:
        return "class" if "class" in layout.prefix else MEAN
    if isinstance(query, str):
        text = query.strip()
        if text in (*layout.prefix, MEAN):
            return text
        match = re.fullmatch(r"(?:patch\s+)?([0-9]{1,6})(?:\s*,\s*([0-9]{1,6}))?", text)
        if match is None:
            raise HeadsError(f"expected query to be one of {known}, got {text[:60]!r}")
        query = int(match[1]) if match[2] is None else (int(match[1]), int(match[2]))
    if isinstance(query, int):
        query = divmod(query, columns) if 0 <= query < rows * columns else (-1, query)
    row, column = query
    if not (0 <= row < rows and 0 <= column < columns):
        place = f"{column}" if row < 0 else f"{row},{column}"
        raise HeadsError(f"expected query to be one of {known}, got the patch {place}")
    return f"patch {row},{column}"


def _row(site: AttentionSite, layout: TokenLayout, query: str) -> Tensor | None:
    """(H, N) of the first picture, all tokens in their order; None where the query does not ask at this site."""
    if site.info.kind not in ("self", "class") or site.keys not in (layout.tokens, layout.patches):
        return None
    whole = site.queries == layout.tokens
    if query == MEAN:
        total = sum(site.attention(part)[0].sum(1) for part in site.chunks())
        assert isinstance(total, Tensor)
        row = total / site.queries
    elif query in layout.prefix:
        if whole:
            row = site.row(layout.prefix.index(query))[0]
        elif query == "class" and site.class_query is not None:
            row = site.cls_attention()[0]
        else:
            return None
    elif site.info.kind == "self" and (whole or site.queries == layout.patches):
        first, second = (int(part) for part in query.removeprefix("patch ").split(","))
        number = first * layout.grid[1] + second
        row = site.row(number + (layout.prefix_count if whole else 0))[0]
    else:
        return None
    row = row.float().cpu()
    if site.keys == layout.patches and layout.prefix_count:
        row = torch.cat([row.new_zeros(row.shape[0], layout.prefix_count), row], 1)
    return row


def _padded(row: Tensor, heads: int) -> Tensor:
    missing = heads - row.shape[0]
    return torch.cat([row, row.new_full((missing, row.shape[1]), torch.nan)]) if missing else row


def _shown(trace: Trace, vit: Vit) -> Any:
    """The picture as the model saw it, (H, W, 3) uint8."""
    return np.asarray(drawable(trace.images[0].float().cpu(), vit.preprocessor))
