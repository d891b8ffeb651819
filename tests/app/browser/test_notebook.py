"""The notebook's widget in a real browser, joined to its Python half by the anywidget protocol.

``notebook.html`` plays what Jupyter, VS Code, Colab and marimo have in common: a model of traits that both sides set.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import pixels_of
from tests.app.browser.expected import colours
from vitscope.app.notebook.widget import BUNDLE

HOST = "http://notebook.test/"
SENT = ("_about", "_data", "method", "block", "picture", "selection", "scale", "curve", "opacity", "smooth")


class Notebook:
    """A cell that shows a view, and the wire between the two halves of it."""

    def __init__(self, page: Any, view: Any, ground: str = "white") -> None:
        self.page, self.view, self.heard = page, view, 0
        self.page.route(f"{HOST}**", self._answer)
        self.page.expose_function("saved", self._hear)
        self.page.goto(f"{HOST}notebook.html")
        self.page.wait_for_selector("html[data-host=ready]")
        self.page.evaluate("ground => (document.body.style.background = ground)", ground)
        self._there = dict(view.get_state(SENT))
        self.page.evaluate("([traits, bytes]) => window.mount(traits, bytes)", self._packed(self._there))
        self.settle()

    def _hear(self, text: str) -> None:
        self.view.set_state(json.loads(text))
        self.heard += 1

    def _answer(self, route: Any) -> None:
        name = route.request.url.removeprefix(HOST)
        file = (Path(__file__).parent if name.endswith(".html") else BUNDLE) / name
        if file.is_file():
            route.fulfill(path=file)
        else:
            route.fulfill(status=404)

    @staticmethod
    def _packed(traits: dict[str, Any]) -> list[Any]:
        """JSON beside bytes, which travel apart."""
        raw = {name: value for name, value in traits.items() if isinstance(value, bytes | memoryview)}
        rest = {name: value for name, value in traits.items() if name not in raw}
        return [rest, [[name, base64.b64encode(value).decode()] for name, value in raw.items()]]

    def settle(self) -> None:
        """What changed in Python goes to the page, as a kernel would send it, and is painted there."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        now = self.view.get_state(SENT)
        changed = {name: value for name, value in now.items() if value != self._there[name]}
        self._there = dict(now)
        if changed:
            self.page.evaluate("([traits, bytes]) => window.receive(traits, bytes)", self._packed(changed))
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def map(self) -> Any:
        return pixels_of(self.page.get_by_test_id("map"))


@pytest.fixture(scope="module")
def found(vit: vs.Vit, picture_files: list[Path]) -> Any:
    return vs.explain(vit, picture_files[:3], ["daam", "dart", "rollout"])


@pytest.fixture
def cell(browser: Any) -> Iterator[Any]:
    """A tab for a cell, which must not complain and asks for nothing but its own files."""
    context = browser.new_context(viewport={"width": 1000, "height": 1500})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(HOST) else wrong.append(request.url))
    yield page
    context.close()
    assert [each for each in wrong if not each.startswith("data:")] == []


@pytest.fixture
def notebook(cell: Any, found: Any) -> Notebook:
    return Notebook(cell, vs.view(found))


def test_the_map_on_the_page_is_the_map_in_python(notebook: Notebook, found: Any) -> None:
    notebook.page.get_by_label("photo").uncheck()  # the map alone, opaque: its colours are exact
    notebook.settle()
    np.testing.assert_array_equal(notebook.map()[..., :3], colours(found["daam"].maps[0], signed=False))
    notebook.page.get_by_role("combobox", name="Method").select_option("dart")
    notebook.settle()
    np.testing.assert_array_equal(notebook.map()[..., :3], colours(found["dart"].maps[0], signed=True))


