"""The study that a first ``vitscope serve`` makes, as a site: written by the command, opened screen by screen."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.expected import colours
from tests.app.site.conftest import hosted, opened, site_tab
from vitscope.app.ready import Ready, ready_study
from vitscope.cli.application import run

PICTURES = 12


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vs.Study]:
    """The ready study with every analysis that it has, of fewer pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield vs.Study.open(ready_study(Ready(pictures=PICTURES)))


def test_the_bundled_study_is_a_site_that_opens(
    bundled: vs.Study,
    browser: Any,
    page_is_built: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "pages" / "shapes"
    os.makedirs(folder.parent)
    assert run(["study", "site", str(bundled.place), str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    size = next(
        place for place, line in enumerate(lines) if re.match(r"written +about .*B in [\d,]+ files", line)
    )
    made = next(place for place, line in enumerate(lines) if line.startswith(f"made {folder}"))
    assert size < made, "the size is told before anything is written"

    with hosted(folder) as address, site_tab(browser, address) as page:
        app = opened(page, address)
        assert app.pictures.count() == PICTURES
        assert "What needs a model is off" in page.get_by_test_id("without").inner_text()
        assert page.get_by_label("Add pictures").is_disabled() and app.button("Export").is_disabled()

        app.pictures.nth(0).dblclick()
        app.map.wait_for()
        app.settled().choose_method("rollout").plain()
        expected = colours(bundled.array("maps/rollout")[0], signed=False)
        np.testing.assert_array_equal(app.map_pixels()[..., :3], expected)

        app.screen("Heads")
        cells = page.locator("[role=gridcell][data-head]")
        cells.nth(23).wait_for()
        assert cells.count() == 6 * 4
        for name in ("A Pictures", "B Importance", "C Attention strength", "D Attention patterns"):
            assert page.get_by_role("region", name=name).count() == 1, name
        assert page.get_by_test_id("points").count() or page.locator("canvas").count()

        importance = page.get_by_role("region", name="B Importance")
        importance.get_by_role("button", name="Cumulative").click()
        reason = importance.get_by_test_id("removal-missing").inner_text()
        assert "this is a site of files" in reason and "vitscope heads importance" in reason
        importance.get_by_role("combobox", name="Curve").select_option("share")
        importance.get_by_text("heads hold").wait_for()  # what the study's own numbers are enough for

        app.screen("Compare")
        board = bundled.leaderboard()
        page.get_by_test_id("compared").nth(4 * 4 - 1).wait_for()
        for row in page.locator("tr[data-method]").all():
            name = row.get_attribute("data-method")
            if name in board.names:
                value = float(row.get_by_test_id("score").get_attribute("data-value"))
                assert value == pytest.approx(board.interval(name, "srg").value)
        assert page.get_by_text("no map", exact=False).count() >= 8, "the baselines need a model"
        assert page.get_by_test_id("agreement").count() == 16 and page.locator("path.strong").count() == 1
        assert page.get_by_role("radio", name="classes").is_disabled()
        page.get_by_role("radio", name="models").check()
        app.settled()
        assert "vitscope serve DIR OTHER" in page.get_by_role("region", name="Two models").inner_text()
