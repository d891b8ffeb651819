"""Random draws that depend on the picture and the seed only: never on its place in a batch, shard or device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from vitscope.pictures.identity import drawn_by


def generator(key: str, seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one picture, one seed and one purpose; a picture that is given twice has the same twice."""
    word = hashlib.blake2b(f"{seed}/{purpose}/{drawn_by(key)}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(word, "big") >> 1)


def permutations(keys: Sequence[str], count: int, seed: int, purpose: str) -> Tensor:
    """One random permutation of 0..count-1 per picture: (B, count) long."""
    return torch.stack([torch.randperm(count, generator=generator(key, seed, purpose)) for key in keys])


def uniforms(keys: Sequence[str], shape: Sequence[int], seed: int, purpose: str) -> Tensor:
    """Uniform numbers in [0, 1) per picture: (B, *shape)."""
    return torch.stack([torch.rand(tuple(shape), generator=generator(key, seed, purpose)) for key in keys])


def normals(keys: Sequence[str], shape: Sequence[int], seed: int, purpose: str) -> Tensor:
    """Standard normal numbers per picture: (B, *shape)."""
    return torch.stack([torch.randn(tuple(shape), generator=generator(key, seed, purpose)) for key in keys])
