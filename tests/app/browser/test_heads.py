"""The tasks of the Heads screen over a small study: what is on screen is what pandas says of its tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.heads_screen import (
    HEADS,
    METRIC,
    Heads,
    codes_inside_trigger_their_pictures,
    first_five_have_their_patterns,
)
from tests.app.browser.serving import Served


def shown(text: str | None) -> float:
    return float(text or "nan")


def test_t4_which_heads_matter_most(app: App, headed_served: Served, headed: vs.Study) -> None:
    app.open(headed_served.url).screen("Heads")
    heads = Heads(app, headed)
    for block, head in HEADS:
        value = shown(heads.cell(block, head).get_attribute("data-value"))
        assert value == pytest.approx(heads.table.loc[(block, head), METRIC], rel=1e-5)
    heads.tab("List")
    rows = heads.page.locator("tbody tr")
    names = rows.locator("th button").all_inner_texts()
    expected = heads.table.sort_values(METRIC, ascending=False).index.tolist()
    assert names == [f"{block}.{head}" for block, head in expected]
    heads.page.get_by_label("Order of the list").select_option("lowest")
    assert rows.locator("th button").all_inner_texts() == names[::-1]


def test_t5_where_two_metrics_disagree(heads: Heads) -> None:
    second = "class_cosine_block"
    heads.page.get_by_label("Second metric").select_option(second)
    heads.tab("List")
    heads.page.get_by_label("Order of the list").select_option("gap")
    ranks = heads.table[[METRIC, second]].rank(method="average").sub(1) / (len(HEADS) - 1)
    gap = ranks[METRIC] - ranks[second]
    expected = gap.abs().sort_values(ascending=False, kind="stable")
    rows = heads.page.locator("tbody tr")
    gaps = [shown(each.get_attribute("data-gap")) for each in rows.locator("[data-gap]").all()]
    assert [abs(each) for each in gaps] == pytest.approx(expected.tolist())
    block, head = (int(part) for part in rows.locator("th button").first.inner_text().split("."))
    assert abs(gap.loc[(block, head)]) == pytest.approx(expected.iloc[0])
    heads.tab("Two metrics")
    found = vs.heads.agree(heads.study.heads(), [METRIC, second]).correlation(METRIC, second)
    assert (
        f"{found.value:.2f}".replace("-", "−").rstrip("0")
        in heads.page.get_by_test_id("pair-agreement").inner_text()
    )


def test_t6_which_heads_are_local(heads: Heads) -> None:
    mass = heads.study.strength()["mass"]
    box = heads.page.locator("button[data-head='2.0'] svg").bounding_box()
    heads.page.mouse.move(box["x"] + 1, box["y"] + 10)
    heads.page.mouse.down()
    heads.page.mouse.move(box["x"] + box["width"] * 4.5 / 12, box["y"] + 10)
    heads.page.mouse.up()
    heads.app.settled()
    for least in (0.5, 0.4, 0.35):
        heads.page.get_by_label("Least share of the attention").fill(str(least))
        heads.app.settled()
        near = mass[..., :5].astype(np.float32).sum(-1) >= least
        assert heads.selected == {(int(b), int(h)) for b, h in np.argwhere(near)}
    assert heads.selected and heads.counted()[0] == len(heads.selected)
    heads.app.button("global").click()
    heads.app.settled()
    far = mass[..., 4:].sum(-1) >= 0.5
    assert heads.selected == {(int(b), int(h)) for b, h in np.argwhere(far)}


def test_t7_what_a_head_looks_like(heads: Heads) -> None:
    heads.cell(0, 3).click()
    heads.app.settled()
    row = heads.table.loc[(0, 3)]
    for name in (METRIC, "first_order", "class_l2_last"):
        cell = heads.page.locator(f"tr[data-metric={name}] td[data-value]")
        assert shown(cell.get_attribute("data-value")) == pytest.approx(row[name], rel=1e-5)
    heads.tab("Patterns")
    clusters = heads.study.array("patterns/clusters")[:, 0, 3].astype(int)
    shares = sorted(np.bincount(clusters)[np.bincount(clusters) > 0] / len(clusters), reverse=True)
    found = heads.page.locator("li button[data-share]").evaluate_all(
        "all => all.map(one => one.dataset.share)"
    )
    assert [float(each) for each in found] == pytest.approx(shares)
    atlas = heads.study.patterns().heads.set_index(["block", "head"])
    dependence = atlas.loc[(0, 3), "content_dependence"]
    assert f"{dependence:.3g}" in heads.page.get_by_test_id("dependence").inner_text()


def test_t8_what_the_important_heads_have_in_common(heads: Heads) -> None:
    first_five_have_their_patterns(heads, 5, [5, 12, 60])


def test_t8_how_many_heads_can_go(heads: Heads, vit: vs.Vit, picture_files: list[Path]) -> None:
    heads.tab("Cumulative")
    heads.page.get_by_test_id("removal-estimate").wait_for()
    assert "12 of 12 selected pictures" in heads.page.get_by_test_id("removal-estimate").inner_text()
    heads.app.button("Remove heads").click()
    heads.page.get_by_test_id("removal-words").wait_for(timeout=90_000)
    labels = heads.study.table("pictures")["label"].astype(int).tolist()
    means = heads.study.array(f"head_scores/{METRIC}")[:].mean(0, dtype=np.float64)
    order = sorted(HEADS, key=lambda head: means[head])
    expected = vs.heads.cumulative_pruning(
        vit, picture_files, {METRIC: order, "turned": order[::-1]}, labels, steps=12
    )
    names = {METRIC: METRIC, f"{METRIC} turned": "turned", "random": "random"}
    for answer in ("accuracy", "probability", "js_divergence"):
        heads.page.get_by_label("Curve", exact=True).select_option(answer)
        areas = expected.area(answer).set_index("order")["area"]
        for shown_as, name in names.items():
            curve = expected.curves[expected.curves["order"] == name].groupby("removed")[answer].mean()
            drawn = heads.page.locator(f"path[data-order='{shown_as}']").get_attribute("data-values")
            assert [float(each) for each in drawn.split(",")] == pytest.approx(curve.tolist(), abs=1e-5)
            area = heads.page.locator(f"tr[data-order='{shown_as}'] td[data-value]").get_attribute(
                "data-value"
            )
            assert float(area) == pytest.approx(areas[name], abs=1e-5)
    # A second metric is drawn beside it; what was computed already is there at once.
    heads.page.get_by_label("Second metric").select_option("patch_distance")
    heads.app.button("Remove heads").click()
    heads.page.locator("path[data-order='patch_distance']").wait_for(timeout=90_000)
    heads.page.get_by_label("Second metric").select_option("")
    heads.page.locator(f"path[data-order='{METRIC}']").wait_for()
    assert heads.page.locator("path[data-order='patch_distance']").count() == 0
    heads.page.get_by_label("Curve", exact=True).select_option("share")
    assert "of 24 heads hold" in heads.page.get_by_test_id("cumulative-words").inner_text()


def test_pictures_that_respond_most_to_the_chosen_heads_come_first(heads: Heads) -> None:
    heads.cell(0, 3).click()
    heads.cell(4, 1).click(modifiers=["Shift"])
    heads.app.settled()
    heads.tab("By selection")
    tiles = heads.page.locator("[data-picture][data-response]")
    contents = heads.study.table("pictures")["content"].tolist()
    for metric in (METRIC, "class_l2_last"):
        heads.page.get_by_label("Metric", exact=True).select_option(metric)
        heads.app.settled()
        rows = heads.study.array(f"head_scores/{metric}")[:].astype(np.float64)
        response = (rows[:, 0, 3] + rows[:, 4, 1]) / 2
        told = tiles.evaluate_all(
            "all => all.map(one => [one.dataset.picture, Number(one.dataset.response)])"
        )
        assert [name for name, _ in told] == [contents[row] for row in np.argsort(-response)]
        assert [value for _, value in told] == pytest.approx(sorted(response, reverse=True), rel=1e-5)
    assert "respond most to heads 0.3, 4.1" in heads.page.get_by_test_id("pictures-shown").inner_text()
    # A pattern among these heads is counted again.
    heads.page.locator("[data-cluster='0']").click()
    heads.app.settled()
    shown_counts = heads.page.locator("[data-picture][data-count]").evaluate_all(
        "all => all.map(one => Number(one.dataset.count))"
    )
    assert shown_counts == sorted(shown_counts, reverse=True)


def test_t9_pictures_that_trigger_a_pattern(heads: Heads, headed_served: Served) -> None:
    codes_inside_trigger_their_pictures(heads, headed_served)


def test_t10_what_happens_without_these_heads(heads: Heads, vit: vs.Vit, picture_files: list[Path]) -> None:
    heads.cell(1, 2).click()
    heads.cell(3, 0).click(modifiers=["Shift"])
    heads.app.settled()
    assert heads.selected == {(1, 2), (3, 0)}
    heads.app.button("Switch off …").click()
    heads.page.get_by_test_id("estimate").wait_for()
    assert "12 pictures" in heads.page.get_by_test_id("estimate").inner_text()
    heads.app.button("Compute").click()
    heads.page.get_by_test_id("effects").wait_for()
    labels = heads.study.table("pictures")["label"].astype(int).tolist()
    expected = (
        vs.heads.joint_effect(vit, picture_files, [(1, 2), (3, 0)], labels).to_pandas().set_index("metric")
    )
    for metric, row in expected.iterrows():
        cell = heads.page.get_by_test_id("effects").locator(f"tr[data-metric={metric}] td[data-value]")
        assert shown(cell.get_attribute("data-value")) == pytest.approx(row["joint"], abs=1e-6)


def test_one_picture_has_its_own_importance_and_its_own_points(heads: Heads) -> None:
    heads.tab("By selection")
    heads.page.locator("[data-picture][data-count]").nth(2).click()
    heads.app.settled()
    assert (
        heads.counted() == [24, 1, 24] and "mean over 1 picture" in heads.panel("B Importance").inner_text()
    )
    scores = heads.study.array(f"head_scores/{METRIC}")[2]
    for block, head in HEADS[::5]:
        value = shown(heads.cell(block, head).get_attribute("data-value"))
        assert value == pytest.approx(scores[block, head], rel=1e-5)
    joined = heads.page.locator("path.joined").get_attribute("d")
    assert joined.count("L") == 23


def test_brushes_combine_are_undone_and_stand_in_the_link(heads: Heads) -> None:
    app = heads.app
    heads.cell(2, 1).click()
    tile = heads.page.locator("[data-cluster='0']")
    tile.click()
    clusters = heads.study.array("patterns/clusters")[:].astype(int)
    in_first = clusters == 0
    assert heads.counted()[2] == in_first[:, 2, 1].sum()
    heads.cell(4, 3).click(modifiers=["Shift"])
    assert heads.counted()[2] == in_first[:, 2, 1].sum() + 12
    heads.cell(4, 3).click(modifiers=["Alt"])
    assert heads.counted()[2] == in_first[:, 2, 1].sum()
    chips = heads.page.get_by_role("region", name="Selection", exact=True).get_by_role("listitem")
    words = [text.replace("×", "").strip() for text in chips.all_inner_texts()]
    assert words == ["head 2.1", "pattern 0", "or head 4.3", "without head 4.3"]
    app.button("Undo").click()
    assert heads.counted()[2] == in_first[:, 2, 1].sum() + 12
    app.button("Remove head 2.1").click()
    only = in_first.copy()
    only[:, 4, 3] = True
    assert heads.counted()[2] == only.sum()
    app.page.reload()
    app.ready()
    assert heads.counted()[2] == only.sum() and json.loads(app.view["heads"])["pinned"] == "4.3"
