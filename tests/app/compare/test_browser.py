"""Compare as a person uses it: which method is most faithful on my pictures, in three steps (T11)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import App, pixels_of
from tests.app.browser.expected import colours
from tests.app.browser.serving import serving


def methods_of(app: App) -> list[str]:
    """The rows from top to bottom."""
    return [row.get_attribute("data-method") for row in app.page.locator("tr[data-method]").all()]


def compared(app: App, count: int) -> Any:
    """The maps, once so many of them are drawn."""
    cells = app.page.get_by_test_id("compared")
    cells.nth(count - 1).wait_for()
    return cells


def test_t11_which_method_is_most_faithful(new_app: Callable[..., App], study: Path) -> None:
    app = new_app().open()
    app.pictures.nth(0).click(modifiers=["Control"])  # 1: choose pictures
    app.pictures.nth(2).click(modifiers=["Control"])
    app.screen("Compare")  # 2
    app.button("Sort by srg").click()  # 3
    assert app.view["screen"] == "compare" and app.view["ranked"] == "srg"

    opened = vs.Study.open(study)
    scores = opened.table("scores").query("metric == 'srg'").groupby("method", observed=True)["value"].mean()
    order = [name for name in scores.sort_values(ascending=False).index if name != "random"]
    assert methods_of(app) == [*order, "random", "input-x-gradient"]
    shown = app.page.get_by_test_id("score")
    for row, name in enumerate([*order, "random"]):
        assert float(shown.nth(row).get_attribute("data-value")) == pytest.approx(scores[name])
    board = opened.leaderboard()
    verdicts = {
        (each.first, each.second): each.verdict for each in board.compare("srg").itertuples(index=False)
    }
    standings = app.page.get_by_test_id("standing").all_inner_texts()
    decided = verdicts.get((order[0], order[1]), verdicts.get((order[1], order[0])))
    assert standings[1] == ("undecided" if decided == "undecided" else f"worse than {order[0]}")
    assert standings[2] == f"worse than {order[0]}"

    # The maps are those of the study, bit for bit, and those of the baselines come from the model.
    cells = compared(app, 8)
    app.page.get_by_label("photo", exact=True).uncheck()
    rows = opened.table("pictures").query("status == 'ok'").sort_values("picture")["picture"].tolist()
    place = methods_of(app).index("daam")
    expected = colours(opened.array("maps/daam")[rows[0]], signed=False)
    painted = pixels_of(app.page.get_by_test_id("compared-map").nth(2 * place))
    np.testing.assert_array_equal(painted[..., :3], expected)
    assert cells.count() == 8

    # A row opens Explain with its method.
    app.page.locator("tr[data-method=daam] th button").click()
    app.map.wait_for()
    assert app.view["screen"] == "explain" and app.view["method"] == "daam"


def test_t11_on_photographs_and_a_real_model(new_app: Callable[..., App], on_deit: Path) -> None:
    opened = vs.Study.open(on_deit)
    scores = opened.table("scores").query("metric == 'srg'").groupby("method", observed=True)["value"].mean()
    order = [name for name in scores.sort_values(ascending=False).index if name != "random"]
    with serving(on_deit) as running:
        app = new_app().open(running.url)
        app.screen("Compare")
        app.button("Sort by srg").click()
        shown = app.page.get_by_test_id("score")
        shown.nth(len(order)).wait_for()
        assert methods_of(app)[:2] == order and set(order) == {"daam", "dart"}
        for row, name in enumerate([*order, "random"]):
            assert float(shown.nth(row).get_attribute("data-value")) == pytest.approx(scores[name])
        first, second = order
        compared_rows = opened.leaderboard().compare("srg", [(first, second)])
        standing = app.page.get_by_test_id("standing").nth(1).inner_text()
        # Of four photographs no two methods can be told apart, and the screen says nothing else.
        assert compared_rows["verdict"].tolist() == ["n/a: 4 pictures, at least 6 needed"]
        assert "worse than" not in standing


def test_crosshair_pair_curves_agreement_and_classes(new_app: Callable[..., App], study: Path) -> None:
    app = new_app().open()
    app.screen("Compare")
    cells = compared(app, 16)  # four methods, the first four pictures
    # The pointer on one map marks the same patch in the row, and nowhere else.
    box = cells.nth(0).locator("canvas").bounding_box()
    app.page.mouse.move(box["x"] + 5.5 / 12 * box["width"], box["y"] + 2.5 / 12 * box["height"])
    first = app.page.locator("tr[data-method]").nth(0)
    assert first.locator(".cells > i").count() == 4 and app.page.locator(".cells > i").count() == 4
    assert "top: 16.6" in first.locator(".cells > i").nth(3).get_attribute("style")
    name = methods_of(app)[0]
    strong = app.page.locator("path.strong").get_attribute("data-curve")
    assert strong == name

    # Two cells are held against each other; the keyboard does it as well.
    cells.nth(0).click()
    cells.nth(4).focus()
    app.page.keyboard.press("Enter")
    pair = app.page.get_by_role("region", name="Two cells")
    assert name in pair.inner_text() and len(app.view["pair"].split(",")) == 2
    pair.get_by_role("radio", name="difference").check()
    opened = vs.Study.open(study)
    rows = opened.table("pictures").query("status == 'ok'").sort_values("picture")["picture"].tolist()
    one, other = (opened.array(f"maps/{each}")[rows[0]] for each in methods_of(app)[:2])
    expected = colours(one / np.abs(one).max() - other / np.abs(other).max(), signed=True)
    painted = pixels_of(app.page.get_by_test_id("difference"))
    assert np.abs(painted[..., :3].astype(int) - expected).max() <= 2  # float32 here, doubles there
    pair.get_by_role("button", name="Close").click()

    # Agreement, in the numbers of the answer.
    shown = app.page.get_by_test_id("agreement").all_inner_texts()
    assert len(shown) == 4 and shown[1] == shown[2] != ""

    # Classes of one picture instead of pictures: five maps of each method that tells them apart.
    app.page.get_by_role("radio", name="classes").check()
    compared(app, 20)
    assert app.view["columns"] == "classes"
    app.page.go_back()
    assert app.view.get("columns") is None


@pytest.mark.parametrize("size", [(1360, 860), (390, 844)])
def test_compare_is_for_everybody(new_app: Callable[..., App], size: tuple[int, int]) -> None:
    app = new_app(viewport={"width": size[0], "height": size[1]}).open()
    app.screen("Compare")
    compared(app, 16)
    assert app.sideways <= 0, "the page itself does not scroll sideways"
    assert app.mistakes() == []
