"""Head scores from one trace: GMAR, DAAM, gradient-weighted attention, first order, distance.

All come from one forward and one backward pass per batch. Together with the exact pruning metrics they are what
`agreement` compares.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from vitscope.heads.distance.strength_parts import SCALARS, trace_profiles
from vitscope.heads.errors import HeadsError
from vitscope.heads.origin import Origin, heads_recipe
from vitscope.heads.per_picture import PerPicture, Rows, go_through
from vitscope.heads.pruning.first_order import first_order_scores
from vitscope.heads.pruning.importance import importance
from vitscope.heads.pruning.means import Replacement, first_sites
from vitscope.heads.rankings.agreement import Agreement, agree
from vitscope.heads.rankings.bootstrap import Resample
from vitscope.heads.table import HeadTable
from vitscope.methods.daam import daam, daam_sites
from vitscope.methods.gmar import head_weights
from vitscope.options.bounds import BatchSize, Count, Folder, Names, Seed
from vitscope.options.door import checked
from vitscope.pictures import Batch, Images, Labels, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.tracing import Trace, Vit
from vitscope.tracing.calls.callers_switches import unaffected

SCORES: Mapping[str, str] = {
    "first_order": "first order, |<T, dT>|",
    "gmar_weight": "GMAR weight (within its block)",
    "gmar_norm": "GMAR gradient norm (all blocks)",
    "daam_share": "DAAM share (within its block)",
    "daam_mass": "DAAM share of the whole map",
    "gradient_attention": "sum of relu(G * A)",
    "expected_distance": "expected distance",
    "entropy": "attention entropy",
}

DEFAULT_AGREEMENT = (
    "probability_drop_label",
    "probability_drop_top",
    "js_divergence",
    "logit_drop_top",
    "class_cosine_block",
    "class_cosine_last",
    "patch_l2_block",
    *SCORES,
)


def trace_scores(trace: Trace) -> dict[str, Tensor]:
    """Every score of SCORES that applies to this model, each (B, L, H) on the CPU; NaN where a head has none."""
    sites = first_sites(trace.sites)
    L, H = len(sites), max(site.heads for site in sites)
    blocks = [int(site.info.block or 0) for site in sites]
    scores = {"first_order": first_order_scores(trace).abs()}
    norms = torch.full((trace.batch, L, H), torch.nan)
    weighted = torch.full((trace.batch, L, H), torch.nan)
    for row, site in enumerate(sites):
        norms[:, row, : site.heads] = site.gradient_norm(1).cpu()
        total = torch.zeros(site.batch, site.heads, device=site.output.device)
        for queries in site.chunks():
            total += (site.attention_gradient(queries) * site.attention(queries)).clamp_min(0).sum((-2, -1))
        weighted[:, row, : site.heads] = total.cpu()
    scores["gmar_norm"], scores["gradient_attention"] = norms, weighted
    if trace.anatomy.why_no_row() is None:
        weights = head_weights(trace).cpu()
        scores["gmar_weight"] = _rows(weights, list(range(weights.shape[1])), L, H)
        found = daam(trace).extras
        where = [blocks.index(int(site.info.block or 0)) for site in daam_sites(trace)]
        mass = found["block_maps"].sum(-1)
        total_mass = mass.sum(1, keepdim=True).clamp_min(1e-12)
        scores["daam_share"] = _rows(found["head_share"].cpu(), where, L, H)
        scores["daam_mass"] = _rows((found["head_share"] * (mass / total_mass)[..., None]).cpu(), where, L, H)
    try:
        profiles, profiled = trace_profiles(trace)
    except HeadsError:
        return scores
    for name in SCALARS:
        if name in SCORES:
            scores[name] = _rows(
                getattr(profiles, name).float().cpu(), [blocks.index(b) for b in profiled], L, H
            )
    return scores


def _rows(values: Tensor, rows: list[int], L: int, H: int) -> Tensor:
    """values (B, l, h) put into rows of a (B, L, H) tensor of NaN."""
    if values.shape[1] != len(rows) or max(rows, default=0) >= L:
        return torch.full((values.shape[0], L, H), torch.nan)
    full = torch.full((values.shape[0], L, H), torch.nan)
    for position, row in enumerate(rows):
        full[:, row, : values.shape[2]] = values[:, position]
    return full


@checked(HeadsError)
@unaffected
def head_scores(
    vit: Vit,
    images: Images,
    *,
    batch_size: BatchSize = 16,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> HeadTable:
    """Scores of heads that need one forward and one backward pass: GMAR, DAAM, first order, distance, entropy.

    All are for the predicted class.

    Args:
        vit: The opened model.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        batch_size: Pictures in a batch; it changes time and memory, not the result.
        checkpoint: A folder that keeps every finished part; a stopped run continues from it.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        A table (n, L, H) for each score of ``vs.heads.SCORES`` that the model has.

    Raises:
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> vs.heads.head_scores(vit, vs.worlds.world("shapes").sample(2, seed=1).images())["gmar_weight"].shape
        (2, 6, 4)

    Source: GMAR, arXiv 2504.19414; DAAM, arXiv 2503.14640; the first-order score is |⟨T_h, dT_h⟩|.
    """
    source = picture_source(images)
    made = heads_recipe(vit, source, "head scores", {})
    stage = CountedStage(progress, "head scores", len(source), checkpoint=checkpoint)

    def measure(batch: Batch) -> Rows:
        return Rows.of(batch, trace_scores(vit.trace(batch.images, keys=batch.keys)))

    analysis = PerPicture(made, measure, batch_size, stage)
    found = go_through(analysis, vit, source, batch_size, stage, checkpoint)
    metadata = {
        "analysis": "scores",
        "model": vit.source,
        "fingerprint": made.model["fingerprint"],
        "pictures": len(found.keys),
    }
    return HeadTable(found.values, found.keys, metadata, Origin(made, found.ids, dict(source.skipped)))


@checked(HeadsError)
@unaffected
def agreement(
    vit: Vit,
    images: Images,
    labels: Labels | None = None,
    *,
    table: HeadTable | None = None,
    scores: Names | None = None,
    replacement: Replacement = "zero",
    resample: Resample = "pictures",
    rounds: Count = 300,
    batch_size: BatchSize = 16,
    seed: Seed = 0,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> Agreement:
    """How far scores of heads agree: exact pruning, GMAR, DAAM, first order, distance and entropy, on pictures.

    Args:
        vit: The opened model.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        labels: (n,) one class index per picture; None leaves out the metrics of the label.
        table: Importance of the same pictures, when it is known already.
        scores: Which columns; None takes all that the model has.
        replacement: What stands in for a head, as for :func:`importance`.
        resample: What the intervals are over, see :func:`agree`.
        rounds: Bootstrap repetitions.
        batch_size: Pictures in a batch; it changes time and memory, not the result.
        seed: Seed of the bootstrap.
        checkpoint: A folder that keeps every finished part; a stopped run continues from it.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The rank correlations. The scores of every picture are kept, so shards can be merged.

    Raises:
        HeadsError: A table of other pictures, an unknown score, or numbers out of bounds.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> vs.heads.agreement(vit, pictures, scores=["js_divergence", "gmar_weight"], rounds=5).names
        ('js_divergence', 'gmar_weight')
    """
    source = picture_source(images, labels=labels)
    if table is None:
        table = importance(
            vit,
            source,
            replacement=replacement,
            gradient=False,
            batch_size=batch_size,
            checkpoint=checkpoint,
            progress=progress,
        )
    extra = head_scores(vit, source, batch_size=batch_size, checkpoint=checkpoint, progress=progress)
    shared = set(extra.pictures) & set(table.pictures)
    apart = set(extra.pictures) ^ set(table.pictures)
    if not shared or any(key not in source.skipped for key in apart):
        raise HeadsError(
            f"expected importance of the same {len(extra.pictures)} pictures, got a table of {len(table.pictures)}; "
            "compute it on the same folder"
        )
    table, extra = table.only(shared), extra.only(table.pictures)
    joined = table.with_columns(dict(extra.values))
    chosen = scores or tuple(
        name for name in DEFAULT_AGREEMENT if name in joined.values and np.isfinite(joined[name]).any()
    )
    return agree(joined, chosen, resample=resample, rounds=rounds, seed=seed, progress=progress)
