"""An explanation knows what made it: what changes its recipe, what does not, and which explanations are merged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import vitscope as vs
from vitscope.errors import RecipeError
from vitscope.methods import Explanation
from vitscope.models import fingerprint

MODULE = sys.modules["vitscope.models.opening.fingerprint"]


def small(seed: int = 0) -> vs.Vit:
    torch.manual_seed(seed)
    model = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return vs.open_model(model.eval(), image_size=32, preprocess="half")


@pytest.fixture
def vit() -> vs.Vit:
    return small()


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    drawn = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)
    return [Image.fromarray(picture) for picture in drawn]


def same(first: Explanation, second: Explanation) -> bool:
    arrays = ("maps", "flow", "classes", "scores", "logits", "pictures")
    for name in arrays:
        one, other = getattr(first, name), getattr(second, name)
        if (one is None) != (other is None) or (one is not None and not torch.equal(one, other)):
            return False
    extras = all(torch.equal(first.extras[name], second.extras[name]) for name in first.extras)
    about = (first.method, first.target, first.options, first.metadata, first.recipe)
    return extras and about == (second.method, second.target, second.options, second.metadata, second.recipe)


CHANGES: dict[str, Callable[[vs.Vit, list[Image.Image]], Explanation]] = {
    "method": lambda vit, pictures: vs.explain(vit, pictures, "gae"),
    "option": lambda vit, pictures: vs.explain(vit, pictures, "gmar", norm="l2"),
    "target": lambda vit, pictures: vs.explain(vit, pictures, "gmar", 3),
    "quantity": lambda vit, pictures: vs.explain(vit, pictures, "gmar", "top1:probability"),
    "clean": lambda vit, pictures: vs.explain(vit, pictures, "gmar", clean=True),
    "weights": lambda vit, pictures: vs.explain(small(1), pictures, "gmar"),
    "preprocessing": lambda vit, pictures: vs.explain(
        vs.open_model(vit.model, image_size=32, preprocess="imagenet"), pictures, "gmar"
    ),
    "precision": lambda vit, pictures: vs.explain(
        vs.open_model(vit.model, image_size=32, preprocess="half", precision="bf16"), pictures, "gmar"
    ),
    "overrides": lambda vit, pictures: vs.explain(
        vs.open_model(vit.model, image_size=32, preprocess="half", classes=5), pictures, "gmar"
    ),
}


def test_whatever_matters_changes_the_recipe_and_refuses_the_merge(
    vit: vs.Vit, pictures: list[Image.Image]
) -> None:
    plain, digests = vs.explain(vit, pictures[:2], "gmar"), set()
    words = {
        "method": r"options\.method: 'gmar' against 'gae'", "option": r"options\.options\.norm: 'l1' against 'l2'",
        "clean": r"options\.clean: False against True", "weights": "weights: ", "precision": "model.precision",
    }  # fmt: skip
    for what, made in CHANGES.items():
        other = made(vit, pictures[2:])
        assert other.recipe is not None and plain.recipe is not None
        assert other.recipe.shard_digest != plain.recipe.shard_digest, what
        digests.add(other.recipe.shard_digest)
        with pytest.raises(RecipeError, match=words.get(what, "explanations of different recipes")):
            plain.merge(other)
    assert len(digests) == len(CHANGES)


def test_the_weights_are_those_of_now(vit: vs.Vit, pictures: list[Image.Image]) -> None:
    before = vs.explain(vit, pictures[:2], "rollout")
    for parameter in vit.model.parameters():
        parameter.data.mul_(1.5)
    after = vs.explain(vit, pictures[2:], "rollout")
    assert after.metadata["fingerprint"] == fingerprint(vit.model) != before.metadata["fingerprint"]
    assert after.recipe is not None and after.recipe.model["fingerprint"] == fingerprint(vit.model)
    with pytest.raises(RecipeError, match="weights: '"):
        before.merge(after)


@pytest.mark.parametrize("target", [None, 2, [0, 1, 2, 3], "class:3,2,1,0:probability"])
def test_parts_merged_are_the_whole(vit: vs.Vit, pictures: list[Image.Image], target: Any) -> None:
    # One batch for each, so that the bits are those of the parts.
    whole = vs.explain(vit, pictures, "gmar", target, batch_size=1)
    assert whole.recipe is not None and whole.recipe.count == 4
    cut = [whole[index] for index in range(4)]
    assert same(cut[0].merge(*cut[1:]), whole)
    again = cut[3].merge(cut[1], cut[0], cut[2])
    assert again.recipe == whole.recipe and torch.equal(again.maps, whole.maps[[3, 1, 0, 2]])
    assert [part.recipe.count for part in cut if part.recipe is not None] == [1] * 4
    with pytest.raises(RecipeError, match="is in two of the explanations"):
        cut[0].merge(cut[1], cut[0])


def test_parts_explained_apart_are_the_whole(vit: vs.Vit, pictures: list[Image.Image]) -> None:
    classes = [4, 0, 3, 1]
    whole = vs.explain(vit, pictures, "gmar", classes, batch_size=1)
    parts = [
        vs.explain(vit, pictures[start:stop], "gmar", classes[start:stop], batch_size=1)
        for start, stop in ((0, 2), (2, 4))
    ]
    merged = parts[0].merge(parts[1])
    assert same(merged, whole) and merged.target == "class:4,0,3,1"
    wrong = vs.explain(vit, pictures, "gmar", [4, 0, 3, 2])
    assert wrong.recipe is not None and whole.recipe is not None
    assert whole.recipe.differences(wrong.recipe) == ["other targets of the pictures"]


def test_neither_batches_nor_order_are_part_of_it(vit: vs.Vit, pictures: list[Image.Image]) -> None:
    made = [
        vs.explain(vit, pictures, "dart", batch_size=1),
        vs.explain(vit, pictures, "dart", batch_size=3),
        vs.explain(vit, pictures[::-1], "dart"),
        vs.explain(vit, pictures, ["gmar", "dart"])["dart"],
        vs.explain(vit, pictures, "dart", kappa=0.5),
    ]
    assert len({e.recipe.digest for e in made if e.recipe is not None}) == 1
    assert made[0].recipe is not None and made[0].recipe.options["options"]["kappa"] == 0.5
    fewer = vs.explain(vit, pictures[:3], "dart").recipe
    assert fewer is not None and fewer.digest != made[0].recipe.digest
    assert fewer.shard_digest == made[0].recipe.shard_digest


def test_functions_of_one_name_are_two_targets(vit: vs.Vit, pictures: list[Image.Image]) -> None:
    def score_of(index: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda output: output[:, index]

    first, again, second = (vs.explain(vit, pictures[:1], "gmar", score_of(i)).recipe for i in (1, 1, 2))
    assert first == again and first is not None and second is not None
    assert first.digest != second.digest


def test_saved_loaded_and_merged(vit: vs.Vit, pictures: list[Image.Image], tmp_path: Path) -> None:
    whole = vs.explain(vit, pictures, "gmar", [0, 1, 2, 3], batch_size=1)
    loaded = [Explanation.load(whole[i].save(tmp_path / str(i))) for i in range(4)]
    assert all(part.recipe == whole[i].recipe for i, part in enumerate(loaded))
    merged = loaded[0].merge(*loaded[1:])
    assert merged.recipe == whole.recipe and torch.equal(merged.maps, whole.maps)
    other = vs.explain(vit, pictures[2:], "gmar", [2, 3], norm="l2")
    with pytest.raises(RecipeError, match=r"norm: 'l1' against 'l2'"):
        loaded[0].merge(Explanation.load(other.save(tmp_path / "other")))


def test_maps_from_outside_have_none(vit: vs.Vit, pictures: list[Image.Image], tmp_path: Path) -> None:
    made = vs.explain(vit, pictures[:1], "gmar")
    outside = Explanation(
        "mine", made.maps, None, "top1", None, made.scores, None, made.layout, {}, {"model": "x"}
    )
    assert outside.recipe is None and Explanation.load(outside.save(tmp_path / "x")).recipe is None
    with pytest.raises(RecipeError, match="without a recipe"):
        made.merge(outside)


def test_the_weights_are_read_once_in_a_call(
    vit: vs.Vit, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    check = MODULE.content_check
    monkeypatch.setattr(MODULE, "content_check", lambda module: read.append(1) or check(module))
    vs.explain(vit, pictures, ["gmar", "dart", "rollout"], batch_size=1)
    assert len(read) == 1
    vs.evaluate(vit, pictures, None, ["dart", "gmar"], ["srg", "mprt"], vs.Protocol(steps=2), batch_size=1)
    assert len(read) == 2
