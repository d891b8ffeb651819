"""The tasks of the app, each in as many steps as it is meant to take, with numbers from the Python API."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.conftest import FIRST, WRONG
from tests.app.browser.expected import attention_map, colours, probabilities, without
from vitscope.errors import TargetError


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that is in no study: of another size and shape than the model takes."""
    image = vs.worlds.world("shapes").sample(1, seed=77).images()[0]
    canvas = Image.new("RGB", (230, 160), (120, 130, 110))
    canvas.paste(image.resize((150, 150)), (40, 5))
    path = tmp_path_factory.mktemp("own") / "my photo.png"
    canvas.save(path)
    return path


def close(shown: dict[int, float], expected: Any) -> None:
    """The probabilities on the page are those of the model, the best ones, best first."""
    assert len(shown) >= 5
    for number, probability in shown.items():
        assert probability == pytest.approx(float(expected[number]), abs=2e-5)


def test_t1_explain_my_own_picture(app: App, vit: vs.Vit, photo: Path) -> None:
    app.open().drop(photo)  # one step: the file falls on the page
    assert app.view["screen"] == "explain"
    assert app.page.get_by_role("combobox", name="Method").input_value() == "dart"
    expected = vs.explain(vit, [photo], "dart")
    close(app.probabilities(), probabilities(vit, photo))
    assert next(iter(app.probabilities())) == int(expected.classes[0])
    app.plain()
    np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected.maps[0], signed=True))


@pytest.mark.parametrize("way", [App.paste, App.pick], ids=["pasted", "picked"])
def test_t1_pasted_and_picked(app: App, vit: vs.Vit, photo: Path, way: Callable[[App, Path], App]) -> None:
    way(app.open(), photo)
    assert app.view["screen"] == "explain"
    close(app.probabilities(), probabilities(vit, photo))


def test_t2_watch_it_form_through_the_blocks(app: App, vit: vs.Vit, photo: Path) -> None:
    app.open().drop(photo)
    app.plain()
    app.page.evaluate(
        """() => {
            window.blocks = [];
            const note = () => {
                const chosen = document.querySelector('[aria-label=Blocks] [aria-selected=true]')?.ariaLabel;
                if (chosen !== window.blocks.at(-1)) window.blocks.push(chosen);
            };
            new MutationObserver(note).observe(document.body, { subtree: true, attributes: true });
        }"""
    )
    app.button("Play").click()
    app.button("Pause").wait_for()
    app.button("Play").wait_for(timeout=20_000)  # it stops by itself at the last block
    assert app.page.evaluate("window.blocks") == [f"block {block}" for block in range(6)]
    app.settled()
    expected = vs.explain(vit, [photo], "dart")
    np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected.flow[0, 5], signed=True))


def test_t3_where_does_this_patch_look(app: App, vit: vs.Vit, picture_files: list[Path]) -> None:
    app.open().explain(FIRST)
    app.plain()
    app.click_cell(4, 7)
    app.page.get_by_role("slider", name="Block", exact=True).fill("3")
    app.settled()
    assert app.view["block"] == "3" and app.view["query"] == str(4 * 12 + 7)
    first = picture_files[0]
    expected = attention_map(vit, first, 3, 4 * 12 + 7, "out")
    np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected, signed=False))
    app.hover_cell(2, 2)
    shown = float(app.readout.get_attribute("data-value"))
    assert shown == pytest.approx(float(expected[2, 2]), rel=1e-5)
    app.page.get_by_role("radio", name="is looked at by").check()
    app.settled()
    expected = attention_map(vit, first, 3, 4 * 12 + 7, "in")
    np.testing.assert_allclose(app.map_pixels()[..., :3].astype(int), colours(expected, signed=False), atol=2)


