"""Learn the attention patterns of one or several models: collect maps, fit an atlas, place shuffled weights in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.atlas.autoencoder import AutoencoderOptions
from vitscope.heads.atlas.canonical import Form
from vitscope.heads.atlas.collecting import collect_maps
from vitscope.heads.atlas.display import Display
from vitscope.heads.atlas.fitting import ChosenCoder, OpenShare, fit_atlas
from vitscope.heads.errors import HeadsError
from vitscope.options.bounds import BatchSize, Count, Folder, Items, Range, Seed
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.progress import Progress
from vitscope.tracing import Vit
from vitscope.tracing.calls.callers_switches import unaffected


@checked(HeadsError)
@unaffected
def patterns(
    vit: Vit | Annotated[Sequence[Vit], Items(1)],
    images: Images,
    *,
    per_head: Count = 100,
    form: Form = "pooled",
    coder: ChosenCoder = "best",
    k: Count | None = None,
    options: AutoencoderOptions | None = None,
    held_out: OpenShare = 0.25,
    repeats: Annotated[int, Range(0, 1000)] = 2,
    stability_maps: Annotated[int, Range(2, 10**9)] = 4000,
    display: Display = "umap",
    null: bool = False,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> PatternAtlas:
    """Learn the attention patterns of a ViT, or of several with different grids, from pictures.

    Attention maps are brought to one canonical form, coded by an autoencoder and by PCA, clustered by k-means and
    named by rules. Both coders are judged on held-out pictures.

    Args:
        vit: One opened model, or several.
        images: Two or more pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        per_head: The largest number of pictures whose maps are kept for each (block, head). Which ones depends on
            their keys and ``seed``, not on their order.
        form: "pooled" (49 x 49 by position) or "offset" (27 x 27 by relative offset).
        coder: "autoencoder", "pca", or "best" on held-out pictures.
        k: Number of clusters; None chooses it by bootstrap stability.
        options: How the autoencoder is built and trained.
        held_out: Share of the pictures (0..1) on which the coders are judged.
        repeats: How many seeds the stability is measured with; 0 leaves it out.
        stability_maps: The largest number of training maps in each repetition.
        display: "umap" or "pca", the layout to look at; it does not affect the clusters.
        null: Also place the maps of the same model with shuffled weights.
        batch_size: Pictures in a batch; it changes time and memory, not the result.
        seed: Seed of the draw of maps.
        checkpoint: A folder that keeps every finished part and every epoch of training. A run that was stopped
            continues from it when it is called again with the same models, pictures and options. It is yours to
            remove.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The atlas, which can be saved and in which further pictures can be placed.

    Raises:
        HeadsError: Unknown options, numbers out of bounds, or fewer than two pictures.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(3, seed=1).images()
        >>> quick = vs.heads.AutoencoderOptions(epochs=1, width=1)
        >>> atlas = vs.heads.patterns(vit, pictures, per_head=2, k=2, repeats=0, display="pca", options=quick)
        >>> len(atlas.patterns), len(atlas.heads)
        (2, 24)

    Source: attention patterns by an autoencoder, Li et al., TVCG 2023, arXiv 2303.13731.
    """
    vits: list[Vit] = [vit] if isinstance(vit, Vit) else list(vit)
    samples = [
        collect_maps(
            v,
            images,
            per_head=per_head,
            batch_size=batch_size,
            seed=seed,
            name=_label(v, vits),
            checkpoint=checkpoint,
            progress=progress,
        )
        for v in vits
    ]
    atlas = fit_atlas(
        samples[0].join(*samples[1:]),
        form=form,
        coder=coder,
        k=k,
        options=options,
        held_out=held_out,
        repeats=repeats,
        stability_maps=stability_maps,
        display=display,
        checkpoint=checkpoint,
        progress=progress,
    )
    if null:
        from vitscope.heads.atlas.shuffled_weights import null_mixes

        atlas = atlas.with_null(
            null_mixes(
                atlas,
                vits[0],
                images,
                per_head=per_head,
                batch_size=batch_size,
                checkpoint=checkpoint,
                progress=progress,
            )
        )
    return atlas


def _label(vit: Vit, vits: list[Vit]) -> str:
    """The model's name, with its fingerprint where two of the models share one."""
    return (
        vit.source
        if sum(v.source == vit.source for v in vits) == 1
        else f"{vit.source}#{vit.fingerprint[:6]}"
    )
