"""A site of files in a real Chromium, from a plain web server and below other folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import pixels_of
from tests.app.browser.expected import colours
from tests.app.site.conftest import PICTURES, opened, site_tab


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """One tab of the site."""
    with site_tab(browser, address) as tab:
        yield tab


def test_library_and_explain_without_a_server(page: Any, address: str, study: Path) -> None:
    app = opened(page, address)
    assert app.pictures.count() == PICTURES + 1  # with the one that could not be read
    assert "What needs a model is off: this is a site of files" in page.get_by_test_id("without").inner_text()
    assert page.get_by_label("Add pictures").is_disabled() and app.button("Export").is_disabled()

    app.pictures.nth(0).dblclick()
    app.map.wait_for()
    app.settled().choose_method("daam").plain()
    held = vs.Study.open(study)
    key = held.table("pictures").sort_values("picture")["key"].iloc[0]
    assert page.title().startswith(key.rpartition("/")[2])
    np.testing.assert_array_equal(
        app.map_pixels()[..., :3], colours(held.array("maps/daam")[0], signed=False)
    )
    kept = page.get_by_role("combobox", name="Method").locator("option:not([disabled])").all_inner_texts()
    assert sorted(kept) == ["daam", "dart"]
    best = held.table("predictions").query("picture == 0 and rank == 0")["probability"].iloc[0]
    assert next(iter(app.probabilities().values())) == pytest.approx(best)
    assert page.get_by_role("region", name="Heads").count() == 0  # attention needs the model
    app.go_to_block(3)
    assert pixels_of(app.map).shape[:2] == (12, 12)


def test_a_link_into_a_site_opens_that_view_and_a_dropped_picture_is_refused_in_one_line(
    page: Any, address: str, study: Path, tmp_path: Path
) -> None:
    held = vs.Study.open(study).table("pictures").query("status == 'ok'").sort_values("picture")
    app = opened(page, address, f"v=1&screen=explain&picture={held['content'].iloc[1]}&method=dart&block=2")
    assert page.title().startswith(held["key"].iloc[1].rpartition("/")[2])
    assert app.view["block"] == "2" and app.alert.count() == 0
    photo = tmp_path / "own.png"
    vs.worlds.world("shapes").sample(1).images()[0].save(photo)
    app.drop(photo)
    assert "cannot be explained here: this is a site of files without a model" in app.alert.inner_text()


def test_compare_and_heads_without_a_server(page: Any, address: str, study: Path) -> None:
    app = opened(page, address, "v=1&screen=compare&ranked=srg")
    page.get_by_test_id("compared").nth(7).wait_for()  # two methods, the first four pictures
    opened_study = vs.Study.open(study)
    means = opened_study.table("scores").groupby("method", observed=True)["value"].mean()
    shown = page.get_by_test_id("score").all()
    names = [row.get_attribute("data-method") for row in page.locator("tr[data-method]").all()]
    assert names[2:] == ["random", "input-x-gradient"] and set(names[:2]) == {"dart", "daam"}
    for name, score in zip(names, shown, strict=False):
        assert float(score.get_attribute("data-value")) == pytest.approx(means[name])
    assert page.get_by_text("no map", exact=False).count() >= 8  # the baselines need the model
    assert page.get_by_test_id("agreement").count() == 4
    app.screen("Heads")
    page.get_by_text(
        "vitscope study create", exact=False
    ).first.wait_for()  # what this study lacks, and what adds it