def test_t10_what_happens_when_i_switch_these_heads_off(
    app: App, vit: vs.Vit, picture_files: list[Path]
) -> None:
    app.open().explain(FIRST)
    app.plain()
    before = app.probabilities()
    app.go_to_block(4)
    app.page.get_by_role("switch", name="Switch head 4.1 off").click()
    app.settled()
    app.page.get_by_role("switch", name="Switch head 4.3 off").click()
    app.settled()
    first, off = picture_files[0], [(4, 1), (4, 3)]
    close(app.probabilities(), probabilities(vit, first, off))
    for row in app.page.get_by_test_id("prediction").all():
        if (old := row.get_attribute("data-before")) is not None:
            assert float(old) == pytest.approx(before.get(int(row.get_attribute("data-class")), float(old)))
    expected = vs.explain(vit, [first], "dart", ablation=without(vit, off))
    np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected.flow[0, 4], signed=True))
    app.button("Switch all on").click()
    app.settled()
    assert app.probabilities() == before


def test_t12_why_was_this_one_wrong(app: App, vit: vs.Vit, picture_files: list[Path], sample: Any) -> None:
    app.open()
    app.page.get_by_role("radio", name=re.compile("^wrong")).check()
    predicted = [int(probabilities(vit, file).argmax()) for file in picture_files]
    labels = [int(label) for label in sample.labels]
    labels[WRONG] = (labels[WRONG] + 1) % 10
    wrong = [place for place, label in enumerate(labels) if predicted[place] != label]
    assert WRONG in wrong
    assert app.pictures.count() == len(wrong)
    assert app.page.get_by_test_id("counted").inner_text() == f"{len(wrong)} of 12 shown"
    app.page.get_by_role("option", name=picture_files[WRONG].name).click()
    app.settled()
    app.page.get_by_role("button", name=re.compile("^Explain")).last.click()
    app.settled()
    app.plain()
    expected = vs.explain(vit, [picture_files[WRONG]], "dart")
    np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected.maps[0], signed=True))
    menu = app.page.get_by_role("combobox", name="Target")
    name = vit.class_names[labels[WRONG]]
    menu.select_option(label=f"label: {name}")
    app.settled()
    expected = vs.explain(vit, [picture_files[WRONG]], "dart", target=labels[WRONG])
    np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected.maps[0], signed=True))
    assert app.view["target"] == str(labels[WRONG])


def test_t13_put_it_in_my_paper(app: App, vit: vs.Vit, picture_files: list[Path]) -> None:
    app.open().explain(FIRST)
    app.choose_method("daam")
    expected = vs.explain(vit, [picture_files[0]], "daam")
    facts = (vit.source, vit.fingerprint, "daam", vs.__version__)

    with Image.open(app.export("PNG")) as small, Image.open(app.export("PNG 2×")) as large:
        assert large.size == pytest.approx((2 * small.width, 2 * small.height), rel=0.01)
        written = json.dumps(dict(small.text))
        assert all(fact in written for fact in facts)
    drawn = app.export("SVG").read_text()
    assert drawn.startswith(("<svg", "<?xml")) and all(fact in drawn for fact in facts)
    with app.page.expect_download() as coming:
        app.page.get_by_role("group", name="Film").get_by_role("button", name="GIF").click()
    with Image.open(coming.value.path()) as film:
        assert film.n_frames >= 6
        assert all(fact in str(film.info) for fact in facts)
    lines = app.export("CSV").read_text().splitlines()
    head = "\n".join(line for line in lines if line.startswith("#"))
    assert all(fact in head for fact in facts)
    values = np.full((6, 12, 12), np.nan, np.float32)
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        values[int(row["block"]), int(row["row"]), int(row["column"])] = float(row["value"])
    np.testing.assert_allclose(values, expected.flow[0].numpy(), rtol=1e-6)


