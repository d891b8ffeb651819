"""Fit an atlas to collected maps: code them, cluster the codes, name the clusters, judge the coders."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.atlas.autoencoder import AutoencoderOptions
from vitscope.heads.atlas.canonical import Form, from_hellinger
from vitscope.heads.atlas.clustering import choose_clusters, fit_clusters
from vitscope.heads.atlas.coding import (
    CODERS,
    AutoencoderCoder,
    Coder,
    CoderReport,
    decoded,
    fit_coder,
    float_mean,
    split_pictures,
    stability,
    total_variation,
    verdict,
)
from vitscope.heads.atlas.display import Display, layout_codes
from vitscope.heads.atlas.features import uniform_features
from vitscope.heads.atlas.mapping import map_frame
from vitscope.heads.atlas.mixing import cluster_content_dependence, head_mixes
from vitscope.heads.atlas.pattern_names import Pattern, name_pattern, unique_names
from vitscope.heads.atlas.principal import PrincipalCoder
from vitscope.heads.atlas.sampling import MapSample
from vitscope.heads.errors import HeadsError
from vitscope.options.bounds import Count, Folder, Range
from vitscope.options.door import checked
from vitscope.progress import Progress
from vitscope.storage.recipe import Recipe

ChosenCoder = Literal["best", "autoencoder", "pca"]
"""Which coder gives the codes; the best is the one that judges better on held-out pictures."""
OpenShare = Annotated[float, Range(0, 1, above=True, below=True)]
"""A share that is neither nothing nor all."""


@checked(HeadsError)
def fit_atlas(
    sample: MapSample,
    *,
    form: Form = "pooled",
    coder: ChosenCoder = "best",
    k: Count | None = None,
    options: AutoencoderOptions | None = None,
    held_out: OpenShare = 0.25,
    repeats: Annotated[int, Range(0, 1000)] = 2,
    display: Display = "umap",
    stability_maps: Annotated[int, Range(2, 10**9)] = 4000,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> PatternAtlas:
    """Fit an atlas to maps that were collected already: code, cluster, name and judge them.

    The atlas depends on the maps and the options alone.

    Args:
        sample: Canonical maps, see :func:`collect_maps`.
        form: "pooled" (49 x 49 by position) or "offset" (27 x 27 by relative offset).
        coder: "autoencoder", "pca", or "best" on held-out pictures.
        k: Number of clusters; None chooses it by bootstrap stability.
        options: How the autoencoder is built and trained.
        held_out: Share of the pictures (0..1) on which the coders are judged.
        repeats: How many seeds the stability is measured with; 0 leaves it out.
        display: "umap" or "pca", the layout to look at; it does not affect the clusters.
        stability_maps: The largest number of training maps in each repetition.
        checkpoint: A folder that keeps every epoch of training; a stopped run continues from it.
        progress: Reports every epoch, every number of clusters that is tried and every repetition, and is asked
            whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The atlas.

    Raises:
        HeadsError: Unknown options, numbers out of bounds, or fewer than two pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> sample = vs.heads.collect_maps(vit, vs.worlds.world("shapes").sample(3, seed=1).images(), per_head=2)
        >>> quick = vs.heads.AutoencoderOptions(epochs=1, width=1)
        >>> vs.heads.fit_atlas(sample, coder="pca", k=3, repeats=0, display="pca", options=quick)
        <PatternAtlas: 48 maps in 3 patterns, coded by pca>
    """
    folder = None if checkpoint is None else Path(checkpoint)
    maps = sample.form(form)
    train, held = split_pictures(sample.picture, held_out, (options or AutoencoderOptions()).seed)
    if k is not None and not 1 <= k <= len(train):
        raise HeadsError(
            f"expected between 1 and {len(train)} clusters for {len(train)} maps, got {k}; change k"
        )
    options = options or AutoencoderOptions()
    latent = options.code_size(len(train))
    options = replace(options, latent=latent)  # the same for every repetition on fewer maps
    fit_options = {
        "form": form,
        "coder": coder,
        "k": k,
        "autoencoder": options,
        "held_out": held_out,
        "repeats": repeats,
        "stability_maps": stability_maps,
        "display": display,
    }
    fitted: dict[str, Coder] = {}
    seconds: dict[str, float] = {}
    for name in CODERS:
        started = time.monotonic()
        fitted[name] = fit_coder(
            name,
            maps[torch.from_numpy(train)],
            maps[torch.from_numpy(held)],
            options,
            checkpoint=folder,
            progress=progress,
            what="training the autoencoder",
        )
        seconds[name] = time.monotonic() - started
    errors = {name: _errors(fitted[name], maps, train, held) for name in CODERS}
    first = coder if coder != "best" else min(CODERS, key=lambda name: errors[name][1])
    codes = fitted[first].encode(maps).numpy()
    choice = (
        None
        if k is not None
        else choose_clusters(codes[train], groups=sample.picture[train], seed=options.seed, progress=progress)
    )
    clusters = k if choice is None else choice.chosen
    assert clusters is not None
    reports = {}
    for name in CODERS:
        seeds, halves = float("nan"), float("nan")
        if repeats > 0:
            seeds, halves = stability(
                name,
                maps,
                sample.picture,
                clusters,
                options,
                share=held_out,
                seeds=repeats,
                limit=stability_maps,
                checkpoint=folder,
                progress=progress,
            )
        reports[name] = CoderReport(name, latent, *errors[name], seeds, halves, seconds[name])
    winner, sentence = verdict(reports["autoencoder"], reports["pca"])
    chosen = winner if coder == "best" else coder
    if chosen != first:
        codes = fitted[chosen].encode(maps).numpy()
    clustering = fit_clusters(codes[train], clusters, options.seed)
    labels = clustering.assign(codes)
    named = _name_clusters(sample, labels, clusters)
    names = unique_names([pattern.name for pattern in named])
    distances = clustering.distances(codes)[np.arange(len(labels)), labels]
    frame = map_frame(sample, labels, distances, names)
    frame["held_out"] = np.isin(np.arange(len(sample)), held)
    xy, how = layout_codes(codes, display, options.seed)
    frame["x"], frame["y"] = xy[:, 0], xy[:, 1]
    autoencoder, principal = fitted["autoencoder"], fitted["pca"]
    assert isinstance(autoencoder, AutoencoderCoder) and isinstance(principal, PrincipalCoder)
    return PatternAtlas(
        autoencoder.model,
        principal,
        chosen,
        form,
        clustering,
        tuple(named),
        decoded(fitted[chosen], clustering.centres, form),
        _examples(maps, labels, clusters, form),
        codes,
        frame,
        head_mixes(sample, labels, names),
        {
            "verdict": sentence,
            "winner": winner,
            "coders": {n: asdict(r) for n, r in reports.items()},
            "clusters": clusters,
            "cluster_rule": "given" if choice is None else choice.rule,
            "cluster_stability": {} if choice is None else {str(n): v for n, v in choice.stability.items()},
            "display": how,
            "options": asdict(options),
            "held_out_share": held_out,
        },
        None,
        {
            "models": [asdict(record) for record in sample.models],
            "maps": len(sample),
            "pictures": len(sample.picture_names),
        },
        replace(sample.origin, recipe=_fitted_recipe(sample, fit_options)),
    )


def _fitted_recipe(sample: MapSample, options: Mapping[str, Any]) -> Recipe:
    """The recipe of an atlas: of its maps, of all models that they came from, and how it was fitted."""
    made = sample.recipe
    models = [[record.name, record.fingerprint] for record in sample.models]
    return replace(made, analysis="patterns", options={**made.options, "models": models, **options})


def _errors(
    coder: Coder, maps: Tensor, train: NDArray[np.int64], held: NDArray[np.int64]
) -> tuple[float, float]:
    """(train, held-out) error as a share of the held-out maps' distance from the training mean."""
    train_maps, held_maps = maps[torch.from_numpy(train)], maps[torch.from_numpy(held)]
    mean = float_mean(train_maps)
    return (
        coder.mean_error(train_maps) / max(1e-12, total_variation(train_maps, mean)),
        coder.mean_error(held_maps) / max(1e-12, total_variation(held_maps, mean)),
    )


