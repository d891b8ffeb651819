"""Mean head outputs over a data set: what mean ablation puts in the place of a head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vitscope.heads.batches import Progress, picture_source, quiet
from vitscope.heads.problems import HeadsError
from vitscope.tracing import AttentionSite, Vit


def mean_outputs(
    vit: Vit, images: Any, *, per_query: bool = False, batch_size: int = 16, progress: Progress = quiet
) -> Tensor:
    """Mean of every head's output T_lh over pictures (and queries, unless `per_query`).

    Shape (L, H, d), or (L, H, N, d) with per_query, float32 on the CPU: what `replacement=` takes. Constant memory.
    Raises HeadsError when blocks have different heads or widths: one mean tensor cannot hold them.
    """
    source = picture_source(images)
    total: Tensor | None = None
    done = 0
    for batch in source.batches(vit, batch_size):
        trace = vit.trace(batch.pixels, gradient=False)
        sites = first_sites(trace.sites)
        shapes = {tuple(site.output.shape[1:]) for site in sites}
        if len({shape[::2] for shape in shapes}) != 1 or (per_query and len(shapes) != 1):
            raise HeadsError(
                f"expected blocks of equal heads and widths, got (heads, queries, width) in {sorted(shapes)}; "
                "use replacement zero" + (" or per_query=False" if per_query else "")
            )
        sums = torch.stack(
            [
                (site.output.double().sum(0) if per_query else site.output.double().mean(2).sum(0)).cpu()
                for site in sites
            ]
        )
        total = sums if total is None else total + sums
        done += len(batch.names)
        progress("mean head outputs", done, len(source))
    assert total is not None
    return (total / done).float()


def first_sites(sites: list[AttentionSite]) -> list[AttentionSite]:
    """The first site of every block, in block order: what the ablation masks act on."""
    seen: dict[int, AttentionSite] = {}
    for site in sites:
        if site.info.block is not None:
            seen.setdefault(site.info.block, site)
    return [seen[block] for block in sorted(seen)]
