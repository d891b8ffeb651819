"""What every result can do: save, load, tabulate, merge with those of other pictures, show itself, tell its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch

import vitscope as vs
from tests.storage.test_saved_kinds import same
from vitscope import heads
from vitscope.errors import DamagedError, RecipeError, StorageError, VitscopeError
from vitscope.heads.origin import Origin
from vitscope.methods.calibration import Calibration
from vitscope.methods.memory_bank import MemoryBank, build_bank
from vitscope.pictures import PictureSource, picture_source
from vitscope.storage.recipe import Recipe

KEYS = ["cat", "dog", "a/owl", "b/owl", "elk", "yak"]
LABELS = [0, 1, 2, 1, 0, 2]
PIXELS = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(3))
SHORT = vs.Protocol(steps=2, random_draws=1)
QUICK = heads.AutoencoderOptions(epochs=1, latent=2, width=2)
ORDERS = {"given": [(b, h) for h in range(3) for b in range(2)]}
L, H = 2, 3


def tiny(classes: int = 5) -> vs.Vit:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(
            "vit_tiny_patch16_224",
            img_size=32,
            patch_size=8,
            num_classes=classes,
            depth=L,
            embed_dim=24,
            num_heads=H,
        )
    for parameter in model.parameters():  # far from a random start, so that heads differ
        parameter.data.mul_(3)
    return vs.open_model(model.eval(), image_size=32)


VIT, ENCODER = tiny(), tiny(0)


def some(places: list[int]) -> PictureSource:
    return picture_source(PIXELS[places], keys=[KEYS[i] for i in places], labels=[LABELS[i] for i in places])


@cache
def atlas() -> heads.PatternAtlas:
    """Of all pictures."""
    sample = heads.collect_maps(VIT, PIXELS, per_head=3)
    return heads.fit_atlas(sample, k=6, options=QUICK, repeats=0, display="pca")


@dataclass(frozen=True)
class Kind:
    """One kind of result. make: of some pictures; other: made otherwise. ending: of its file.

    merges: whether shards can be merged; else each result stands for itself."""

    type: type
    make: Callable[[PictureSource], Any]
    other: Callable[[PictureSource], Any]
    ending: str = ""
    merges: bool = True


def _evaluated(source: PictureSource, **more: Any) -> vs.Leaderboard:
    given: dict[str, Any] = {"metrics": ["srg"], "protocol": SHORT, **more}
    return vs.evaluate(VIT, source, methods=["gmar"], controls=(), batch_size=1, keep_pictures=False, **given)


def _pruned(source: PictureSource, **more: Any) -> Any:
    return heads.cumulative_pruning(VIT, source, ORDERS, steps=3, random_orders=0, batch_size=1, **more)


def _maps(source: PictureSource, **more: Any) -> Any:
    return heads.collect_maps(VIT, source, **{"per_head": 2, "batch_size": 1, **more})


def _bank(source: PictureSource) -> MemoryBank:
    return build_bank(ENCODER, source, label_names=("a", "b", "c"), batch_size=1)


def _patterns(source: PictureSource, **more: Any) -> Any:
    given: dict[str, Any] = {"per_head": 3, "k": 2, "options": QUICK, "repeats": 0, "display": "pca", **more}
    return heads.patterns(VIT, source, batch_size=1, **given)


KINDS = {
    "explanation": Kind(
        vs.Explanation,
        lambda s: vs.explain(VIT, s, "gmar", batch_size=1),
        lambda s: vs.explain(VIT, s, "gmar", norm="l2", batch_size=1),
    ),
    "leaderboard": Kind(
        vs.Leaderboard, _evaluated, lambda s: _evaluated(s, protocol=replace(SHORT, steps=3))
    ),
    "head table": Kind(
        heads.HeadTable,
        lambda s: heads.importance(VIT, s, batch_size=1),
        lambda s: heads.importance(VIT, s, replacement=heads.mean_outputs(VIT, PIXELS), batch_size=1),
        ".parquet",
    ),
    "agreement": Kind(
        heads.Agreement,
        lambda s: heads.agreement(VIT, s, rounds=3, batch_size=1),
        lambda s: heads.agreement(VIT, s, rounds=4, batch_size=1),
    ),
    "strength profile": Kind(
        heads.StrengthProfile,
        lambda s: heads.strength(VIT, s, batch_size=1),
        lambda s: heads.strength(VIT, s, distance="manhattan", batch_size=1),
    ),
    "partial pruning": Kind(
        heads.PartialPruning,
        lambda s: heads.partial_pruning(VIT, s, 1, 2, hops=(0, 1), batch_size=1),
        lambda s: heads.partial_pruning(VIT, s, 1, 2, hops=(0, 1), renormalise=True, batch_size=1),
        ".parquet",
    ),
    "cumulative pruning": Kind(
        heads.CumulativePruning,
        _pruned,
        lambda s: _pruned(s, replacement=heads.mean_outputs(VIT, PIXELS)),
        ".parquet",
    ),
    "joint effect": Kind(
        heads.JointEffect,
        lambda s: heads.joint_effect(VIT, s, [(0, 1), (1, 2)], batch_size=1),
        lambda s: heads.joint_effect(VIT, s, [(0, 1), (1, 1)], batch_size=1),
    ),
    "mean outputs": Kind(
        heads.MeanOutputs,
        lambda s: heads.mean_outputs(VIT, s, batch_size=1),
        lambda s: heads.mean_outputs(VIT, s, per_query=True, batch_size=1),
    ),
    "sample of maps": Kind(heads.MapSample, _maps, lambda s: _maps(s, seed=1)),
    "pattern mapping": Kind(
        heads.PatternMapping,
        lambda s: atlas().map_pictures(VIT, s, per_head=2, batch_size=1),
        lambda s: replace(atlas(), origin=Origin()).map_pictures(VIT, s, per_head=2, batch_size=1),
    ),
    "memory bank": Kind(
        MemoryBank,
        _bank,
        lambda s: build_bank(vs.open_model(ENCODER.model, image_size=32, precision="bf16"), s, batch_size=1),
    ),
    "pattern atlas": Kind(heads.PatternAtlas, _patterns, lambda s: _patterns(s, k=3), merges=False),
    "calibration": Kind(
        Calibration, lambda s: vs.calibrate(VIT, s), lambda s: vs.calibrate(tiny(7), s), ".json", merges=False
    ),
}
MERGING = [name for name, kind in KINDS.items() if kind.merges]


@cache
def whole(name: str) -> Any:
    """What the kind of result makes of all pictures."""
    return KINDS[name].make(some([0, 1, 2, 3, 4, 5]))


def keys_of(result: Any) -> list[str]:
    if isinstance(result, vs.Explanation):
        return list(result.metadata["keys"])
    return list(getattr(result, "pictures", None) or getattr(result, "keys", None) or result.picture_names)


def contents(result: Any) -> list[Any]:
    """Everything that must be the same to the bit, whatever the order of the pictures."""
    if isinstance(result, vs.Explanation):
        order = np.argsort(keys_of(result))
        table = result.to_pandas().sort_values("key", ignore_index=True)
        return [table, result.maps[order], result.logits[order], result.extras["head_weights"][order]]
    if isinstance(result, vs.Leaderboard):
        return [result.per_image().sort_values(["method", "metric", "key"], ignore_index=True)]
    if isinstance(result, heads.HeadTable | heads.PartialPruning | heads.JointEffect):
        rows = result.per_picture()
        return [rows.sort_values([str(name) for name in rows.columns[:3]], ignore_index=True)]
    if isinstance(result, heads.MeanOutputs):
        return [result.means, result.to_pandas()]
    if isinstance(result, heads.MapSample):
        return [result.to_pandas(), result.pooled, result.offsets, result.means[0].root]
    if isinstance(result, heads.PatternMapping):
        return [result.to_pandas(), result.heads, result.codes]
    if isinstance(result, MemoryBank):
        order = np.argsort(result.keys)
        return [result.to_pandas().sort_values("key", ignore_index=True), result.features[order]]
    return [result.to_pandas()]


@pytest.mark.parametrize("name", list(KINDS))
def test_it_loads_to_the_same_bits_and_recipe(name: str, tmp_path: Path) -> None:
    kind, made = KINDS[name], whole(name)
    place = made.save(tmp_path / f"result{kind.ending}")
    found = kind.type.load(place)
    if name == "explanation":  # the recipe is that of any pictures; which ones is in the metadata
        found = replace(found, made=made.made)
    assert same(found, made) and found.recipe == made.recipe
    pd.testing.assert_frame_equal(found.to_pandas(), made.to_pandas(), check_exact=True)
    for other, kind_of_other in KINDS.items():
        if other != name:
            with pytest.raises(StorageError) as told:
                kind_of_other.type.load(place)
            assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", list(KINDS))
def test_it_tells_its_recipe_and_shows_itself(name: str) -> None:
    made = whole(name)
    assert isinstance(made.recipe, Recipe) and made.recipe.count == 6
    assert made.recipe.model["fingerprint"] == (ENCODER if name == "memory bank" else VIT).fingerprint
    assert made.recipe != KINDS[name].other(some([0, 1, 2, 3, 4, 5])).recipe
    assert len(repr(made)) < 400 or name == "calibration"
    page = made._repr_html_()
    assert page.count("<") == page.count(">") > 2 and "<script" not in page


@pytest.mark.parametrize("name", MERGING)
def test_shards_merge_to_the_whole_in_any_order(name: str) -> None:
    make, made = KINDS[name].make, whole(name)
    first, second, third = make(some([4, 0])), make(some([3])), make(some([5, 1, 2]))
    for parts in ((first, second, third), (third, first, second)):
        merged = parts[0].merge(*parts[1:])
        assert merged.recipe == made.recipe
        assert all(same(mine, wanted) for mine, wanted in zip(contents(merged), contents(made), strict=True))
    assert all(same(a, b) for a, b in zip(contents(made.merge()), contents(made), strict=True))


@pytest.mark.parametrize("name", MERGING)
def test_what_does_not_go_together_is_refused_in_one_line(name: str) -> None:
    kind = KINDS[name]
    first, second = kind.make(some([0, 1])), kind.make(some([2, 3]))
    reasons: list[tuple[Any, str]] = [
        (kind.other(some([2, 3])), "alike|recipe|protocol|bootstrap|preci"),
        (kind.make(some([1, 2])), "dog|picture"),
        (5, rf"expected others as an? {kind.type.__name__}, got 5 \(int\)"),
        (whole("calibration"), rf"expected others as an? {kind.type.__name__}, got"),
    ]
    for other, words in reasons:
        for given in ((other,), (second, other)):
            with pytest.raises(VitscopeError, match=words) as told:
                first.merge(*given)
            assert "\n" not in str(told.value) and len(str(told.value)) < 700


# ---- tables: rows and numbers worked out by other means -------------------------------------------------------------
def test_an_explanation_has_a_row_per_picture() -> None:
    frame = whole("explanation").to_pandas()
    with torch.no_grad():
        logits = VIT.model(PIXELS)
    assert frame["key"].tolist() == KEYS and frame["id"].nunique() == 6
    assert frame["class"].tolist() == logits.argmax(1).tolist()
    assert frame["class_name"].tolist() == [str(number) for number in logits.argmax(1).tolist()]
    np.testing.assert_allclose(frame["score"], logits.amax(1), rtol=1e-4)
    assert set(frame["method"]) == {"gmar"} and set(frame["target"]) == {"top1"}
    own = vs.explain(VIT, PIXELS[:2], "gmar", [3, 4]).to_pandas()
    assert own["target"].tolist() == ["class:3", "class:4"] and own["class"].tolist() == [3, 4]
    outside = replace(whole("explanation")[2], made=None, classes=None, metadata={})
    (row,) = outside.to_pandas().to_dict("records")
    assert (row["key"], row["id"], row["class_name"]) == ("", "", "") and pd.isna(row["class"])
    assert "prefix_share" not in row


def test_a_head_table_has_a_row_per_head() -> None:
    table = whole("head table")
    frame = table.to_pandas()
    assert list(zip(frame["block"], frame["head"], strict=True)) == [
        (b, h) for b in range(L) for h in range(H)
    ]
    assert frame["n"].tolist() == [6] * 6
    by_hand = [
        np.mean([table["js_divergence"][i, b, h] for i in range(6)], dtype=float)
        for b in range(L)
        for h in range(H)
    ]
    np.testing.assert_allclose(frame["js_divergence"], by_hand, rtol=1e-6)


def test_an_agreement_has_a_row_per_pair() -> None:
    found = whole("agreement")
    frame, names = found.to_pandas(), found.names
    assert list(zip(frame["first"], frame["second"], strict=True)) == [
        (first, second) for i, first in enumerate(names) for second in names[i + 1 :]
    ]


def test_profiles_and_curves_have_a_row_per_place() -> None:
    assert len(whole("strength profile").to_pandas()) == L * H * 4  # hops 0 to 3 on a grid of 4 x 4
    partial = whole("partial pruning")
    assert len(partial.to_pandas()) == len(partial.steps) * len(partial.values)
    assert set(partial.to_pandas()["n"]) == {6}
    cumulative = whole("cumulative pruning").to_pandas()
    assert cumulative["removed"].tolist() == [0, 2, 4, 6] and cumulative["same_prediction"][0] == 1


def test_a_joint_effect_has_a_row_per_metric() -> None:
    """Against whole runs of the model without the heads."""
    found = whole("joint effect")
    assert found.heads == ((0, 1), (1, 2)) and found.pictures == tuple(KEYS)
    row = found.to_pandas().set_index("metric").loc["logit_drop_top"]

    def drop(*removed: tuple[int, int]) -> np.ndarray:
        keep = torch.ones(1, L, H)
        for place in removed:
            keep[0][place] = 0
        full = VIT.forward(PIXELS)
        lost = VIT.forward(PIXELS, ablation=vs.HeadAblation(keep))
        top = full.argmax(1, keepdim=True)
        return (full - lost).gather(1, top)[:, 0].double().numpy()

    joint, singles = drop((0, 1), (1, 2)), drop((0, 1)) + drop((1, 2))
    assert row["joint"] == pytest.approx(joint.mean(), rel=1e-3, abs=1e-4)
    assert row["sum_of_singles"] == pytest.approx(singles.mean(), rel=1e-3, abs=1e-4)
    assert row["interaction"] == pytest.approx((joint - singles).mean(), rel=1e-2, abs=1e-4)
    assert row["interaction_std"] == pytest.approx((joint - singles).std(ddof=1), rel=1e-2, abs=1e-4)
    assert row["n"] == 6
    each = found.per_picture().query("metric == 'logit_drop_top'")
    assert each["picture"].tolist() == KEYS
    np.testing.assert_allclose(each["joint"], joint, rtol=1e-2, atol=1e-4)


def test_mean_outputs_have_a_row_per_head_and_stand_in_for_it() -> None:
    found = heads.mean_outputs(VIT, PIXELS)
    sites = VIT.trace(PIXELS, gradient=False).sites
    by_hand = np.stack([site.output.double().mean((0, 2)).numpy() for site in sites])  # (L, H, d)
    np.testing.assert_allclose(found.means, by_hand, rtol=1e-4, atol=1e-5)
    frame = found.to_pandas()
    assert list(zip(frame["block"], frame["head"], strict=True)) == [
        (b, h) for b in range(L) for h in range(H)
    ]
    np.testing.assert_allclose(frame["norm"], np.sqrt((by_hand**2).sum(-1)).ravel(), rtol=1e-4)
    per_query = heads.mean_outputs(VIT, PIXELS, per_query=True)
    assert per_query.to_pandas().columns.tolist() == ["block", "head", "query", "norm"]
    assert len(per_query.to_pandas()) == L * H * 17
    given = [heads.importance(VIT, PIXELS, replacement=means) for means in (found, found.means, "mean")]
    assert given[0].recipe == given[1].recipe and given[0].recipe == given[2].recipe
    assert np.array_equal(given[0]["js_divergence"], given[1]["js_divergence"])


def test_maps_have_a_row_each() -> None:
    sample = whole("sample of maps")
    counts = sample.to_pandas().groupby(["block", "head"]).size()
    assert counts.tolist() == [2] * 6 and set(sample.to_pandas()["picture"]) <= set(KEYS)
    placed = whole("pattern mapping")
    frame = placed.to_pandas()
    pd.testing.assert_frame_equal(
        frame[["picture", "block", "head"]],
        _maps(some([0, 1, 2, 3, 4, 5])).to_pandas()[["picture", "block", "head"]],
    )
    squares = ((placed.codes[:, None] - atlas().clustering.centres[None]) ** 2).sum(-1)
    assert frame["cluster"].tolist() == squares.argmin(1).tolist()
    np.testing.assert_allclose(frame["distance"], np.sqrt(squares.min(1)), rtol=1e-4, atol=1e-4)
    assert frame["pattern"].tolist() == [atlas().names[cluster] for cluster in frame["cluster"]]
    head = placed.heads.set_index(["block", "head"]).loc[(1, 2)]
    mine = frame[(frame["block"] == 1) & (frame["head"] == 2)]
    assert head["n"] == 2 and head["distance"] == pytest.approx(mine["distance"].mean(), rel=1e-6)
    assert head["share_0"] == (mine["cluster"] == 0).mean()
    assert whole("pattern atlas").to_pandas().equals(whole("pattern atlas").maps)


def test_a_memory_bank_has_a_row_per_picture() -> None:
    bank = whole("memory bank")
    frame = bank.to_pandas()
    assert frame["key"].tolist() == KEYS and frame["label"].tolist() == LABELS
    assert frame["class_name"].tolist() == ["abc"[label] for label in LABELS]
    outside = MemoryBank(torch.ones(2, 3).half(), None, (), "made up", "0000")
    assert outside.to_pandas().to_dict("list") == {"key": ["", ""], "id": ["", ""]}
    with pytest.raises(RecipeError, match="without a recipe"):
        bank.merge(outside)


def test_labels_of_merged_banks_go_by_their_names() -> None:
    first = replace(_bank(some([0, 1])), labels=torch.tensor([0, 1]), label_names=("owl", "cat"))
    second = replace(_bank(some([2, 3])), labels=torch.tensor([0, 0]), label_names=("dog",))
    merged = first.merge(second)
    assert merged.to_pandas()["class_name"].tolist() == ["owl", "cat", "dog", "dog"]
    assert merged.label_names == ("cat", "dog", "owl")
    with pytest.raises(RecipeError, match="labels"):
        first.merge(replace(second, labels=None, label_names=()))


def test_a_calibration_is_one_row() -> None:
    found = whole("calibration")
    (row,) = found.to_pandas().to_dict("records")
    assert row == {
        "kappa": found.kappa, "relevance": found.relevance, "score": found.score, "conserves": found.conserves,
        "pictures": 6,
    }  # fmt: skip
    assert found.recipe.options["way"] == "conservation, 2" and found.recipe.target == "top1"


# ---- other methods, metrics or models of the same pictures: join ----------------------------------------------------
def test_tables_of_the_same_pictures_are_joined() -> None:
    exact = heads.importance(VIT, some([0, 1, 2]), gradient=False)
    scores = heads.head_scores(VIT, some([2, 0, 1]))
    joined = exact.join(scores)
    assert joined.pictures == exact.pictures and set(joined.metrics) == {*exact.metrics, *scores.metrics}
    np.testing.assert_array_equal(joined["entropy"], scores["entropy"][[1, 2, 0]])
    assert joined.recipe not in (exact.recipe, scores.recipe)
    other = heads.importance(VIT, some([3]), gradient=False).join(heads.head_scores(VIT, some([3])))
    assert joined.merge(other).recipe.count == 4
    for wrong in (exact, heads.head_scores(VIT, some([0, 1])), 5):
        with pytest.raises(VitscopeError) as told:
            exact.join(wrong)
        assert "\n" not in str(told.value)


def test_boards_and_samples_of_the_same_pictures_are_joined() -> None:
    source = some([0, 1, 2])
    boards = [
        vs.evaluate(VIT, source, methods=[m], controls=(), metrics=["srg"], protocol=SHORT)
        for m in ("gmar", "daam", "gae")
    ]
    assert boards[0].join(*boards[1:]).names == ["gmar", "daam", "gae"]
    samples = [
        _maps(source),
        heads.collect_maps(VIT, source, per_head=2, name="twin"),
        _maps(some([3, 4]), name="third"),
    ]
    joined = samples[0].join(*samples[1:])
    assert [record.name for record in joined.models] == [samples[0].models[0].name, "twin", "third"]
    assert len(joined) == sum(map(len, samples)) and joined.picture_names == (
        "a/owl",
        "b/owl",
        "cat",
        "dog",
        "elk",
    )
    assert joined.recipe != samples[0].recipe and samples[0].join() is samples[0]
    for each in (boards[0], samples[0]):
        with pytest.raises(VitscopeError, match=r"join\(\) expected others as a"):
            each.join("another")


@pytest.mark.parametrize(
    "name", ["joint effect", "mean outputs", "sample of maps", "pattern mapping", "memory bank"]
)
def test_a_file_that_does_not_fit_together_is_damaged(name: str, tmp_path: Path) -> None:
    from vitscope.storage import tensors

    kind = {"mean outputs": "mean head outputs"}.get(name, name)
    place = whole(name).save(tmp_path / "result")
    arrays, note = tensors.load(place, kind)
    for each in arrays:
        tensors.save(place, kind, {**arrays, each: arrays[each][..., None][:-1]}, note)
        with pytest.raises(DamagedError):
            KINDS[name].type.load(place)
    for each in note:
        if each not in ("skipped", "label_names"):
            tensors.save(place, kind, arrays, {key: value for key, value in note.items() if key != each})
            with pytest.raises(DamagedError):
                KINDS[name].type.load(place)
