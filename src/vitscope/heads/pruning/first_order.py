"""First-order head scores: all heads from one forward and one backward.

I_h = |<T_h, dT_h>| (sheet, "Agreement"; Michel, Levy and Neubig 2019 for the idea): the first-order change of the
score when head h's output is scaled to zero. With a mean replacement m the same is |<T_h - m_h, dT_h>|.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.heads.pruning.means import first_sites
from vitscope.tracing import Trace


def first_order_scores(trace: Trace, replacement: Tensor | None = None) -> Tensor:
    """Signed <T_lh - m_lh, dT_lh>, (B, L, H) float32: the predicted drop of the score when the head is replaced.

    The absolute value is I_h. Heads that a block does not have are NaN. Needs a trace with gradient.
    """
    if not trace.has_gradient:
        raise HeadsError("expected a trace with a gradient, got one without; take it with gradient=True")
    sites = first_sites(trace.sites)
    most = max(site.heads for site in sites)
    scores = torch.full((trace.batch, len(sites), most), torch.nan)
    for index, site in enumerate(sites):
        gradient = site.output_gradient
        assert gradient is not None
        output = site.output.float()
        if replacement is not None:
            mean = replacement[index].to(output)
            output = output - (mean[:, None] if mean.dim() == 2 else mean)
        found = (output * gradient.float()).sum(
            (-2, -1)
        )  # of attention in windows a row per window, picture by picture
        scores[:, index, : site.heads] = found.reshape(trace.batch, -1, site.heads).sum(1).cpu()
    return scores