def test_what_is_chosen_on_the_page_is_chosen_in_python(notebook: Notebook, found: Any) -> None:
    page, view = notebook.page, notebook.view
    page.get_by_role("option", name="block 2").click()
    page.get_by_role("combobox", name="Method").select_option("rollout")
    page.get_by_role("combobox", name="Picture").select_option(label=found["daam"].metadata["keys"][1])
    notebook.settle()
    assert (view.method, view.block, view.picture) == ("rollout", 2, 1)
    box = page.get_by_test_id("map").bounding_box()
    cell = box["width"] / 12
    page.mouse.click(box["x"] + 3.5 * cell, box["y"] + 5.5 * cell)
    page.keyboard.down("Shift")
    assert page.get_by_test_id("map").bounding_box() == box, "nothing moves when a patch is chosen"
    page.mouse.click(box["x"] + 0.5 * cell, box["y"] + 0.5 * cell)
    page.keyboard.up("Shift")
    notebook.settle()
    assert view.selection == [0, 5 * 12 + 3]
    assert page.get_by_test_id("selection").inner_text() == "2 patches selected"
    page.get_by_label("photo").uncheck()
    notebook.settle()
    np.testing.assert_array_equal(notebook.map()[..., :3], colours(view.shown, signed=False))


def test_what_is_set_in_python_shows_on_the_page(notebook: Notebook, found: Any) -> None:
    page, view = notebook.page, notebook.view
    page.get_by_label("photo").uncheck()
    view.method, view.block, view.picture, view.selection = "rollout", 4, 2, [7]
    view.curve = "sqrt"
    notebook.settle()
    assert page.get_by_role("combobox", name="Method").input_value() == "rollout"
    assert page.get_by_role("option", name="block 4").get_attribute("aria-selected") == "true"
    assert page.get_by_test_id("selection").inner_text() == "1 patch selected"
    expected = colours(found["rollout"].flow[2, 4], signed=False, curve="sqrt")
    np.testing.assert_array_equal(notebook.map()[..., :3], expected)


def test_the_photograph_under_the_map_is_what_the_model_saw(notebook: Notebook, found: Any) -> None:
    source = notebook.page.locator("img").first.get_attribute("src")
    read = notebook.page.evaluate(
        """async source => {
            const image = await createImageBitmap(await (await fetch(source)).blob());
            const canvas = new OffscreenCanvas(image.width, image.height);
            canvas.getContext('2d').drawImage(image, 0, 0);
            const { data } = canvas.getContext('2d').getImageData(0, 0, image.width, image.height);
            return [image.width, image.height, Array.from(data)];
        }""",
        source,
    )
    shown = np.array(read[2], np.uint8).reshape(read[1], read[0], 4)[..., :3]
    np.testing.assert_array_equal(shown, found["daam"].pictures[0].numpy())


def test_nothing_is_offered_that_needs_a_model(notebook: Notebook) -> None:
    page = notebook.page
    assert page.get_by_role("switch").count() == 0, "no head to switch off"
    assert page.get_by_role("combobox", name="Target").count() == 0, (
        "the target is the one that was explained"
    )


def test_a_cell_that_is_left_listens_no_more(notebook: Notebook) -> None:
    assert notebook.page.evaluate("window.model.listening") > 0
    notebook.page.evaluate("window.unmount()")
    assert notebook.page.evaluate("window.model.listening") == 0
    assert notebook.page.locator(".vitscope").count() == 0


@pytest.mark.parametrize(
    ("ground", "scheme"),
    [("white", "light"), ("#111", "dark"), ("color(srgb 1 1 1)", "light"), ("oklch(0.2 0.01 260)", "dark")],
)
def test_it_is_as_light_as_the_notebook_around_it(cell: Any, found: Any, ground: str, scheme: str) -> None:
    Notebook(cell, vs.view(found["daam"]), ground)
    root = cell.locator(".vitscope")
    assert root.evaluate("root => getComputedStyle(root).colorScheme") == scheme
    [red, *_] = map(float, root.evaluate("root => getComputedStyle(root).color.match(/[0-9.]+/g)"))
    assert (red > 128) == (scheme == "dark"), "and its writing stands out"
