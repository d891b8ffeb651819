"""Maps with heads switched off are those of a model in whose weights these heads give nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import vitscope as vs
from vitscope.errors import MethodError, RecipeError, TraceError
from vitscope.models import Preprocessor
from vitscope.tracing import HeadAblation, Vit

OFF = [(1, 2), (4, 0), (5, 3)]
CHEAP: dict[str, dict[str, Any]] = {
    "rise": {"masks": 8},
    "scorecam": {"channels": 4},
    "ablationcam": {"channels": 4},
    "dart": {"refined": 2},
    "integrated-gradients": {"steps": 3},
    "smoothgrad": {"samples": 2},
    "kernel-shap": {"samples": 10},
    "shapley": {"samples": 2},
}
"""Options that make the dear methods cheap, where a method has them."""


@pytest.fixture(scope="module")
def vit() -> Vit:
    return vs.open_model("bundled/shapes")


@pytest.fixture(scope="module")
def without(vit: Vit) -> Vit:
    """The same model; the columns of its projections that read the heads' outputs are zero."""
    module = copy.deepcopy(vit.model)
    for block, head in OFF:
        attention = module.blocks[block].attn
        width = attention.proj.weight.shape[1] // 4
        with torch.no_grad():
            attention.proj.weight[:, head * width : (head + 1) * width] = 0
    assert isinstance(vit.preprocessor, Preprocessor)
    return vs.open_model(module, preprocess=vit.preprocessor, class_names=vit.class_names)


def applying() -> list[str]:
    anatomy = vs.open_model("bundled/shapes").anatomy
    return [info.name for info in vs.methods() if info.why_not(anatomy) is None]


@pytest.mark.parametrize("method", applying())
def test_the_map_is_that_of_the_changed_model(vit: Vit, without: Vit, method: str) -> None:
    picture = vs.worlds.world("shapes").sample(1, seed=5).images()
    declared = vs.methods.get_method(method).declared
    options = {name: value for name, value in CHEAP.get(method, {}).items() if name in declared}
    off = HeadAblation.of(vit.anatomy, OFF)
    if method == "transformer-attribution":
        with pytest.raises(MethodError, match="no heads that are switched off"):
            vs.explain(vit, picture, method, ablation=off)
        return
    found = vs.explain(vit, picture, method, ablation=off, **options)
    expected = vs.explain(without, picture, method, **options)
    scale = float(expected.maps.abs().max())
    torch.testing.assert_close(found.maps, expected.maps, rtol=1e-3, atol=1e-4 * max(scale, 1e-6))
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-4)
    assert "heads switched off (block.head): 1.2, 4.0, 5.3" in found.metadata["notes"]


@pytest.mark.parametrize("method", ["dart", "gmar", "daam", "rollout", "saliency"])
def test_heads_that_are_off_are_part_of_the_recipe_and_move_the_map(vit: Vit, method: str) -> None:
    picture = vs.worlds.world("shapes").sample(1, seed=5).images()
    found = vs.explain(vit, picture, method, ablation=HeadAblation.of(vit.anatomy, OFF))
    whole = vs.explain(vit, picture, method)
    assert found.recipe is not None and whole.recipe is not None
    assert found.recipe.digest != whole.recipe.digest
    assert float((whole.maps - found.maps).abs().max()) > 1e-3 * float(whole.maps.abs().max())
    counted = f"{method} averages attention over heads, and counts that of heads that are off"
    assert (counted in found.metadata["notes"]) == (method == "rollout")


def test_methods_share_one_pass_with_heads_off(vit: Vit) -> None:
    pictures = vs.worlds.world("shapes").sample(3, seed=6).images()
    off = HeadAblation.of(vit.anatomy, OFF)
    together = vs.explain(vit, pictures, ["gmar", "daam", "dart"], ablation=off, batch_size=2)
    for name, found in together.items():
        alone = vs.explain(vit, pictures[1:2], name, ablation=off)
        torch.testing.assert_close(found[1].maps, alone.maps, rtol=1e-4, atol=1e-5)
        assert found[1].metadata["ablation"] == [list(head) for head in OFF]
    with pytest.raises(RecipeError):
        together["gmar"][0].merge(vs.explain(vit, pictures[1:2], "gmar"))


def test_an_ablation_that_does_not_fit_is_refused(vit: Vit) -> None:
    picture = vs.worlds.world("shapes").sample(1, seed=5).images()
    with pytest.raises(TraceError, match=r"there is no head 6\.0 in bundled/shapes: blocks go from 0 to 5"):
        HeadAblation.of(vit.anatomy, [(6, 0)])
    with pytest.raises(TraceError, match=r"there is no head 0\.-1"):
        HeadAblation.of(vit.anatomy, [(0, -1)])
    with pytest.raises(TraceError, match=r"the same heads off for every picture.*\(2, 6, 4\)"):
        vs.explain(vit, picture, "gmar", ablation=HeadAblation(torch.ones(2, 6, 4)))
    assert (
        HeadAblation.of(vit.anatomy, OFF).heads == tuple(OFF) and HeadAblation.of(vit.anatomy, []).heads == ()
    )
