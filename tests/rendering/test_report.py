"""The report: everything it was given is in it, as it was, and works without a network or a script."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image

import vitscope as vs
from tests.needed import needed
from vitscope.errors import RenderingError
from vitscope.rendering.colour import lookup_table
from vitscope.reports import HeadsReport, Report, words
from vitscope.reports.explanations.records import Card, CardFlow, CardHeads, CardMap, MethodSummary

BLOCKS = (words.step_names("block", 3), words.step_places("block", 3))
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<b>.jpg"


@pytest.fixture
def maps() -> np.ndarray:
    values = np.zeros((3, 5), np.float32)
    values[0, 4], values[2, 0] = 0.125, 0.0625
    return values


@pytest.fixture
def report(maps: np.ndarray) -> Report:
    flow = np.cumsum(np.stack([maps, 2 * maps, maps]), axis=0)
    holes = maps.copy()
    holes[1, 1] = np.nan
    first = Card(
        "heron.jpg",
        Image.new("RGB", (100, 60), "teal"),
        predictions=[("heron", 0.9), ("crane", 0.05)],
        target="heron",
        label="heron",
        maps=[
            CardMap("gmar", maps, prefix={"class token": 0.25}, note="a note"),
            CardMap("dart", maps - 0.1, scaling="signed"),
            CardMap("holes", holes),
        ],
        flows=[
            CardFlow("daam", flow, *BLOCKS),
            CardFlow("signed", flow - 0.2, *BLOCKS, scaling="signed", accumulated=False),
        ],
        heads=[CardHeads("gmar", [[0.25, 0.75], [0.5, np.nan]], ["0", "1"], ["0", "1"])],
    )
    second = Card(HOSTILE, Image.new("L", (30, 90)), [(HOSTILE, 0.5)], HOSTILE, HOSTILE, note=HOSTILE)
    return Report(
        HOSTILE,
        [first, second],
        subtitle=HOSTILE,
        methods=[MethodSummary("gmar", HOSTILE, HOSTILE, {HOSTILE: HOSTILE})],
        commands=[("vitscope explain heron.jpg", ""), (HOSTILE, HOSTILE)],
        next_steps=[("vitscope flow heron.jpg", "An animation")],
        metadata={"model": "vit", HOSTILE: HOSTILE},
        notes=[HOSTILE],
    )


def picture_of(uri: str | None) -> np.ndarray:
    assert uri is not None and uri.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as picture:
        return np.asarray(picture.convert("RGB"))


def test_the_report_is_self_contained_and_escapes_hostile_names(reader: type, report: Report) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = report.html()
    read = reader(page)
    read.assert_self_contained()
    assert "<img src=x" not in page
    assert not any(image.get("src") == "x" for image in read.of("img"))
    assert sum(HOSTILE in text for text in read.texts) >= 10


def test_maps_are_drawn_cell_by_cell_in_their_colours(reader: type, report: Report, maps: np.ndarray) -> None:
    before = maps.copy()
    read = reader(report.html())
    assert np.array_equal(maps, before)
    layers = [
        picture_of(image["src"]) for image in read.of("img") if (image.get("class") or "").startswith("layer")
    ]
    gmar, dart, holes = layers[:3]
    viridis, signed = lookup_table("viridis"), lookup_table("blue-red")
    assert gmar.shape == (3, 5, 3)
    assert np.array_equal(gmar[0, 4], viridis[-1]) and np.array_equal(gmar[1, 1], viridis[0])
    assert np.array_equal(gmar[2, 0], viridis[128])
    assert np.array_equal(dart[1, 1], signed[0]) and dart[0, 4][0] > dart[0, 4][2]
    assert holes.shape == (24, 40, 3) and len(np.unique(holes[8:16, 8:16].reshape(-1, 3), axis=0)) == 2
    values = json.loads(re.findall(r'class="cells">(.*?)</script>', report.html())[0])
    assert values == maps.tolist()


def test_colour_bars_carry_the_raw_ends(report: Report) -> None:
    page = report.html()
    ends = re.findall(r'class="ends"[^>]*><span>(.*?)</span><span>(.*?)</span><span>(.*?)</span>', page)
    assert ("0", "0.0625", "0.125") in ends and ("−0.1", "0", "0.025") in ends


def test_every_block_of_a_flow_is_there(reader: type, report: Report, maps: np.ndarray) -> None:
    read = reader(report.html())
    thumbs = [image for image in read.of("img") if "data-own" in image]
    assert len(thumbs) == 6
    shared, own = (picture_of(thumbs[0][name]) for name in ("src", "data-own"))
    viridis = lookup_table("viridis")
    # Shared scale: the first of the blocks 1, 3, 4 stands at a quarter of the bar; its own scale: at the end.
    assert np.array_equal(shared[0, 4], viridis[64]) and np.array_equal(own[0, 4], viridis[-1])
    told, alone = (thumbs[0][name].split("|") for name in ("data-bar", "data-own-bar"))
    assert told[:4] == ["0", "0.25", "0.5", "50%"] and alone[:4] == ["0", "0.0625", "0.125", "50%"]
    # The bar of the page has the colours of the layer with their cover.
    assert told[4].startswith("linear-gradient(to right,#44015400,"), told[4]
    assert told[4].endswith(",#fde724ff)"), told[4][-60:]
    assert [text for text in read.texts if re.fullmatch(r"\+\d+ %", text)] == ["+25 %", "+50 %", "+25 %"]
    sliders = [
        entry for entry in read.of("input") if entry.get("type") == "range" and entry.get("max") == "3"
    ]
    assert len(sliders) == 2


def test_readers_without_eyes_or_script_are_served(reader: type, report: Report) -> None:
    read = reader(report.html())
    assert all("alt" in image for image in read.of("img"))
    labels = [entry.get("aria-label") or "" for _, entry in read.elements]
    assert "Map of gmar on heron.jpg: highest in row 1, column 5 of 3 by 5" in labels
    buttons = [entry for tag, entry in read.elements if tag == "button"]
    assert buttons and all(entry.get("type") == "button" for entry in buttons)
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    identities = [entry["id"] for _, entry in read.elements if "id" in entry]
    assert len(identities) == len(set(identities))


def test_predictions_heads_commands_and_metadata_are_shown(reader: type, report: Report) -> None:
    read = reader(report.html())
    assert {"heron", "90.0 %", "25.0 %", "0.75", "vitscope explain heron.jpg", "vit"} <= set(read.texts)
    assert [entry["data-copy"] for entry in read.of("button") if "data-copy" in entry][1] == HOSTILE
    assert any(entry.get("class") == "none" for entry in read.of("td"))


def test_a_small_report_leaves_out_what_there_is_not(reader: type, tmp_path: Path) -> None:
    bare = Report("Bare", [Card("one", Image.new("RGB", (8, 8)))])
    read = reader(bare.write(tmp_path / "bare.html").read_text(encoding="utf-8"))
    assert not read.of("nav") and not read.of("table") and not read.of("dl")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"maps": [CardMap("a", np.zeros((2, 3, 4)))]}, r"map \(h, w\)"),
        ({"maps": [CardMap("a", np.zeros((2, 2)), colour="jet")]}, "refused"),
        ({"flows": [CardFlow("a", np.zeros((2, 3)), *BLOCKS)]}, r"\(L, h, w\)"),
        ({"flows": [CardFlow("a", np.zeros((2, 3, 3)), *BLOCKS)]}, "2 labels"),
        ({"heads": [CardHeads("a", [1.0, 2.0], ["0"], ["0"])]}, r"\(L, H\)"),
    ],
)
def test_wrong_records_are_refused(entry: dict, words: str) -> None:
    with pytest.raises(RenderingError, match=words):
        Report("R", [Card("p", Image.new("RGB", (8, 8)), **entry)]).html()


PROBE = """
(async () => {
  const said = [], wait = (ms) => new Promise((done) => setTimeout(done, ms));
  window.onerror = (message) => said.push(message);
  const flow = document.querySelector(".flow"), figure = flow.querySelector(".player");
  const ends = () => [...figure.querySelectorAll(".ends span")].map((end) => end.textContent).join(" ");
  const where = () => figure.querySelector(".where").textContent;
  const slider = figure.querySelector(".controls input");
  slider.value = 1;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  said.push(where(), ends());
  figure.querySelector(".segments input[value=own]").click();
  said.push(ends());
  figure.querySelector("[data-step='1']").click();
  said.push(where());
  figure.querySelector(".play").click();
  await wait(600);
  said.push(where(), figure.querySelector(".play").textContent);
  const card = document.querySelector(".card"), stack = card.querySelectorAll("figure.map .stack")[1];
  const box = stack.getBoundingClientRect();
  const at = { clientX: box.right - 2, clientY: box.top + 2, bubbles: true };
  stack.dispatchEvent(new PointerEvent("pointermove", at));
  said.push(card.querySelector(".readout").textContent, card.querySelectorAll(".cursor").length);
  const details = card.querySelector("details.values");
  details.open = true;
  await wait(60);
  said.push(details.querySelectorAll("tbody td").length);
  const shown = document.createElement("pre");
  shown.id = "said";
  shown.textContent = said.join(";");
  document.body.append(shown);
})();
"""


def in_browser(page: str, probe: str, folder: Path, width: int = 1200) -> list[str]:
    """What a script says on a page in a real browser, its parts."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        needed("no Chromium on this machine; install Debian's chromium")
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--force-prefers-reduced-motion",
        f"--window-size={width},900", "--virtual-time-budget=15000", f"--user-data-dir={folder / 'profile'}",
        "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout)
    assert found is not None
    return found[1].split(";")


