"""Codes of canonical maps: the autoencoder and PCA side by side, judged on held-out pictures, verdict in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.atlas.autoencoder import AutoencoderOptions, MapAutoencoder, decode, encode, mean_error
from vitscope.heads.atlas.canonical import from_hellinger
from vitscope.heads.atlas.clustering import Labels, fit_clusters, mean_adjusted_rand_index
from vitscope.heads.atlas.principal import fit_principal
from vitscope.heads.atlas.training import train_autoencoder, training_file, with_seed
from vitscope.heads.errors import HeadsError
from vitscope.progress import Progress

CODERS = ("autoencoder", "pca")


class Coder(Protocol):
    """Maps to codes and back."""

    def encode(self, maps: Tensor) -> Tensor: ...
    def decode(self, codes: Tensor) -> Tensor: ...
    def mean_error(self, maps: Tensor) -> float: ...


@dataclass(frozen=True)
class AutoencoderCoder:
    """A trained autoencoder behind the same three functions as PCA."""

    model: MapAutoencoder

    def encode(self, maps: Tensor) -> Tensor:
        return encode(self.model, maps)

    def decode(self, codes: Tensor) -> Tensor:
        return decode(self.model, codes)

    def mean_error(self, maps: Tensor) -> float:
        return mean_error(self.model, maps)


@dataclass(frozen=True)
class CoderReport:
    """How good one coder is. Errors: mean squared Hellinger-root error per map, as a share of the maps' mean squared
    distance from their mean map (1 = no better than the mean map). ARI over seeds and over halves of the pictures."""

    name: str
    latent: int
    train_error: float
    held_out_error: float
    seeds_ari: float
    halves_ari: float
    seconds: float


def split_pictures(
    pictures: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Item indices (train, held out) such that no picture is on both sides; at least one picture on each."""
    unique = np.unique(pictures)
    if len(unique) < 2:
        raise HeadsError(f"expected maps of at least 2 pictures, got {len(unique)}; give more pictures")
    shuffled = np.random.default_rng(seed).permutation(unique)
    count = min(len(unique) - 1, max(1, round(share * len(unique))))
    held = np.isin(pictures, shuffled[:count])
    return np.flatnonzero(~held), np.flatnonzero(held)


def total_variation(maps: Tensor, mean: Tensor) -> float:
    """Mean squared distance of maps from `mean`: what an error of 1 means."""
    return float(
        torch.stack(
            [(part.float() - mean).square().flatten(1).sum(1).sum() for part in maps.split(4096)]
        ).sum()
        / max(1, len(maps))
    )


def float_mean(maps: Tensor) -> Tensor:
    """Mean map in float32 of float16 maps, in chunks."""
    return torch.stack([part.float().sum(0) for part in maps.split(4096)]).sum(0) / max(1, len(maps))


def fit_coder(
    name: str,
    train: Tensor,
    held_out: Tensor,
    options: AutoencoderOptions,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    what: str = "training the autoencoder",
) -> Coder:
    """Fit one coder; PCA ignores the held-out maps. checkpoint: a folder for the state of the training. what: the name
    of the stage that its epochs are."""
    if name == "pca":
        return fit_principal(train, options.code_size(len(train)), options.seed)
    if name != "autoencoder":
        raise HeadsError(f"expected a coder among {', '.join(CODERS)}, got {name!r}; choose one of them")
    file = None if checkpoint is None else checkpoint / training_file(train, held_out, options)
    model, _ = train_autoencoder(train, held_out, options, checkpoint=file, progress=progress, what=what)
    return AutoencoderCoder(model)


def stability(
    name: str,
    maps: Tensor,
    pictures: NDArray[np.int64],
    k: int,
    options: AutoencoderOptions,
    *,
    share: float,
    seeds: int,
    limit: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[float, float]:
    """(ARI over seeds, ARI over halves) of clusters found by coder + k-means from scratch, judged on held-out maps.

    Seeds: the same training pictures, another seed for the coder and for k-means. Halves: each half of the training
    pictures on its own. At most `limit` training maps are used for each fit.
    """
    train, held = split_pictures(pictures, share, options.seed)
    random = np.random.default_rng(options.seed + 1)

    def labels(indices: NDArray[np.int64], seed: int, what: str) -> Labels:
        if len(indices) > limit:
            indices = np.sort(random.choice(indices, limit, replace=False))
        chosen = maps[torch.from_numpy(indices)]
        fitted = fit_coder(
            name,
            chosen,
            maps[torch.from_numpy(held)],
            with_seed(options, seed),
            checkpoint=checkpoint,
            progress=progress,
            what=what,
        )
        clusters = fit_clusters(fitted.encode(chosen).numpy(), min(k, len(chosen)), seed)
        return clusters.assign(fitted.encode(maps[torch.from_numpy(held)]).numpy())

    by_seed = [
        labels(train, options.seed + 101 * (i + 1), f"stability of {name}, seed {i + 1}")
        for i in range(seeds)
    ]
    shuffled = random.permutation(np.unique(pictures[train]))
    halves = (shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :])
    by_half = [
        labels(train[np.isin(pictures[train], half)], options.seed, f"stability of {name}, half {i + 1}")
        for i, half in enumerate(halves)
        if len(half)
    ]
    return mean_adjusted_rand_index(by_seed), mean_adjusted_rand_index(by_half)


def verdict(autoencoder: CoderReport, principal: CoderReport) -> tuple[str, str]:
    """(winner, sentence). The held-out error decides; within 2 % of each other the stability does."""
    ratio = autoencoder.held_out_error / max(1e-12, principal.held_out_error)
    stable_a = float(np.nanmean([autoencoder.seeds_ari, autoencoder.halves_ari, 0.0]))
    stable_p = float(np.nanmean([principal.seeds_ari, principal.halves_ari, 0.0]))
    if abs(ratio - 1) <= 0.02:
        winner = "autoencoder" if stable_a > stable_p else "pca"
        reason = "their held-out errors are within 2 %, the clusters of the winner are the more stable ones"
    else:
        winner = "autoencoder" if ratio < 1 else "pca"
        reason = "it rebuilds the maps of unseen pictures better"
    names = {"autoencoder": "The autoencoder wins", "pca": "PCA wins"}
    numbers = "; ".join(
        f"{report.name}: unexplained {report.held_out_error:.1%} (training {report.train_error:.1%}), "
        f"ARI over seeds {report.seeds_ari:.2f}, over halves {report.halves_ari:.2f}"
        for report in (autoencoder, principal)
    )
    steadier = "autoencoder" if stable_a > stable_p else "pca"
    remark = "" if steadier == winner else f" The clusters of the other one ({steadier}) are the more stable."
    return (
        winner,
        f"{names[winner]}: {reason}.{remark} ({numbers}; {autoencoder.latent} code dimensions each.)",
    )


def decoded(coder: Coder, codes: NDArray[np.float32], form: str) -> Tensor:
    """Codes as distributions: rows sum to 1 (pooled), or the map does (offset)."""
    roots = coder.decode(torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32)))
    return (
        from_hellinger(roots) if form == "pooled" else from_hellinger(roots.flatten(1)).reshape(roots.shape)
    )
