"""The tasks of the Heads screen over the real DeiT-Tiny on photographs: what is on screen is what pandas says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.heads_screen import (
    METRIC,
    Heads,
    codes_inside_trigger_their_pictures,
    first_five_have_their_patterns,
)
from tests.app.browser.serving import Served

HEADS = [(block, head) for block in range(12) for head in range(3)]
HOPS = 14
"""Rings of distance that two of 14 × 14 patches can be apart."""


@pytest.fixture
def heads(app: App, deit_served: Served, deit_headed: vs.Study) -> Heads:
    app.open(deit_served.url, screen="heads", theme="light")
    return Heads(app, deit_headed)


def value_of(cell: Any) -> float:
    return float(cell.get_attribute("data-value") or "nan")


def listed(heads: Heads) -> list[str]:
    return list(heads.page.locator("tbody tr th button").all_inner_texts())


def test_t4_which_heads_matter_most(heads: Heads) -> None:
    for block, head in HEADS:
        expected = heads.table.loc[(block, head), METRIC]
        assert value_of(heads.cell(block, head)) == pytest.approx(expected, rel=1e-5)
    heads.tab("List")
    order = heads.table.sort_values(METRIC, ascending=False).index.tolist()
    assert listed(heads) == [f"{block}.{head}" for block, head in order]


def test_t5_where_two_metrics_disagree(heads: Heads) -> None:
    second = "class_cosine_block"
    heads.page.get_by_label("Second metric").select_option(second)
    heads.tab("List")
    heads.page.get_by_label("Order of the list").select_option("gap")
    ranks = heads.table[[METRIC, second]].rank(method="average").sub(1) / (len(HEADS) - 1)
    gap = (ranks[METRIC] - ranks[second]).abs()
    shown = [
        abs(float(each.get_attribute("data-gap"))) for each in heads.page.locator("tbody tr [data-gap]").all()
    ]
    assert shown == pytest.approx(gap.sort_values(ascending=False).tolist())
    block, head = (int(part) for part in listed(heads)[0].split("."))
    assert gap.loc[(block, head)] == pytest.approx(gap.max())


def test_t6_which_heads_are_local(heads: Heads) -> None:
    box = heads.page.locator("button[data-head='2.0'] svg").bounding_box()
    heads.page.mouse.move(box["x"] + 1, box["y"] + 10)
    heads.page.mouse.down()
    heads.page.mouse.move(box["x"] + box["width"] * 2.5 / HOPS, box["y"] + 10)
    heads.page.mouse.up()
    heads.app.settled()
    mass = heads.study.strength()["mass"]
    assert mass.shape[-1] == HOPS
    for least in (0.5, 0.7):
        heads.page.get_by_label("Least share of the attention").fill(str(least))
        heads.app.settled()
        near = mass[..., :3].astype(np.float32).sum(-1) >= least
        assert heads.selected == {(int(b), int(h)) for b, h in np.argwhere(near)}
    assert heads.selected and max(block for block, _ in heads.selected) < 6, "local heads are early ones"


def test_t7_what_a_head_looks_like(heads: Heads) -> None:
    heads.cell(1, 2).click()
    heads.app.settled()
    row = heads.table.loc[(1, 2)]
    for name in (METRIC, "first_order"):
        cell = heads.page.locator(f"tr[data-metric={name}] td[data-value]")
        assert value_of(cell) == pytest.approx(row[name], rel=1e-5)
    heads.tab("Patterns")
    clusters = heads.study.array("patterns/clusters")[:, 1, 2].astype(int)
    counts = np.bincount(clusters)
    found = heads.page.locator("li button[data-share]").evaluate_all(
        "all => all.map(one => Number(one.dataset.share))"
    )
    assert found == pytest.approx(sorted(counts[counts > 0] / len(clusters), reverse=True))


def test_t8_what_the_important_heads_have_in_common(heads: Heads) -> None:
    first_five_have_their_patterns(heads, 8, [5, 3, 15])


def test_t9_pictures_that_trigger_a_pattern(heads: Heads, deit_served: Served) -> None:
    codes_inside_trigger_their_pictures(heads, deit_served)


def test_t10_what_happens_without_these_heads(heads: Heads, deit: vs.Vit) -> None:
    heads.cell(1, 2).click()
    heads.cell(3, 0).click(modifiers=["Shift"])
    heads.app.settled()
    heads.app.button("Switch off …").click()
    heads.page.get_by_test_id("estimate").wait_for()
    assert "3 pictures" in heads.page.get_by_test_id("estimate").inner_text()
    heads.app.button("Compute").click()
    heads.page.get_by_test_id("effects").wait_for(timeout=90_000)
    table = heads.study.table("pictures")
    photographs = heads.study.manifest.input.url
    effect = vs.heads.joint_effect(deit, photographs, [(1, 2), (3, 0)], table["label"].astype(int).tolist())
    for metric, row in effect.to_pandas().set_index("metric").iterrows():
        cell = heads.page.get_by_test_id("effects").locator(f"tr[data-metric={metric}] td[data-value]")
        assert value_of(cell) == pytest.approx(row["joint"], abs=1e-5)