CHOOSE = """
(() => {
  const said = [], toolbar = document.querySelector(".toolbar");
  const choose = (name, value) => {
    toolbar.elements[name].value = value;
    toolbar.elements[name].dispatchEvent(new Event("change", { bubbles: true }));
    const names = [...document.querySelectorAll(".card")].filter((card) => card.offsetParent !== null)
      .map((card) => card.querySelector("h2").textContent);
    const links = [...document.querySelectorAll(".index li")].filter((link) => link.offsetParent !== null)
      .map((link) => link.querySelector("a").title);
    said.push(names.join(" "), links.join(" ") === names.join(" "), toolbar.querySelector(".counted").textContent);
  };
  choose("order", "unsure");
  choose("order", "class");
  choose("judged", "wrong");
  choose("kind", "owl");
  choose("judged", "");
  choose("order", "given");
  const shown = document.createElement("pre");
  shown.id = "said";
  shown.textContent = said.join(";");
  document.body.append(shown);
})();
"""


def test_pictures_are_sorted_and_filtered_in_a_browser(tmp_path: Path) -> None:
    seen = [
        ("a", "owl", 0.9, "owl"),
        ("b", "cat", 0.4, "owl"),
        ("c", "owl", 0.6, "cat"),
        ("d", "cat", 0.8, "cat"),
    ]
    cards = [Card(n, Image.new("RGB", (9, 9)), [(word, sure)], label=label) for n, word, sure, label in seen]
    assert in_browser(Report("R", cards).html(), CHOOSE, tmp_path) == [
        "b c d a", "true", "",
        "b d a c", "true", "",
        "b c", "true", "2 of 4",
        "c", "true", "1 of 4",
        "a c", "true", "2 of 4",
        "a c", "true", "2 of 4",
    ]  # fmt: skip


