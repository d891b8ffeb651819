"""Any split of the pictures, in any order of the parts, gives what the whole gives: for every analysis of heads."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache, reduce
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

import vitscope as vs
from vitscope import heads
from vitscope.errors import RecipeError
from vitscope.heads.atlas.bottom_k import Draw, ranks_of, smallest
from vitscope.pictures import PictureSource, picture_source
from vitscope.storage.recipe import Recipe

KEYS = ["cat", "dog", "a/owl", "b/owl", "elk", "yak"]
LABELS = [0, 1, 2, 3, 4, 0]
PIXELS = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(3))
QUICK = heads.AutoencoderOptions(epochs=1, latent=2, width=2)


def tiny() -> vs.Vit:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(
            "vit_tiny_patch16_224",
            img_size=32,
            patch_size=8,
            num_classes=5,
            depth=2,
            embed_dim=24,
            num_heads=3,
        )
    for parameter in model.parameters():  # far from a random start, so that heads differ
        parameter.data.mul_(3)
    return vs.open_model(model.eval(), image_size=32)


VIT = tiny()
MEANS = heads.mean_outputs(VIT, PIXELS)
ORDER = {"given": [(b, h) for h in range(3) for b in range(2)]}


def some(places: list[int]) -> PictureSource:
    return picture_source(PIXELS[places], keys=[KEYS[i] for i in places], labels=[LABELS[i] for i in places])


def sample(source: PictureSource) -> Any:
    return heads.collect_maps(VIT, source, per_head=2, batch_size=1, seed=4)


def _importance(source: PictureSource) -> Any:
    return heads.importance(VIT, source, replacement=MEANS, batch_size=1)


def _agreement(source: PictureSource) -> Any:
    return heads.agreement(VIT, source, batch_size=1, rounds=4)


def _partial(source: PictureSource) -> Any:
    return heads.partial_pruning(VIT, source, 1, 2, hops=(0, 1), batch_size=1)


def _cumulative(source: PictureSource) -> Any:
    return heads.cumulative_pruning(
        VIT, source, ORDER, steps=3, random_orders=1, replacement=MEANS, batch_size=1
    )


def _strength(source: PictureSource) -> Any:
    return heads.strength(VIT, source, batch_size=1)


ANALYSES: dict[str, Callable[[PictureSource], Any]] = {
    "importance with means": _importance,
    "strength": _strength,
    "maps": sample,
    "agreement": _agreement,
    "partial pruning": _partial,
    "cumulative pruning": _cumulative,
}


@cache
def whole(name: str) -> Any:
    """What the analysis gives of all pictures."""
    return ANALYSES[name](some([0, 1, 2, 3, 4, 5]))


def numbers(found: Any) -> dict[str, Any]:
    """Everything in a result, with pictures by key, so that their order does not count."""
    if isinstance(found, heads.HeadTable | heads.PartialPruning):
        order = np.argsort(found.pictures)
        return {name: value[order] for name, value in found.values.items()}
    if isinstance(found, heads.StrengthProfile):
        order = np.argsort(found.pictures)
        scalars = {f"each {name}": value[order] for name, value in found.scalars.items()}
        spreads = {f"spread of {name}": value for name, value in found.spreads.items()}
        return {**found.values, **spreads, **scalars}
    if isinstance(found, heads.MapSample):
        return {
            "picture": np.array(found.picture_names)[found.picture],
            **{
                name: np.asarray(getattr(found, name))
                for name in ("pooled", "offsets", "features", "block", "head")
            },
            "means": found.means[0].content_dependence(),
        }
    if isinstance(found, heads.Agreement):
        sides = {f"{name} {i}": side for name, m in found.matrices.items() for i, side in enumerate(m)}
        return {**sides, "scores": found.scores, "ranks": found.ranks}
    return {name: found.curves[name].to_numpy() for name in found.curves.columns}


def assert_same(found: Any, wanted: Any, exactly: bool) -> None:
    assert found.recipe == wanted.recipe
    mine, theirs = numbers(found), numbers(wanted)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        if exactly or not np.issubdtype(value.dtype, np.number):
            np.testing.assert_array_equal(value, theirs[name], err_msg=name)
        else:
            np.testing.assert_allclose(value, theirs[name], rtol=1e-6, atol=1e-6, err_msg=name)


@st.composite
def splits(draw: st.DrawFn) -> tuple[list[list[int]], bool]:
    """Parts of the six pictures, and whether they are put together in the pictures' own order."""
    in_order = draw(st.booleans())
    order = list(range(6)) if in_order else draw(st.permutations(range(6)))
    cuts = sorted(draw(st.sets(st.integers(1, 5), min_size=1, max_size=3)))
    return [list(order[a:b]) for a, b in itertools.pairwise([0, *cuts, 6])], in_order


