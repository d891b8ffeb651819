"""Two models on the same pictures, as a person looks at them: ``vitscope serve A B``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import App, pixels_of
from tests.app.browser.conftest import tabs
from tests.app.browser.expected import colours
from tests.app.browser.serving import Served
from tests.app.compare.conftest import ALONE, SHARED
from tests.app.compare.test_browser import compared
from vitscope.rendering.colour import colourise, default_colour
from vitscope.rendering.maps.scaling import scale
from vitscope.studies import pair


@pytest.fixture
def new_app(browser: Any, both: Served) -> Iterator[Callable[..., App]]:
    """Tabs of the server of two studies."""
    with tabs(browser, both) as make:
        yield make


def painted(app: App, method: str, column: int) -> Any:
    """What is painted of one cell."""
    return pixels_of(app.page.locator(f"tr[data-method='{method}'] canvas").nth(column))[..., :3]


def maps_of(study: Path, beside: Path, method: str, count: int) -> list[np.ndarray]:
    """The maps of both studies of the first pictures that both have: first, second, first, second."""
    found = pair(vs.Study.open(study), vs.Study.open(beside))
    kept = [each.array(f"maps/{method}") for each in (found.first, found.second)]
    return [kept[side][found.rows[side][place]] for place in range(count) for side in (0, 1)]


def test_two_models_stand_beside_each_other(new_app: Callable[..., App], study: Path, beside: Path) -> None:
    app = new_app().open()
    app.screen("Compare")
    app.page.get_by_role("radio", name="models").check()
    app.button("Sort by srg").click()
    compared(app, 2 * 3 * 5)  # five methods, the first three pictures, two models
    app.settled()
    assert app.view["columns"] == "models" and app.view["ranked"] == "srg"
    told = app.page.get_by_test_id("shown").inner_text()
    assert (
        f"3 of {SHARED} pictures that both have shown; {12 - SHARED} only in shapes, {ALONE} only in position"
        in told
    )

    # The numbers of the library, with its verdicts.
    found = pair(vs.Study.open(study), vs.Study.open(beside))
    boards, table = found.boards(), found.to_pandas().set_index("method")
    verdicts = []
    for row in app.page.locator("tr[data-method]").all():
        name = row.get_attribute("data-method")
        for model, board in boards.items():
            score = row.locator(f"[data-model={model}] [data-testid=score]")
            assert score.count() == (name in board.names)
            if name in board.names:
                assert float(score.get_attribute("data-value")) == pytest.approx(
                    board.interval(name, "srg").value
                )
        if name in table.index:
            verdicts.append(row.get_by_test_id("verdict").inner_text())
            assert verdicts[-1].startswith(table.loc[name, "verdict"])
    assert any(each.startswith("undecided (p ") for each in verdicts) and len(verdicts) == 3
    gmar = app.page.locator("tr[data-method=gmar]")
    assert gmar.get_by_test_id("verdict").inner_text() == "scored by position alone"
    assert (
        app.page.locator("tr[data-method=dart]")
        .get_by_test_id("alike")
        .inner_text()
        .startswith(
            f"{vs.evaluation.map_agreement.maps_correlation(*_all(found, 'dart')).mean():.2g}".replace(
                "-", "−"
            )
        )
    )

    # The maps are those of each study, of the same picture: never of the same place in the list.
    app.page.get_by_label("photo", exact=True).uncheck()
    app.settled()
    for column, values in enumerate(maps_of(study, beside, "daam", 2)):
        np.testing.assert_array_equal(painted(app, "daam", column), colours(values, signed=False))

    # One scale for a method, and one for all maps without a sign, as Python draws them; the bar tells its range.
    every = {name: np.stack(maps_of(study, beside, name, 3)) for name in ("daam",)}
    app.page.get_by_role("radio", name="of the method").check()
    expected = colourise(scale(every["daam"], "minmax", scope="global").values, default_colour(False))
    np.testing.assert_array_equal(painted(app, "daam", 5), expected[5])
    bar = app.page.locator("tr[data-method=daam] th").get_by_test_id("range")
    assert float(bar.get_attribute("data-low")) == pytest.approx(every["daam"].min())
    assert float(bar.get_attribute("data-high")) == pytest.approx(every["daam"].max())

    # Back leads to what was seen before, and a link to the same.
    app.page.go_back()
    assert app.view.get("shared") is None and app.page.get_by_role("radio", name="own scale").is_checked()
    link = app.page.evaluate("location.hash")
    other = new_app()
    other.page.goto(f"{other.url}{link}")
    other.ready()
    compared(other, 30)
    assert other.page.get_by_role("radio", name="models").is_checked()
    assert (
        other.page.get_by_test_id("verdict").all_inner_texts()[:1]
        == app.page.get_by_test_id("verdict").all_inner_texts()[:1]
    )


def _all(found: Any, method: str) -> list[np.ndarray]:
    """All maps of both studies, of the pictures that both have."""
    studies = (found.first, found.second)
    return [each.array(f"maps/{method}")[rows] for each, rows in zip(studies, found.rows, strict=True)]


def test_selected_pictures_the_pair_and_the_keyboard(new_app: Callable[..., App], study: Path) -> None:
    app = new_app().open()
    for place in (0, 10, 11):  # of which the last two are in the first study alone
        app.pictures.nth(place).click(modifiers=["Control"])
    app.screen("Compare")
    app.page.get_by_role("radio", name="pictures").focus()
    app.page.keyboard.press("ArrowRight")
    app.page.keyboard.press("ArrowRight")
    cells = compared(app, 2 * 3)
    app.settled()
    kept = pair_count(app)
    assert f"{kept} of 3 selected pictures shown" in app.page.get_by_test_id("shown").inner_text()
    cells.nth(0).focus()
    app.page.keyboard.press("Enter")
    cells.nth(1).focus()
    app.page.keyboard.press("Enter")
    words = app.page.get_by_role("region", name="Two cells").inner_text()
    assert "by shapes against" in words and "by position" in words
    # The pointer marks the same place in the row, in both models.
    cells.nth(1).scroll_into_view_if_needed()
    box = cells.nth(1).locator("canvas").bounding_box()
    app.page.mouse.move(box["x"] + 2.5 / 12 * box["width"], box["y"] + 11.5 / 12 * box["height"])
    marks = app.page.locator("tr[data-method] .cells > i")
    assert marks.count() == 2 * kept and all(
        "top: 91.6" in each.get_attribute("style") for each in marks.all()
    )


def pair_count(app: App) -> int:
    """How many pictures have columns."""
    return int(app.page.locator("tr.groups th.group").count())


@pytest.mark.parametrize(("size", "scheme"), [((1360, 860), "dark"), ((390, 844), "light")])
def test_two_models_are_for_everybody(
    new_app: Callable[..., App], size: tuple[int, int], scheme: str
) -> None:
    app = new_app(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme).open(
        screen="compare", columns="models", shared="all", ranked="srg"
    )
    compared(app, 30)
    app.settled()
    assert app.page.get_by_test_id("scales").get_by_test_id("range").count() == 2
    assert app.sideways <= 0, "the page itself does not scroll sideways"
    assert app.mistakes() == []