def _name_clusters(sample: MapSample, labels: NDArray[np.int64], k: int) -> list[Pattern]:
    dependence = cluster_content_dependence(sample, labels, k)
    grids = [uniform_features(record.grid).numpy() for record in sample.models]
    uniform = np.stack(grids).astype(np.float32)  # (models, 12)
    named = []
    for cluster in range(k):
        members = labels == cluster
        if not members.any():
            named.append(Pattern(cluster, "empty", "no map is nearest to this centre", 0, float("nan")))
            continue
        # Grids differ between models: the yardstick is the mean of the members' own uniform features.
        base = uniform[sample.model[members]].mean(0)
        # The median, so that a few stray maps in a cluster do not rename it.
        name = name_pattern(np.median(sample.features[members], 0), base, float(dependence[cluster]))
        named.append(
            Pattern(cluster, name.name, name.because, int(members.sum()), float(dependence[cluster]))
        )
    return named


def _examples(maps: Tensor, labels: NDArray[np.int64], k: int, form: str) -> Tensor:
    """(k, side, side): mean of each cluster's maps, as distributions; zeros for an empty cluster."""
    result = torch.zeros(k, *maps.shape[1:])
    for cluster in range(k):
        members = torch.from_numpy(np.flatnonzero(labels == cluster))
        if len(members):
            total = torch.stack([part.float().square().sum(0) for part in maps[members].split(2048)]).sum(0)
            mean = total / len(members)
            result[cluster] = mean / mean.sum() if form == "offset" else from_hellinger(mean.sqrt())
    return result