def test_t14_send_a_colleague_exactly_this_view(
    app: App, new_app: Callable[..., App], picture_files: list[Path]
) -> None:
    app.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    app.open().explain(FIRST)
    app.choose_method("rollout").plain()
    app.go_to_block(2)
    app.page.keyboard.press("y")
    link = app.page.evaluate("navigator.clipboard.readText()")
    assert link == app.page.evaluate("location.href")
    other = new_app()
    other.page.goto(link)
    other.ready()
    assert other.view == app.view
    np.testing.assert_array_equal(other.map_pixels(), app.map_pixels())
    assert other.probabilities() == app.probabilities()


def test_t15_the_same_in_my_notebook(app: App, vit: vs.Vit, picture_files: list[Path]) -> None:
    app.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    app.open().explain(FIRST)
    app.choose_method("daam").plain()
    app.go_to_block(3)

    def same_in_python() -> None:
        app.page.evaluate(
            "navigator.clipboard.writeText('')"
        )  # the message of the copy before may still stand there
        app.button("Export").click()
        app.page.get_by_role("menuitem", name="Copy Python").click()
        for _ in range(200):
            if code := app.page.evaluate("navigator.clipboard.readText()"):
                break
            app.page.wait_for_timeout(50)
        names: dict[str, Any] = {}
        exec(compile(code, "copied", "exec"), names)
        shown = app.map_pixels()[..., :3]
        np.testing.assert_array_equal(shown, colours(names["maps"].reshape(12, 12), signed=False))
        close(app.probabilities(), names["prediction"])

    same_in_python()
    app.page.get_by_role("switch", name="Switch head 3.0 off").click()
    app.settled()
    same_in_python()
    app.click_cell(6, 6)
    same_in_python()
    app.open(
        screen="explain", picture=app.view["picture"], method="daam", target="difference:0,3", ground="plain"
    )
    same_in_python()


def test_a_target_is_what_the_parser_takes(
    app: App, vit: vs.Vit, picture_files: list[Path], ids: dict[str, str]
) -> None:
    app.watch.expected.append("status of 422")
    app.open(screen="explain", picture=ids[FIRST], method="daam", ground="plain")
    menu, written = app.page.get_by_role("combobox", name="Target"), app.page.get_by_label("Written")
    menu.select_option("another …")
    for target in ("difference:star,heart", "top2:probability"):
        written.fill(target)
        written.press("Enter")
        app.settled()
        expected = vs.explain(vit, [picture_files[0]], "daam", target=target)
        np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected.maps[0], signed=False))
        assert app.view["target"] == target and menu.input_value() == target
    written.fill("diference:star,heart")
    written.press("Enter")
    app.settled()
    with pytest.raises(TargetError) as refused:
        vs.explain(vit, [picture_files[0]], "daam", target="diference:star,heart")
    assert (
        str(refused.value) in app.alert.inner_text() and "did you mean difference:" in app.alert.inner_text()
    )
    assert written.get_attribute("aria-invalid") == "true"
    written.fill("STAR")
    written.press("Enter")
    app.settled()
    assert app.view["target"] == str(vit.class_names.index("star")) and app.alert.count() == 0


def test_a_long_map_is_asked_about_once_its_cost_is_known(app: App, ids: dict[str, str]) -> None:
    """By its options: few masks are computed at once, many are asked about; and no question comes and goes."""
    app.page.add_init_script(
        """
        window.questions = [];
        new MutationObserver(() => {
            const question = document.querySelector('.ask')?.innerText ?? null;
            if (question !== (window.questions.at(-1) ?? null)) window.questions.push(question);
        }).observe(document, { subtree: true, childList: true, characterData: true });
        """
    )
    app.open(screen="explain", picture=ids[FIRST], method="rise", options='{"masks": 4}')
    assert app.map_pixels().any() and app.page.evaluate("window.questions") == []
    app.open(screen="explain", picture=ids[FIRST], method="rise", options='{"masks": 100000}')
    app.button("Compute").wait_for()
    [question] = app.page.evaluate("window.questions")
    assert "rise takes 100,000 forward and 0 backward passes, about" in question
