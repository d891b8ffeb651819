"""Random draws of a picture: by its key, the seed and the purpose, and by nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from vitscope.evaluation.removal.draws import normals, permutations, uniforms

Draw = Callable[[list[str], int, str], torch.Tensor]
DRAWS: dict[str, Draw] = {
    "uniforms": lambda keys, seed, purpose: uniforms(keys, (2, 3), seed, purpose),
    "normals": lambda keys, seed, purpose: normals(keys, (2, 3), seed, purpose),
    "permutations": lambda keys, seed, purpose: permutations(keys, 9, seed, purpose),
}
WRITTEN: dict[str, Callable[[torch.Generator], Any]] = {
    "uniforms": lambda source: torch.rand(2, 3, generator=source),
    "normals": lambda source: torch.randn(2, 3, generator=source),
    "permutations": lambda source: torch.randperm(9, generator=source),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_follow_the_key(name: str) -> None:
    """Written out: 64 bits of BLAKE2b over seed/purpose/key, halved, seed torch's generator."""
    draw = DRAWS[name]
    together, backwards = draw(["a", "b/c.png"], 3, "ties"), draw(["b/c.png", "a"], 3, "ties")
    assert torch.equal(together, backwards.flip(0))
    for row, key in enumerate(["a", "b/c.png"]):
        word = hashlib.blake2b(f"3/ties/{key}".encode(), digest_size=8).digest()
        source = torch.Generator().manual_seed(int.from_bytes(word, "big") >> 1)
        assert torch.equal(together[row], WRITTEN[name](source))
        assert torch.equal(together[row], draw([key], 3, "ties")[0])
    assert not torch.equal(together[0], together[1]), "another picture"
    assert not torch.equal(together[0], draw(["a"], 4, "ties")[0]), "another seed"
    assert not torch.equal(together[0], draw(["a"], 3, "random control 0")[0]), "another purpose"