@pytest.mark.parametrize("name", list(ANALYSES))
@settings(max_examples=6, deadline=None)
@given(split=splits())
def test_any_split_and_order_is_the_whole(name: str, split: tuple[list[list[int]], bool]) -> None:
    parts, in_order = split
    found = reduce(lambda a, b: a.merge(b), (ANALYSES[name](some(part)) for part in parts))
    assert_same(found, whole(name), exactly=in_order)
    assert dict(zip(found.picture_names if name == "maps" else _keys(found), found.ids, strict=True)) == dict(
        zip(KEYS, some(list(range(6))).ids, strict=True)
    )


def _keys(found: Any) -> tuple[str, ...]:
    return found.table.pictures if isinstance(found, heads.Agreement) else found.pictures


def test_means_are_prepared_over_all_pictures_not_per_batch_or_part() -> None:
    """Batches of one, parts of one, and one batch of all: mean ablation puts the same in a head's place."""
    together = heads.importance(VIT, PIXELS, LABELS, replacement="mean", batch_size=6)
    alone = heads.importance(VIT, PIXELS, LABELS, replacement="mean", batch_size=1)
    by_hand = heads.importance(VIT, PIXELS, LABELS, replacement=MEANS, batch_size=6)
    for name in together.metrics:
        np.testing.assert_allclose(alone[name], together[name], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(by_hand[name], together[name], rtol=1e-3, atol=1e-5)
    half = heads.importance(VIT, PIXELS[:3], LABELS[:3], replacement="mean", batch_size=1)
    gap = np.abs(half["js_divergence"] - alone["js_divergence"][:3]).max()
    assert gap > 0.01 * alone["js_divergence"].max()  # other means, other results: not to be put together
    with pytest.raises(RecipeError, match="means"):
        half.merge(heads.importance(VIT, PIXELS[3:], LABELS[3:], replacement="mean", batch_size=1))


def test_means_are_those_of_numpy_in_any_order() -> None:
    outputs = [site.output.double() for site in VIT.trace(PIXELS, gradient=False).sites]
    wanted = np.stack([np.mean(o.numpy(), axis=(0, 2)) for o in outputs])
    np.testing.assert_allclose(MEANS.means, wanted, rtol=1e-5, atol=1e-6)
    one = heads.mean_outputs(VIT, PIXELS, batch_size=1)
    assert torch.equal(one.means, heads.mean_outputs(VIT, PIXELS.flip(0), batch_size=1).means)


def test_spreads_are_those_of_numpy_over_single_pictures() -> None:
    alone = [heads.strength(VIT, PIXELS[i : i + 1])["mass"] for i in range(6)]
    whole = heads.strength(VIT, PIXELS, batch_size=4)
    np.testing.assert_allclose(whole["mass"], np.mean(alone, 0), atol=1e-6)
    np.testing.assert_allclose(whole.spreads["mass"], np.std(alone, 0, ddof=1), atol=1e-6)


def test_the_sample_is_the_pictures_with_the_smallest_hashes() -> None:
    """The hash written out: splitmix64's finisher over the hash of the key and that of seed, block and head."""

    def rank(key: str, block: int, head: int) -> int:
        value = xxhash.xxh3_64_intdigest(key.encode()) ^ xxhash.xxh3_64_intdigest(
            f"4 {block} {head}".encode()
        )
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
        return (value ^ value >> 31) >> 1

    found = whole("maps")
    for block, head in itertools.product(range(2), range(3)):
        here = (found.block == block) & (found.head == head)
        mine = [found.picture_names[i] for i in found.picture[here]]
        assert mine == sorted(KEYS, key=lambda key: rank(key, block, head))[:2]


def test_every_picture_is_drawn_equally_often() -> None:
    keys = [f"picture {i}" for i in range(30)]
    counts = np.zeros(30)
    for seed, head in itertools.product(range(100), range(4)):
        chosen = smallest(np.zeros(30, np.int64), ranks_of(seed, keys, 0, head), 6)
        assert len(set(chosen.tolist())) == 6
        counts[chosen] += 1
    assert np.abs(counts - 80).max() < 5 * np.sqrt(80)


def test_the_draw_keeps_what_it_needs_when_there_are_many_pictures() -> None:
    keys = [f"{i}.png" for i in range(400)]
    limit = Draw(keys, per_head=3, seed=0).limit(1, 2)
    kept = [key for key in keys if ranks_of(0, [key], 1, 2)[0] <= limit]
    assert len(kept) == 2 * 3 + 16 + 1


def test_an_atlas_does_not_depend_on_the_order_of_pictures() -> None:
    def fitted(order: list[int]) -> heads.PatternAtlas:
        return heads.patterns(
            VIT, some(order), per_head=4, k=2, options=QUICK, repeats=0, display="pca", batch_size=1
        )

    first, second = fitted([0, 1, 2, 3, 4, 5]), fitted([5, 2, 0, 4, 1, 3])
    pd.testing.assert_frame_equal(first.maps, second.maps)
    pd.testing.assert_frame_equal(first.heads, second.heads)
    assert torch.equal(first.prototypes, second.prototypes) and first.recipe == second.recipe
    merged = reduce(
        lambda a, b: a.merge(b),
        (heads.collect_maps(VIT, some(part), per_head=4, batch_size=1) for part in ([4, 1], [0], [5, 2, 3])),
    )
    again = heads.fit_atlas(merged, k=2, options=QUICK, repeats=0, display="pca")
    pd.testing.assert_frame_equal(first.maps, again.maps)
    assert first.recipe == again.recipe


@pytest.mark.parametrize("name", list(ANALYSES))
def test_what_overlaps_or_was_made_otherwise_is_refused_in_one_line(name: str) -> None:
    first, second = ANALYSES[name](some([0, 1])), ANALYSES[name](some([1, 2]))
    with pytest.raises(heads.HeadsError, match="'dog' in both") as caught:
        first.merge(second)
    assert "\n" not in str(caught.value)
    other = dict(second.recipe.to_dict())
    other["model"] = {**other["model"], "fingerprint": "another"}
    where = second.table if isinstance(second, heads.Agreement) else second
    changed = replace(where, origin=replace(where.origin, recipe=Recipe.from_dict(other)))
    if isinstance(second, heads.Agreement):
        changed = replace(second, table=changed)
    with pytest.raises(RecipeError, match="weights") as caught_too:
        ANALYSES[name](some([3])).merge(changed)
    assert "\n" not in str(caught_too.value)


def test_saved_results_can_still_be_merged(tmp_path: Any) -> None:
    saved = {
        "importance with means": ("t.parquet", heads.HeadTable),
        "strength": ("s", heads.StrengthProfile),
        "agreement": ("a", heads.Agreement),
        "partial pruning": ("p.parquet", heads.PartialPruning),
        "cumulative pruning": ("c.parquet", heads.CumulativePruning),
    }
    for name, (file, kind) in saved.items():
        parts = [ANALYSES[name](some(part)) for part in ([0, 1, 2], [3, 4, 5])]
        again: list[Any] = [kind.load(part.save(tmp_path / file)) for part in parts]
        assert_same(again[0].merge(again[1]), whole(name), exactly=True)
        assert again[0].ids == parts[0].ids and again[0].recipe == parts[0].recipe
