"""Mean head outputs over a data set: what stands in for a head in mean ablation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.heads.measuring import measured
from vitscope.heads.origin import Origin, heads_recipe
from vitscope.heads.per_picture import go_through
from vitscope.heads.pruning.output_means import KIND as NAME
from vitscope.heads.pruning.output_means import MeanOutputs
from vitscope.heads.spatial_sites import head_grid
from vitscope.options.bounds import BatchSize, Folder
from vitscope.options.door import checked
from vitscope.pictures import Batch, Images, PictureSource, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.storage import tensors
from vitscope.storage.recipe import Recipe
from vitscope.sums.moments import ExactSum
from vitscope.tracing import AttentionSite, Vit
from vitscope.tracing.calls.callers_switches import unaffected

FILE = "sums.safetensors"
Replacement = Literal["zero", "mean", "mean-per-query"] | Tensor | MeanOutputs
"""What stands in for a head: nothing, its mean over all pictures (and queries), or means that are given."""


@dataclass(frozen=True)
class OutputSums:
    """Sum over pictures of the outputs of all heads, (L, H, d) or (L, H, N, d). keys, ids: of the pictures."""

    total: ExactSum
    keys: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeadOutputs:
    """Sums of head outputs as an :class:`~vitscope.analysis.Analysis`; any split and order gives the same bits."""

    made: Recipe
    per_query: bool
    batch_size: int
    stage: CountedStage
    name: str = NAME

    def recipe(self, vit: Vit, source: PictureSource) -> Recipe:
        """What makes the result of the whole."""
        return self.made

    def prepare(self, vit: Vit, source: PictureSource) -> Vit:
        """Nothing has to be known of all pictures."""
        return vit

    def run(self, prepared: Vit, shard: PictureSource) -> OutputSums:
        """The sums over some of the pictures."""
        total = ExactSum()
        keys: list[str] = []
        ids: list[str] = []

        def outputs_of(batch: Batch) -> tuple[Batch, Tensor]:
            sites = first_sites(prepared.trace(batch.images, gradient=False, keys=batch.keys).sites)
            self._check(sites)
            outputs = [
                site.output.double() if self.per_query else site.output.double().mean(2) for site in sites
            ]
            return batch, torch.stack([output.cpu() for output in outputs], 1)

        for batch, found in measured(prepared, shard, self.batch_size, outputs_of, self.stage):
            total.add(found)
            keys += batch.keys
            ids += batch.ids
        return OutputSums(total, tuple(keys), tuple(ids))

    def merge(self, prepared: Vit, parts: Iterable[OutputSums]) -> OutputSums:
        """The sums over all pictures."""
        total = ExactSum()
        keys: list[str] = []
        ids: list[str] = []
        for part in parts:
            if part.keys:
                total.merge(part.total)
                keys += part.keys
                ids += part.ids
        return OutputSums(total, tuple(keys), tuple(ids))

    def encode(self, part: OutputSums) -> Mapping[str, bytes]:
        """One file."""
        arrays = {"high": part.total.high, "low": part.total.low}
        return {FILE: tensors.encode(NAME, arrays, {"keys": part.keys, "ids": part.ids})}

    def decode(self, files: Mapping[str, bytes]) -> OutputSums:
        """What ``encode`` made, back."""
        arrays, note = tensors.decode(files[FILE], FILE, NAME)
        keys, ids = (tuple(str(text) for text in note[name]) for name in ("keys", "ids"))
        return OutputSums(ExactSum(arrays["high"], arrays["low"]), keys, ids)

    def _check(self, sites: list[AttentionSite]) -> None:
        shapes = {tuple(site.output.shape[1:]) for site in sites}
        if len({shape[::2] for shape in shapes}) != 1 or (self.per_query and len(shapes) != 1):
            raise HeadsError(
                f"expected blocks of equal heads and widths, got (heads, queries, width) in {sorted(shapes)}; "
                "use replacement zero" + (" or per_query=False" if self.per_query else "")
            )


@checked(HeadsError)
@unaffected
def mean_outputs(
    vit: Vit,
    images: Images,
    *,
    per_query: bool = False,
    batch_size: BatchSize = 16,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
    model: Mapping[str, Any] | None = None,
) -> MeanOutputs:
    """The mean output of every head over pictures, for mean ablation.

    Args:
        vit: The opened model.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        per_query: True keeps one mean for each query position; False averages over queries.
        batch_size: Pictures in a batch; it changes time and memory, not the result.
        checkpoint: A folder that keeps every finished part; a stopped run continues from it.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.
        model: The model's part of the recipe, when it is known already.

    Returns:
        The means, (L, H, d) or, with ``per_query``, (L, H, N, d); pass them as ``replacement=`` to :func:`importance`.
        Memory does not grow with the pictures.

    Raises:
        HeadsError: Blocks have different heads or widths, so that one tensor cannot hold their means.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> outputs = vs.heads.mean_outputs(vit, vs.worlds.world("shapes").sample(2, seed=1).images())
        >>> tuple(outputs.means.shape)
        (6, 4, 32)
    """
    source = picture_source(images)
    made = heads_recipe(vit, source, NAME, {"per_query": per_query}, model=model)
    stage = CountedStage(progress, NAME, len(source), checkpoint=checkpoint)
    analysis = HeadOutputs(made, per_query, batch_size, stage)
    found = go_through(analysis, vit, source, batch_size, stage, checkpoint)
    return MeanOutputs(found.total, found.keys, Origin(made, found.ids, dict(source.skipped)))


def check_replacement(vit: Vit, replacement: Replacement) -> None:
    """Raise HeadsError for means of a wrong shape or that are not finite."""
    if not isinstance(replacement, str):
        replacement = means_of(replacement)
        L, H = head_grid(vit.anatomy)
        if replacement.dim() not in (3, 4) or tuple(replacement.shape[:2]) != (L, H):
            raise HeadsError(
                f"expected means of shape ({L}, {H}, d) or ({L}, {H}, N, d), got {tuple(replacement.shape)}; "
                "make them with vs.heads.mean_outputs on this model"
            )
        if not bool(torch.isfinite(replacement).all()):
            raise HeadsError(
                "expected finite means, got NaN or infinity; make them with vs.heads.mean_outputs on this model"
            )


def replacement_means(
    vit: Vit,
    source: PictureSource,
    replacement: Replacement,
    batch_size: int,
    progress: Progress | None = None,
    checkpoint: Folder | None = None,
    model: Mapping[str, Any] | None = None,
) -> Tensor | None:
    """What stands in for heads, prepared over all pictures: None for zero, else the means."""
    check_replacement(vit, replacement)
    if not isinstance(replacement, str):
        return means_of(replacement)
    if replacement == "zero":
        return None
    return mean_outputs(
        vit,
        source,
        per_query=replacement == "mean-per-query",
        batch_size=batch_size,
        checkpoint=checkpoint,
        progress=progress,
        model=model,
    ).means


def means_of(given: Tensor | MeanOutputs) -> Tensor:
    """The tensor of means that stands in for heads."""
    return given.means if isinstance(given, MeanOutputs) else given


def first_sites(sites: list[AttentionSite]) -> list[AttentionSite]:
    """The first site of every block, in block order: what the ablation masks act on."""
    seen: dict[int, AttentionSite] = {}
    for site in sites:
        if site.info.block is not None:
            seen.setdefault(site.info.block, site)
    return [seen[block] for block in sorted(seen)]
