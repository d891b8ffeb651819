"""Draw the pictures of the app's pages from what runs now: python scripts/draw_app.py [docs/images]

Of the ready study of the bundled model and its bundled pictures, in Chromium, light and dark; and ``vs.view`` in a page
that plays a notebook. Needs the built page (``make page``).
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.conftest import FLAGS
from tests.app.browser.serving import serving
from tests.app.browser.test_notebook import Notebook

WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PICTURE = 3
"""Which picture of the study is explained, from 0."""
SCREENS: dict[str, dict[str, Any]] = {
    "library": {"overlay": 1, "method": "dart-removal"},
    "explain": {"screen": "explain", "method": "dart-removal", "block": 4},
    "attention": {"screen": "explain", "block": 2, "query": 66, "head": "2.1", "drawer": 1},
}
"""What is drawn, by the words of the address."""


def draw_screens(browser: Any, folder: Path) -> None:
    """Each screen, light and dark, and the explanation on a telephone."""
    with serving() as served:
        for theme in ("light", "dark"):
            for name, view in SCREENS.items():
                draw_screen(
                    browser, served.url, folder / f"app-{name}-{theme}.png", WIDE, theme=theme, **view
                )
        draw_screen(
            browser, served.url, folder / "app-narrow-light.png", NARROW, theme="light", **SCREENS["explain"]
        )


def draw_screen(browser: Any, url: str, path: Path, size: dict[str, int], **view: Any) -> None:
    """One view of the app."""
    context = browser.new_context(viewport=size)
    app = App(context.new_page(), url).open()
    picture = app.pictures.nth(PICTURE).get_attribute("data-picture")
    app.open(picture=picture, **view)
    app.page.wait_for_timeout(500)
    save(app.page.screenshot(), path)
    context.close()


def draw_notebook(browser: Any, folder: Path) -> None:
    """A view of three methods in a notebook's cell."""
    vit = vs.open_model("bundled/shapes")
    found = vs.explain(vit, vs.worlds.demo_pictures(3).images(), ["dart-removal", "daam", "rollout"])
    context = browser.new_context(viewport={"width": 1000, "height": 1180})
    notebook = Notebook(context.new_page(), vs.view(found, block=4))
    notebook.view.selection = [65, 66, 77]
    notebook.settle()
    save(notebook.page.locator(".vitscope").screenshot(), folder / "app-notebook.png")
    context.close()


def save(shot: bytes, path: Path) -> None:
    """In 256 colours, which is a third of the bytes."""
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Draw all of them."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        draw_screens(browser, folder)
        draw_notebook(browser, folder)
        browser.close()


if __name__ == "__main__":
    main()
