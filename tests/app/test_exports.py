"""What is taken away holds what made it, and the Python that is copied gives the same numbers."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vitscope as vs
from tests.app.browsing import Client, Reply
from tests.app.conftest import png
from tests.app.test_pictures import noise
from vitscope.app.exporting.view import read_view
from vitscope.app.routes.looking import read_heads
from vitscope.errors import DataError, MissingExtraError
from vitscope.tracing import HeadAblation, Vit

MADE = ("model", "weights", "picture", "content", "method", "options", "target", "normalisation", "vitscope")


def export(client: Client, form: str, times: int = 1, /, **view: object) -> Reply:
    state = urlencode({"v": 1, "screen": "explain", **{name: str(value) for name, value in view.items()}})
    reply = client.get(f"api/export/{form}", view=state, scale=times)
    assert reply.status == 200, reply.body[:300]
    return reply


def lines(text: str, sign: str = "") -> dict[str, str]:
    """``key: value`` lines."""
    found = (line.removeprefix(sign).partition(": ") for line in text.splitlines() if line.startswith(sign))
    return {key: value for key, colon, value in found if colon}


def check_made(made: dict[str, str], vit: Vit, id: str, **more: str) -> None:
    assert set(MADE) <= set(made), made
    assert made["model"] == "bundled/shapes" and made["weights"] == vit.fingerprint
    assert made["content"] == id and made["vitscope"] == vs.__version__
    for name, value in more.items():
        assert made[name.replace("_", " ")] == value, name


def test_a_png_is_the_overlay_of_the_report(
    client: Client, vit: Vit, pictures: list[Path], ids: list[str]
) -> None:
    explained = vs.explain(vit, pictures[0], "dart")
    for scale in (1, 2, 4):
        reply = export(client, "png", scale, picture=ids[0], opacity=0.5)
        image = Image.open(io.BytesIO(reply.body))
        expected = vs.reports.overlay(explained, size=scale, opacity=0.5)
        if scale == 1:  # the key of a study's picture stands in no title
            assert (np.asarray(image) == np.asarray(expected)).all()
        assert image.size == expected.size
        check_made(image.text, vit, ids[0], method="dart", target=str(vs.reports.words.explained(explained)))
        assert json.loads(
            image.text["options"].replace("'", '"').replace("True", "true").replace("False", "false")
        )
    assert reply.headers["content-disposition"] == f"attachment; filename*=UTF-8''{pictures[0].stem}.dart.png"


def test_a_block_shares_its_scale_with_the_flow(
    client: Client, vit: Vit, pictures: list[Path], ids: list[str]
) -> None:
    explained = vs.explain(vit, pictures[0], "daam")
    found = {}
    for scale, scope in (("map", "map"), ("global", "flow")):
        reply = export(
            client, "png", picture=ids[0], method="daam", block=2, scale=scale, curve="sqrt", smooth=1
        )
        image = Image.open(io.BytesIO(reply.body))
        expected = vs.reports.overlay(explained, block=2, scope=scope, scaling="sqrt", upsampling="bilinear")
        assert (np.asarray(image) == np.asarray(expected)).all()
        check_made(image.text, vit, ids[0], block="2", normalisation=f"sqrt, one scale per {scope}, bilinear")
        found[scope] = reply.body
    assert found["map"] != found["flow"]


def test_an_svg_holds_every_cell(client: Client, vit: Vit, pictures: list[Path], ids: list[str]) -> None:
    reply = export(client, "svg", 2, picture=ids[1], method="gmar", off="3.1")
    assert reply.headers["content-type"] == "image/svg+xml"
    root = ElementTree.fromstring(reply.body)
    space = {"s": "http://www.w3.org/2000/svg"}
    cells = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if "data-row" in each.attrib]
    assert len(cells) == 144
    explained = vs.explain(vit, pictures[1], "gmar", ablation=HeadAblation.of(vit.anatomy, [(3, 1)]))
    values = explained.maps[0].numpy()
    best = max(cells, key=lambda each: float(each.attrib["fill-opacity"]))
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert (best.attrib["data-row"], best.attrib["data-column"]) == (str(row), str(column))
    made = lines(root.findtext("s:metadata", "", space))
    check_made(made, vit, ids[1], method="gmar", heads_switched_off="3.1")
    assert b"<script" not in reply.body and b"http://" not in reply.body.replace(
        b"http://www.w3.org/2000/svg", b""
    )


def test_a_hostile_name_stays_text_in_an_svg(client: Client) -> None:
    id = client.add(png(noise(21)), "<script>alert(1)</script>&.png").json["id"]
    reply = export(client, "svg", picture=id, method="rollout")
    assert b"<script" not in reply.body and ElementTree.fromstring(reply.body) is not None
    client.ask("DELETE", f"/api/pictures/{id}")


def test_a_gif_plays_every_block(client: Client, vit: Vit, ids: list[str]) -> None:
    image = Image.open(io.BytesIO(export(client, "gif", picture=ids[0], method="daam").body))
    assert image.format == "GIF" and image.n_frames == 6  # type: ignore[attr-defined]
    check_made(lines(image.info["comment"].decode()), vit, ids[0], method="daam")
    still = client.get("api/export/gif", view=f"picture={ids[0]}&method=saliency")
    assert still.status == 422 and "no flow to play" in still.problem


def test_a_webm_plays_every_block(client: Client, vit: Vit, ids: list[str]) -> None:
    av = pytest.importorskip("av")
    content = export(client, "webm", picture=ids[0], method="daam").body
    with av.open(io.BytesIO(content)) as film:
        assert film.format.name.startswith("matroska") and film.streams.video[0].codec_context.name == "vp9"
        frames = sum(1 for _ in film.decode(video=0))
        note = film.metadata.get("comment") or film.metadata.get("COMMENT")
    assert (
        frames == 6 * 12 + 38
    )  # half a second each at 25 a second, and the last one a second and a half longer
    check_made(lines(note), vit, ids[0], method="daam")


def test_without_its_package_a_film_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from vitscope.rendering import save_animation

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"WebM needs the package av.*\[video\]"):
        save_animation([Image.new("RGB", (4, 4))], tmp_path / "flow.webm")


def test_a_table_holds_the_raw_values(client: Client, vit: Vit, pictures: list[Path], ids: list[str]) -> None:
    explained = vs.explain(vit, pictures[0], "daam", 4)
    assert explained.flow is not None
    content = export(client, "csv", picture=ids[0], method="daam", target=4).body.decode()
    check_made(lines(content, "# "), vit, ids[0], method="daam", normalisation="none: raw values")
    table = pd.read_csv(io.StringIO(content), comment="#")
    assert table.columns.tolist() == ["block", "row", "column", "value"] and len(table) == 6 * 144
    found = table["value"].to_numpy(np.float32).reshape(6, 12, 12)
    assert (found == explained.flow[0].numpy()).all()
    one = pd.read_csv(
        io.StringIO(export(client, "csv", picture=ids[0], method="daam", target=4, block=3).body.decode()),
        comment="#",
    )
    assert (one["value"].to_numpy(np.float32).reshape(12, 12) == explained.flow[0, 3].numpy()).all()
    parquet = pd.read_parquet(
        io.BytesIO(export(client, "parquet", picture=ids[0], method="daam", target=4).body)
    )
    assert (parquet["value"].to_numpy() == explained.flow[0].numpy().ravel()).all()


VIEWS: list[dict[str, Any]] = [
    {},
    {"method": "daam", "block": 3},
    {
        "method": "gmar",
        "options": '{"norm": "l2", "start_block": 1}',
        "target": 5,
        "off": "2.1,5.0",
        "block": 4,
    },
    {"method": "rollout", "target": 2},
    {"query": 17, "block": 2},
    {"query": 17, "block": 2, "direction": "in", "off": "0.3"},
    {"head": "4.1,4.2,3.0", "block": 4},
    {"head": "5.1", "query": "mean"},
]


@pytest.mark.parametrize(
    ("view", "added"), [*((view, False) for view in VIEWS), (VIEWS[0], True), (VIEWS[2], True)], ids=str
)
def test_python_that_is_copied_gives_the_same_numbers(
    client: Client,
    ids: list[str],
    view: dict[str, Any],
    added: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    id = ids[3]
    if added:
        content = png(noise(22))
        id = client.add(content, "mine.png").json["id"]
        (tmp_path / "mine.png").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    state = urlencode({"picture": id, **view})
    text = client.get("api/python", view=state).body.decode()
    names: dict[str, Any] = {}
    exec(compile(text, "copied.py", "exec"), names)
    table = pd.read_csv(io.StringIO(export(client, "csv", picture=id, **view).body.decode()), comment="#")
    seen = names["maps"].numpy().reshape(-1)
    if "block" in table.columns:  # the whole flow: its last block is the map
        table = table[table["block"] == table["block"].max()]
    assert (table["value"].to_numpy(np.float32) == seen).all(), text
    told = client.get(f"api/pictures/{id}/prediction", off=view.get("off", ""), top=10).json
    told = told["without"] or told
    for each in told["top"]:
        assert each["probability"] == float(names["prediction"][each["class"]])
    if added:
        client.ask("DELETE", f"/api/pictures/{id}")


def test_a_view_is_read_as_the_page_writes_it() -> None:
    view = read_view(
        "#v=1&screen=explain&picture=ab&head=7.3,7.5&off=3.1&block=7&smooth=1&unknown=x&opacity=.6",
        read_heads,
    )
    assert (view.picture, view.heads, view.off, view.block) == ("ab", ((7, 3), (7, 5)), ((3, 1),), 7)
    assert view.smooth and view.opacity == 0.6 and view.attends
    for text in (
        "",
        "method=dart",
        "picture=a&block=x",
        "picture=a&opacity=2",
        "picture=a&scale=large",
        "x" * 30_000,
    ):
        with pytest.raises(DataError):
            read_view(text, read_heads)


def test_what_cannot_be_exported_is_told(client: Client, ids: list[str]) -> None:
    for form, view, words in (
        ("png", "method=dart", "names no picture"),
        ("png", f"picture={ids[0]}&method=daam&block=77", "has no map after block 77"),
        ("png", f"picture={ids[0]}&colour=jet", "colour map 'jet' is refused"),
        ("csv", f"picture={ids[0]}&head=5.9", "has heads from 0 to 3"),
    ):
        reply = client.get(f"api/export/{form}", view=view)
        assert reply.status == 422 and words in reply.problem, reply.body
    assert client.get("api/export/pdf", view=f"picture={ids[0]}").status == 422
    assert client.get("api/export/png", view="picture=nobody").status == 404
    assert re.search("scale", client.get("api/export/png", view=f"picture={ids[0]}", scale=3).problem)
