"""The planted ViT: every analysis finds the head that decides, and every head gets its right name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import vitscope as vs
from tests.heads.planted import (
    BLOCKS,
    DECIDES,
    DECIDING,
    HEADS,
    LEFT,
    SELF,
    UNIFORM,
    PlantedVit,
    planted_pictures,
)
from vitscope import heads

PICTURES, LABELS = planted_pictures(24)
IMPORTANCE = (
    "probability_drop_label",
    "probability_drop_top",
    "js_divergence",
    "kl_divergence",
    "logit_drop_label",
    "logit_drop_top",
    "loss_rise_label",
    "loss_rise_top",
    "class_cosine_block",
    "class_l2_block",
    "class_cosine_last",
    "class_l2_last",
    "patch_l2_block",
    "first_order",
    "first_order_label",
)


@pytest.fixture(scope="module")
def vit() -> Iterator[vs.Vit]:
    yield vs.open_model(PlantedVit())


@pytest.fixture(scope="module")
def table(vit: vs.Vit) -> heads.HeadTable:
    return heads.importance(vit, PICTURES, LABELS)


def test_the_planted_model_is_right_on_its_pictures(vit: vs.Vit) -> None:
    assert bool((vit.predict(PICTURES).argmax(1) == LABELS).all())


@pytest.mark.parametrize("metric", IMPORTANCE)
def test_every_importance_metric_finds_the_deciding_head(table: heads.HeadTable, metric: str) -> None:
    assert table.order(metric)[0] == DECIDING
    mean = table.mean(metric)
    assert mean[DECIDING] > 20 * np.abs(np.delete(mean.ravel(), DECIDING[0] * HEADS + DECIDES)).max()


def test_without_the_deciding_head_the_model_guesses(vit: vs.Vit, table: heads.HeadTable) -> None:
    assert table.mean("probability_drop_label")[DECIDING] == pytest.approx(0.5, abs=1e-2)
    mean = heads.importance(vit, PICTURES, LABELS, replacement="mean")
    assert mean.order("probability_drop_label")[0] == DECIDING
    assert mean.mean("accuracy_drop")[DECIDING] > 0.2


def test_the_screen_confirms_the_deciding_head_and_leaves_the_rest(vit: vs.Vit) -> None:
    screened = heads.importance(vit, PICTURES, LABELS, screen=0.25)
    assert screened.metadata["heads_confirmed"] == 2
    assert screened.order("js_divergence")[0] == DECIDING
    assert np.isfinite(screened.mean("js_divergence")).sum() == 2
    assert np.isfinite(screened.mean("first_order")).all()


def test_dissection_says_that_only_the_class_query_counts(vit: vs.Vit) -> None:
    found = heads.partial_pruning(vit, PICTURES, *DECIDING, LABELS, queries=[0, 7])
    drop = {part: found.curve(part, "probability_drop_label") for part in heads.PARTS}
    assert drop["class_query"]["mean"].item() == pytest.approx(drop["whole_head"]["mean"].item(), abs=1e-4)
    for part in ("patch_queries", "class_key", "at", "within", "beyond", "query"):
        assert np.abs(drop[part]["mean"]).max() < 1e-4, part
    assert len(drop["at"]) == 6 and list(drop["query"]["k"]) == [0, 7]


def test_cumulative_pruning_keeps_the_model_alive_until_the_deciding_head(
    vit: vs.Vit, table: heads.HeadTable
) -> None:
    found = heads.cumulative_pruning(vit, PICTURES, table, LABELS, metrics=["js_divergence"], random_orders=3)
    curve = found.curves.query("order == 'js_divergence'")
    assert (curve["accuracy"].to_numpy()[:-1] == 1).all() and curve["accuracy"].to_numpy()[-1] < 1
    area = found.area("probability").set_index("order")["area"]
    assert area["js_divergence"] > area["random"]


def test_heads_that_write_where_nobody_reads_add_up_to_nothing(vit: vs.Vit) -> None:
    joint = (
        heads.joint_effect(vit, PICTURES, [(0, SELF), (0, LEFT), DECIDING], LABELS)
        .to_pandas()
        .set_index("metric")
    )
    row = joint.loc["probability_drop_label"]
    assert row["joint"] == pytest.approx(row["sum_of_singles"], abs=1e-3) and row["joint"] > 0.4
    assert abs(row["interaction"]) < 1e-3


def test_strength_tells_self_left_and_uniform_apart(vit: vs.Vit) -> None:
    found = heads.strength(vit, PICTURES)
    distance, entropy = found["patch_distance"], found["entropy"]
    for block in range(BLOCKS):
        assert distance[block, SELF] < 0.1 < 0.5 < distance[block, LEFT] < 1.2
        np.testing.assert_allclose(distance[block, UNIFORM], found.uniform["patch_distance"], rtol=1e-3)
        np.testing.assert_allclose(entropy[block, UNIFORM], found.uniform["entropy"], rtol=1e-3)
        offsets = found["offsets"][block, LEFT]
        assert np.unravel_index(offsets.argmax(), offsets.shape) == (5, 4)
    np.testing.assert_allclose(found["strength"][0, UNIFORM], found.uniform["strength"], rtol=1e-3)
    assert found.spreads["patch_distance"][1, DECIDES] > 10 * found.spreads["patch_distance"][1, LEFT]
    assert found["from_prefix"][1, DECIDES, found.prefix.index("class")] > 0.99


@pytest.fixture(scope="module")
def atlas(vit: vs.Vit) -> heads.PatternAtlas:
    options = heads.AutoencoderOptions(latent=6, epochs=12, width=8)
    return heads.patterns(vit, PICTURES, options=options, repeats=0, display="pca", k=4)


def test_every_head_gets_the_name_of_its_pattern(atlas: heads.PatternAtlas) -> None:
    named = atlas.heads.set_index(["block", "head"])["pattern"]
    for block in range(BLOCKS):
        assert named[block, SELF] == "self"
        assert named[block, LEFT] == "left neighbour"
        assert named[block, UNIFORM] == "uniform"
    assert named[DECIDING].startswith("content-driven")
    dependence = atlas.heads.set_index(["block", "head"])["content_dependence"]
    assert dependence[DECIDING] > 0.5 and dependence.drop(DECIDING).max() < 0.01


def test_agreement_of_scores_that_all_point_at_one_head(vit: vs.Vit, table: heads.HeadTable) -> None:
    found = heads.agreement(vit, PICTURES, LABELS, table=table, rounds=20)
    for name in ("gmar_norm", "gradient_attention", "daam_mass", "first_order"):
        row = found.ranks[found.names.index(name)]
        assert np.unravel_index(np.nanargmax(row), row.shape) == DECIDING, name
    assert found.correlation("js_divergence", "first_order").value > 0
    worst = found.disagreements().iloc[0]
    assert 0 <= worst["range"] <= 1 and worst["highest"] in found.names


def test_the_atlas_saves_loads_and_places_new_pictures(
    vit: vs.Vit, atlas: heads.PatternAtlas, tmp_path: Path
) -> None:
    again = heads.PatternAtlas.load(atlas.save(tmp_path / "atlas"))
    assert again.names == atlas.names and again.verdict == atlas.verdict
    assert torch.equal(again.prototypes, atlas.prototypes)
    fresh, _ = planted_pictures(5, seed=9)
    first, second = (a.map_pictures(vit, fresh) for a in (atlas, again))
    assert first.maps.drop(columns="distance").equals(second.maps.drop(columns="distance"))
    np.testing.assert_allclose(first.codes, second.codes, rtol=0, atol=1e-4)
    assert len(first.maps) == 5 * BLOCKS * HEADS
    named = first.heads.set_index(["block", "head"])["pattern"]
    assert named[0, SELF] == "self" and named[1, LEFT] == "left neighbour"


def test_shuffled_weights_lose_the_patterns_and_leave_the_model_alone(
    vit: vs.Vit, atlas: heads.PatternAtlas
) -> None:
    before = {name: value.clone() for name, value in vit.model.state_dict().items()}
    null = heads.null_mixes(atlas, vit, PICTURES[:4]).heads
    assert len(null) == BLOCKS * HEADS
    assert (null["pattern"] == atlas.heads["pattern"]).mean() < 0.9
    assert all(torch.equal(value, before[name]) for name, value in vit.model.state_dict().items())
