"""PCA of root maps: the linear yardstick beside the autoencoder, with the same number of code dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vitscope.heads.atlas.autoencoder import squared_error
from vitscope.heads.errors import HeadsError
from vitscope.heads.threads import same_threads


@dataclass(frozen=True)
class PrincipalCoder:
    """mean (cells,), directions (latent, cells), both float32, of maps with `side` x `side` cells."""

    side: int
    mean: Tensor
    directions: Tensor

    @property
    def latent(self) -> int:
        return int(self.directions.shape[0])

    def encode(self, maps: Tensor) -> Tensor:
        """(n, side, side) -> (n, latent)."""
        return torch.cat(
            [(part.flatten(1).float() - self.mean) @ self.directions.T for part in maps.split(4096)]
        )

    def decode(self, codes: Tensor) -> Tensor:
        """(n, latent) -> (n, side, side), clamped at zero as the autoencoder's."""
        flat: Tensor = codes @ self.directions + self.mean
        return flat.reshape(-1, self.side, self.side).clamp_min(0)

    def mean_error(self, maps: Tensor) -> float:
        """Mean over maps of the squared error, without the clamp's help (the plain PCA reconstruction)."""
        total = 0.0
        for part in maps.split(4096):
            rebuilt = (self.encode(part) @ self.directions + self.mean).unflatten(1, (self.side, self.side))
            total += float(squared_error(part.float(), rebuilt).sum())
        return total / max(1, len(maps))


def fit_principal(train: Tensor, latent: int, seed: int = 0) -> PrincipalCoder:
    """Fit PCA on root maps (n, side, side); randomised SVD with a fixed seed where the exact one would be slow."""
    # Imported here: it takes a second, and few who import this module fit anything.
    from sklearn.decomposition import PCA

    cells = train[0].numel()
    most = min(len(train), cells)
    if latent > most:
        raise HeadsError(
            f"expected at most {most} code dimensions for {len(train)} maps, got {latent}; use a smaller latent size"
        )
    solver = PCA(latent, svd_solver="auto", random_state=seed)
    with same_threads():
        solver.fit(train.flatten(1).float().numpy())
    return PrincipalCoder(
        int(train.shape[-1]),
        torch.from_numpy(np.asarray(solver.mean_, dtype=np.float32)),
        torch.from_numpy(np.asarray(solver.components_, dtype=np.float32)),
    )
