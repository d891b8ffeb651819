"""Two dimensions to look at: UMAP where it is installed, else two principal axes. Never for clustering."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitscope.errors import MissingExtraError
from vitscope.heads.threads import same_threads

Display = Literal["umap", "umap!", "pca"]
"""How maps are laid out for looking: UMAP or else PCA, UMAP or nothing, PCA."""
UMAP_LIMIT = 20_000
"""UMAP learns from at most so many codes and places the others among them: time stays bounded."""


def layout_codes(
    codes: NDArray[np.float32], how: Display = "umap", seed: int = 0
) -> tuple[NDArray[np.float32], str]:
    """((n, 2), what was done). how: "umap" (falls back to PCA when umap-learn is missing or the codes are too few),
    "umap!" (insists: raises MissingExtraError) or "pca"."""
    with same_threads():
        return _layout(codes, how, seed)


def _layout(codes: NDArray[np.float32], how: str, seed: int) -> tuple[NDArray[np.float32], str]:
    if how != "pca" and len(codes) >= 16:
        try:
            import umap
        except ImportError as error:
            if how == "umap!":
                raise MissingExtraError("umap-learn", "heads", "a UMAP display") from error
        else:
            return _umap(umap.UMAP(n_components=2, random_state=seed, n_jobs=1), codes, seed), "umap"
    if codes.shape[1] < 2 or len(codes) < 2:
        return np.concatenate([codes[:, :1], np.zeros((len(codes), 1), np.float32)], 1).astype(
            np.float32
        ), "pca"
    # Imported here: it takes a second, and few who import this module fit anything.
    from sklearn.decomposition import PCA

    return PCA(2, random_state=seed).fit_transform(codes).astype(np.float32), "pca"


def _umap(reducer: object, codes: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if len(codes) <= UMAP_LIMIT:
            return np.asarray(reducer.fit_transform(codes), dtype=np.float32)  # type: ignore[attr-defined]
        chosen = np.random.default_rng(seed).choice(len(codes), UMAP_LIMIT, replace=False)
        reducer.fit(codes[chosen])  # type: ignore[attr-defined]
        return np.asarray(reducer.transform(codes), dtype=np.float32)  # type: ignore[attr-defined]
