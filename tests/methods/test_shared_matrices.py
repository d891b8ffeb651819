"""Methods that run together take from each other what they have in common; each gives what it gives alone."""

from __future__ import annotations

import pytest
import torch

import vitscope as vs
from tests.zoo import open_zoo, pictures

TOGETHER = ["gradient-rollout", "gae", "gmar", "attcat", "rollout"]


@pytest.mark.parametrize("order", [TOGETHER, TOGETHER[::-1]], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", ["timm-deit", "hf-vit-eager", "timm-cait"])
def test_methods_together_are_the_methods_alone(name: str, order: list[str]) -> None:
    vit, images = open_zoo(name), pictures(name)
    together = vs.explain(vit, images, order, discard=0.3)
    for method, found in together.items():
        options = {"discard": 0.3} if method in ("gradient-rollout", "gmar", "rollout") else {}
        alone = vs.explain(vit, images, method, **options)
        assert torch.equal(found.maps, alone.maps), method


def test_nothing_shared_is_left_on_a_trace() -> None:
    trace = open_zoo("timm-deit").trace(pictures("timm-deit"), 1)
    with pytest.raises(RuntimeError, match="stop"), trace.shared():
        assert all(site.shared == {} for site in trace.sites)
        raise RuntimeError("stop")
    assert all(site.shared is None for site in trace.sites)
