"""The page builder: escapes everything, asks for nothing outside itself, sorts and marks what it says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup
from PIL import Image

from vitscope.errors import OutputError, RenderingError
from vitscope.rendering import Column, Measure, Page, bars
from vitscope.rendering.pages.markup import json_block, short_numbers
from vitscope.rendering.pages.tables import heat_table, share_bars, table
from vitscope.rendering.pages.templating import fill

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<b>"


def full_page() -> Page:
    page = Page(HOSTILE, HOSTILE).add(HOSTILE)
    page.section(HOSTILE, f"{HOSTILE}\n\nsecond paragraph").metadata({HOSTILE: HOSTILE})
    page.section("Tables").table(
        [HOSTILE, Column("score", True, hint=HOSTILE)], [[HOSTILE, 1.0]], caption=HOSTILE
    )
    page.heat_map([[0.1, np.nan]], [HOSTILE], ["1", HOSTILE], caption=HOSTILE, corner=HOSTILE)
    page.section("Figures").commands([HOSTILE, (HOSTILE, HOSTILE)])
    page.figure(Image.new("RGB", (4, 4)), alt=HOSTILE, caption=HOSTILE)
    page.figures([(lambda theme: bars([HOSTILE], [1.0], theme=theme), HOSTILE, HOSTILE)])
    return page


def test_a_page_is_self_contained_and_escapes_hostile_text(reader: type) -> None:
    page = full_page().html()
    read = reader(page)
    read.assert_self_contained()
    assert "<img src=x" not in page and not read.of("b")
    assert sum(HOSTILE in text for text in read.texts) >= 8
    assert all(image.get("alt") is not None for image in read.of("img"))
    assert [s["media"] for s in read.of("source")] == ["(prefers-color-scheme: dark)"]


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40), key=st.text(max_size=10))
def test_any_text_comes_back_as_it_was(reader: type, text: str, key: str) -> None:
    read = reader(table([Column(text, hint=text)], [[text]]))
    [head], [cell] = (read.of(tag) for tag in ("button", "tbody"))
    if "\0" not in text and "\r" not in text:
        assert head.get("title", "") == text
        assert text in read.texts or not text
    assert not cell and len(read.of("th")) == 2
    block = json_block({key: [text, "</script>"]})
    assert block.count("</script>") == 1
    assert json.loads(re.sub(r"^<script[^>]*>|</script>$", "", block)) == {key: [text, "</script>"]}


def test_markup_passes_and_text_does_not(reader: type) -> None:
    page = Page("p").add(Markup("<b>x</b>"), "<b>").text("one & two\n\nthree").html()
    assert "<b>x</b>" in page and "&lt;b&gt;" in page
    assert "<p>one &amp; two</p>" in page and "<p>three</p>" in page
    read = reader(table(["a", "b"], [[Markup("<i>m</i>"), "<i>t</i>"]]))
    assert len(read.of("i")) == 1 and {"m", "<i>t</i>"} <= set(read.texts)


def test_a_template_without_a_value_is_an_error_and_no_gap() -> None:
    with pytest.raises(UndefinedError, match="subtitle"):
        fill("vitscope.rendering.pages", "page.html", title="t", policy="", style="")


def test_the_policy_allows_the_page_s_own_script_and_no_other() -> None:
    page = full_page().html()
    script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in page


def test_tables_mark_the_best_and_keep_what_sorting_needs(reader: type) -> None:
    columns = ["method", Column("score", True, "high"), Column("cost", True, "low")]
    rows = [["a", Measure(0.5, 0.4, 0.6), 3], ["b", 0.25, 1], ["c", None, float("nan")]]
    read = reader(table(columns, rows, caption="Scores"))
    cells = read.of("td")
    assert [cell.get("data-value") for cell in cells] == ["0.5", "3.0", "0.25", "1.0", None, None]
    assert [cell["class"] for cell in cells] == [
        "number best",
        "number",
        "number",
        "number best",
        "number",
        "number",
    ]
    assert {"0.500", "0.250", "0.400 to 0.600", "3", "–"} <= set(read.texts)
    assert [head.get("scope") for head in read.of("th")] == ["col"] * 3 + ["row"] * 3
    with pytest.raises(RenderingError, match="3 cells"):
        table(columns, [["a", 1.0]])


def test_small_values_are_not_rounded_away(reader: type) -> None:
    read = reader(table(["name", Column("p", True)], [["a", 0.5], ["b", 0.00001], ["c", -0.5], ["d", 0.0]]))
    assert {"0.5", "1e−5", "−0.5", "0"} <= set(read.texts)


def test_heat_map_paints_numbers_and_hatches_gaps(reader: type) -> None:
    read = reader(heat_table([[0.0, 1.0], [np.nan, 0.5]], ["r1", "r2"], ["c1", "c2"]))
    cells = [cell for cell in read.of("td") if "title" in cell]
    assert [cell["title"] for cell in cells] == ["0", "1", "no value", "0.5"]
    assert "background:#440154" in (cells[0]["style"] or "") and cells[1]["class"] == "peak"
    signed = reader(heat_table([[-2.0, 1.0]], ["r"], ["a", "b"], signed=True))
    assert {"−2", "0", "2"} <= set(signed.texts)
    with pytest.raises(RenderingError, match="name every row"):
        heat_table([[1.0]], ["a", "b"], ["c"])


def test_shares_are_bars_with_percentages(reader: type) -> None:
    read = reader(share_bars([("a", 0.931), ("b", 1.7), ("c", float("nan")), ("d", -0.1)], marked="a"))
    fills = [span["style"] for span in read.of("span") if "style" in span]
    assert fills == ["width:93.10%", "width:100.00%", "width:0.00%", "width:0.00%"]
    assert {"93.1 %", "no value", "−10.0 %"} <= set(read.texts)


def test_numbers_for_the_script_are_short_and_valid_json() -> None:
    assert short_numbers([[1 / 3, np.nan], [np.inf, 1e-12]]) == [[0.3333, None], [None, 1e-12]]


def test_pages_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = full_page().write(tmp_path / "deep" / "page.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]
    with pytest.raises(OutputError, match="cannot write"):
        full_page().write(path / "below.html")
    path.parent.joinpath("folder").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        full_page().write(path.parent / "folder")
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["folder", "page.html"]
