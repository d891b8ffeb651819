"""Learn the attention patterns of one or several models: collect maps, fit an atlas, place shuffled weights in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.atlas.autoencoder import AutoencoderOptions
from vitscope.heads.atlas.collecting import collect_maps
from vitscope.heads.atlas.display import Display
from vitscope.heads.atlas.fitting import ChosenCoder, OpenShare, fit_atlas
from vitscope.heads.atlas.sampling import Form
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
    """The attention patterns of a ViT (or several, also with different grids) on pictures.

    Args:
        vit: One opened model, or several.
        images: Pictures in any form that ``vitscope.pictures.picture_source`` takes; at least two.
        per_head: At most so many pictures' maps per (block, head); which ones depends on their keys and ``seed``, not
            on their order.
        form: "pooled" (49 x 49) or "offset" (27 x 27).
        coder: "autoencoder", "pca", or "best" on held-out pictures.
        k: Number of clusters; None chooses it by bootstrap stability.
        options: How the autoencoder is built and trained.
        held_out: Share of the pictures that judge the coders.
        repeats: Seeds for the stability (0 skips it).
        stability_maps: At most so many training maps in each of those repetitions.
        display: "umap" or "pca", for looking only.
        null: Also place the maps of the same model with shuffled weights.
        batch_size: Pictures of a batch. Changes no result.
        seed: Of the draw of the maps.
        checkpoint: A folder that keeps every finished part and every finished epoch of training; a run that was
            stopped goes on from them when it is called again with the same models, pictures and options. Yours to
            remove afterwards.
        progress: Told how far it is, and asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The atlas, which can be saved and can place further pictures.

    Raises:
        HeadsError: unknown options, numbers out of bounds, or fewer than two pictures.
        PictureError: a picture that cannot be read.

    Example:
        ``vs.heads.patterns(vit, "photos", checkpoint="unfinished").save("atlas")``
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
