"""How fast the Heads screen is with many points, measured in Chromium on the page itself.

    python benchmarks/app_heads.py [--out benchmarks/results/app_heads.json]
        [--page docs/performance.md]    # puts its table into the page
    python benchmarks/app_heads.py --study STUDY --page docs/performance.md    # a real study, beside what was measured

The answers of the server are made up in the forms that the server declares: 10,000 pictures of which 1,000 have codes
for 12 × 6 heads, or all of them, or what makes a million points, with clusters and places drawn at random; the page is
the real one. *hover* is from a pointer's move to the next painted frame after which the head under it is named; *brush*
from a click on a pattern to the frame in which the counts have changed. Chromium paints without a graphics card here,
by WebGL in software and by the CPU alone. With ``--study`` nothing is made up: the study is served and its server
answers; *opened* is from asking for the page until its patterns are there, in milliseconds.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from explain_cost import machine
from marked import between
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import vitscope as vs
from tests.app.browser.conftest import FLAGS
from tests.app.browser.serving import serving
from vitscope.app import tensors
from vitscope.app.schemas.heads import HeadsAbout
from vitscope.app.schemas.pictures import PictureColumns, Pictures

SIZES = {
    "10,000 pictures, 72,000 points of 1,000": (10_000, 1000, 12, 6),
    "10,000 pictures, 720,000 points": (10_000, 10_000, 12, 6),
    "6,945 pictures, 1,000,080 points": (6945, 6945, 12, 12),
}
"""Pictures, those that have codes, blocks, heads."""
REPEATS = 15
BEGIN, END = "<!-- points: written by benchmarks/app_heads.py; do not edit -->", "<!-- points: end -->"
_PAINTED = """
window.painted = () => new Promise(done => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done(performance.now());
    channel.port2.postMessage(null);
}));
"""
_BRUSH = """async cluster => {
    const words = () => document.querySelector('[data-testid=selection]').innerText;
    const before = words();
    const start = performance.now();
    document.querySelector(`[data-cluster='${cluster}']`).click();
    const work = performance.now() - start;
    let end = await window.painted();
    while (words() === before) end = await window.painted();
    return [work, end - start];
}"""
_HOVER = """async ([x, y]) => {
    const frame = document.querySelector('[data-testid=pattern-points]').parentElement;
    const box = frame.getBoundingClientRect();
    const start = performance.now();
    frame.dispatchEvent(new PointerEvent('pointermove', {
        clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true }));
    await Promise.resolve();
    const work = performance.now() - start;
    return [work, (await window.painted()) - start];
}"""


def answers(pictures: int, coded: int, blocks: int, heads: int) -> dict[str, tuple[str, bytes]]:
    """What the server would say of such a study, by address."""
    random = np.random.default_rng(0)
    clusters = random.integers(0, 7, (coded, blocks, heads)).astype(np.uint8)
    centres = random.normal(size=(7, 2)).astype(np.float32)
    places = centres[clusters] + 0.4 * random.normal(size=(*clusters.shape, 2)).astype(np.float32)
    ids = [f"{row:032x}" for row in range(pictures)]
    rows = np.arange(pictures, dtype=np.uint32)
    none = [None] * pictures
    columns = {
        **dict.fromkeys(PictureColumns.model_fields, none),
        "id": ids,
        "row": rows.tolist(),
        "key": ids,
        "name": ids,
        "added": [False] * pictures,
    }
    shape = (blocks, heads)
    mean = random.random((1, *shape)).astype(np.float32)
    metric = {"name": "js_divergence", "title": "divergence", "family": "output", "signed": False}
    part = {"there": True, "reason": None}
    lacks = {"there": False, "reason": "made up for a measurement"}
    about = {
        "study": "made up", "pictures": pictures, "computed": pictures, "finished": True, "heads": [heads] * blocks,
        "asunder": None,
        "parts": {"importance": part, "strength": lacks, "patterns": part, "features": part, "model": lacks},
    }  # fmt: skip
    atlas = {
        "clusters": [
            {"cluster": c, "name": f"pattern {c}", "because": "made up", "maps": 1, "content_dependence": 0.1}
            for c in range(7)
        ],
        "form": "pooled", "coder": "pca", "verdict": "", "sampled": 7,
    }  # fmt: skip
    maps = random.random((7, 49, 49)).astype(np.float32)
    shares = np.full((*shape, 7), 1 / 7, np.float32)

    def packed(arrays: dict[str, Any], header: dict[str, Any]) -> tuple[str, bytes]:
        return tensors.MEDIA_TYPE, tensors.encode(arrays, header)

    def said(form: type[BaseModel], value: Any) -> tuple[str, bytes]:
        return "application/json", form.model_validate(value).model_dump_json().encode()

    layout = random.normal(size=(pictures, 2)).astype(np.float32)
    return {
        "api/pictures": said(Pictures, {"count": pictures, "total": pictures, "columns": columns}),
        "api/heads/study": said(HeadsAbout, about),
        "api/heads/pictures": packed({"rows": rows, "layout": layout}, {"ids": ids, "how": "pca"}),
        "api/heads/table": packed(
            {"mean": mean, "low": mean, "high": mean}, {"metrics": [metric], "pictures": pictures}
        ),
        "api/heads/codes": packed(
            {"places": places, "clusters": clusters, "rows": rows[:: pictures // coded]}, {"how": "pca"}
        ),
        "api/heads/patterns": packed(
            {"prototypes": maps, "examples": maps, "shares": shares, "purity": mean[0], "content_dependence": mean[0]},
            atlas,
        ),
    }  # fmt: skip


def measure(page: Page, url: str, made: dict[str, tuple[str, bytes]], gl: bool) -> dict[str, Any]:
    """Milliseconds of everything on one page."""
    for path, (kind, content) in made.items():
        page.route(f"{url}{path}", lambda route, _, k=kind, c=content: route.fulfill(body=c, content_type=k))
    if made:
        stamp = io.BytesIO()
        Image.new("RGB", (96, 96), (90, 120, 160)).save(stamp, "PNG")
        page.route(
            "**/thumbnail*", lambda route: route.fulfill(body=stamp.getvalue(), content_type="image/png")
        )
    page.add_init_script(_PAINTED)
    if not gl:
        page.add_init_script(
            "const own = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
            "  return kind === 'webgl2' ? null : own.call(this, kind, ...rest); };"
        )
    begun = time.perf_counter()
    page.goto(f"{url}#v=1&screen=heads")
    page.wait_for_selector("[data-cluster='6']", timeout=120_000)
    opened = round(1000 * (time.perf_counter() - begun))
    page.wait_for_timeout(3000)
    mode = page.locator("[data-mode]").first.get_attribute("data-mode")
    brushes = [page.evaluate(_BRUSH, turn % 7) for turn in range(REPEATS)]
    hovers = [page.evaluate(_HOVER, [0.2 + 0.6 * turn / REPEATS, 0.5]) for turn in range(REPEATS)]
    named = page.get_by_test_id("point-words").inner_text()

    def told(pairs: list[list[float]]) -> dict[str, float]:
        work, shown = zip(*pairs, strict=True)
        return {
            "work median": round(statistics.median(work), 1),
            "shown median": round(statistics.median(shown), 1),
            "shown largest": round(max(shown), 1),
        }

    return {
        "drawn by": mode,
        "opened": opened,
        "brush": told(brushes),
        "hover": told(hovers),
        "hovered": named.startswith("head"),
    }


def points_of(place: Path) -> str:
    """What is measured of a study, in words."""
    pictures, *heads = vs.Study.open(place).array("patterns/clusters").shape
    return f"a served study of {pictures:,} pictures, {pictures * math.prod(heads):,} points"


def table(found: dict[str, Any]) -> str:
    """The rows of the page, in milliseconds."""
    rows = [
        "| points | drawn by | opened | brush: work | brush: shown, median | largest | hover: work "
        "| hover: shown, median |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size, ways in found["milliseconds"].items():
        for way, told in ways.items():
            brush, hover = told["brush"], told["hover"]
            values = (
                told["opened"], brush["work median"], brush["shown median"], brush["shown largest"],
                hover["work median"], hover["shown median"],
            )  # fmt: skip
            rows.append(f"| {size} | {way} | {' | '.join(f'{value:g}' for value in values)} |")
    return "\n".join(["", *rows, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", default="benchmarks/results/app_heads.json")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--study", type=Path)
    chosen = parser.parse_args()
    browser = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium") or shutil.which("chromium-browser")
    found: dict[str, Any] = {
        "machine": machine(),
        "load": os.getloadavg(),
        "repeats": REPEATS,
        "milliseconds": {},
    }
    cases = {name: answers(*size) for name, size in SIZES.items()}
    if chosen.study:
        found["milliseconds"] = json.loads(Path(chosen.out).read_text())["milliseconds"]
        cases = {points_of(chosen.study): {}}
    arguments = [chosen.study] if chosen.study else ["--model", "bundled/shapes"]
    with serving(*arguments) as served, sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        for name, made in cases.items():
            for gl in (True, False):
                page = opened.new_page(viewport={"width": 1440, "height": 900})
                told = measure(page, served.url, made, gl)
                found["milliseconds"].setdefault(name, {})["WebGL" if gl else "CPU"] = told
                print(name, told, flush=True)
                page.close()
        opened.close()
    Path(chosen.out).write_text(json.dumps(found, indent=1) + "\n")
    if chosen.page:
        chosen.page.write_text(between(chosen.page.read_text(), BEGIN, END, table(found)))


if __name__ == "__main__":
    main()
