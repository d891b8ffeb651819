"""Which attention sites a spatial analysis can use."""

from __future__ import annotations

from collections.abc import Sequence

from vitscope.heads.errors import HeadsError
from vitscope.models.anatomy import Anatomy
from vitscope.models.token_layout import TokenLayout
from vitscope.tracing import AttentionSite


def spatial_sites(
    sites: Sequence[AttentionSite], layout: TokenLayout | None, source: str
) -> list[AttentionSite]:
    """The sites at which every token asks every token of one grid; others (class attention, windows) are left out.

    Raises HeadsError when there is none, or when the model has no token grid.
    """
    if layout is None:
        raise HeadsError(
            f"expected a model whose tokens lie on one grid, got {source}, whose grid is not known; "
            "pass grid=(h, w) to open_model if you know it"
        )
    tokens = (layout.tokens, layout.patches)
    chosen = [
        site
        for site in sites
        if site.info.kind == "self" and site.queries == site.keys and site.keys in tokens
    ]
    if not chosen:
        kinds = sorted({str(site.info.kind) for site in sites}) or ["no"]
        raise HeadsError(
            f"expected attention from every patch to every patch, got {', '.join(kinds)} attention in {source}; "
            "distance and pattern analyses need a plain ViT (heads importance may still work)"
        )
    longest = max(site.keys for site in chosen)
    return [site for site in chosen if site.keys == longest]


def prefix_of(site: AttentionSite, layout: TokenLayout) -> int:
    """Number of prefix tokens among this site's tokens (CaiT's first blocks see the patches alone)."""
    return layout.prefix_count if site.keys == layout.tokens else 0


def head_grid(anatomy: Anatomy) -> tuple[int, int]:
    """(L, H) of the ablation masks. Raises HeadsError when the model has no heads to switch off."""
    if not anatomy.blocks or not anatomy.heads:
        raise HeadsError(
            f"expected a model with attention heads, got {anatomy.source} in which none was seen; "
            "vitscope inspect says what was"
        )
    return len(anatomy.blocks), anatomy.heads