WIDTHS = """
(async () => {
  const frame = document.querySelector("iframe");
  await new Promise((done) => setTimeout(done, 1500));
  const inner = frame.contentWindow, page = inner.document;
  const beyond = [...page.querySelectorAll("h1, h2, p, figure, .figure-scroll, .figure-scroll img, nav, .toolbar *")]
    .filter((each) => each.getBoundingClientRect().right > inner.innerWidth + 0.5);
  const shown = document.createElement("pre");
  shown.id = "said";
  shown.textContent = [inner.innerWidth, page.documentElement.scrollWidth <= inner.innerWidth,
    beyond.map((each) => each.tagName + each.className).join(" "),
    page.querySelectorAll(".figure-scroll img").length].join(";");
  document.body.append(shown);
})();
"""


def test_the_page_of_heads_fits_a_telephone(tmp_path: Path) -> None:
    """390 pixels: a frame, since a headless window has a least width of 500."""
    vit, pictures = vs.open_model("bundled/shapes"), vs.worlds.demo_pictures(3).images()
    table, strength = vs.heads.importance(vit, pictures), vs.heads.strength(vit, pictures)
    page = HeadsReport("bundled/shapes", 3, table=table, strength=strength).page().html()
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    frame = f'<iframe width="390" height="800" style="border:0" srcdoc="{escape(page)}"></iframe>'
    framed = f"<html><body>{frame}</body></html>"
    width, fits, beyond, plots = in_browser(framed, WIDTHS, tmp_path)
    assert (width, fits, beyond) == ("390", "true", "") and int(plots) >= 4


def test_there_is_nothing_to_choose_among_without_labels_or_with_one_picture() -> None:
    cards = [Card(name, Image.new("RGB", (9, 9)), [("owl", 0.5)]) for name in "ab"]
    several, one = Report("R", cards).html(), Report("R", cards[:1]).html()
    assert 'name="order"' in several and 'name="judged"' not in several
    assert 'name="order"' not in one and "least confident" not in one


def test_the_player_and_the_readouts_work_in_a_browser(report: Report, tmp_path: Path) -> None:
    assert in_browser(report.html(), PROBE, tmp_path) == [
        "block 0 of 0–2", "0 0.25 0.5", "0 0.0625 0.125", "block 1 of 0–2", "block 2 of 0–2",
        "Play", "1, 5: 0.125", "6", "15"
    ]  # fmt: skip
