"""Pictures: those of the study, those that are added, and what is sent to do harm."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitscope as vs
from tests.app.browsing import Client
from tests.app.conftest import METHODS, PICTURES, png
from vitscope.app.serving import Background
from vitscope.reports.explanations.tiles import map_tile
from vitscope.tracing import Vit


def shown(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def noise(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def test_the_list_is_that_of_the_study(
    client: Client, study_folder: Path, pictures: list[Path], vit: Vit
) -> None:
    found = client.get("api/pictures").json
    columns = {
        name: [value for value, added in zip(values, found["columns"]["added"], strict=True) if not added]
        for name, values in found["columns"].items()
    }
    study = vs.Study.open(study_folder)
    table = study.table("pictures")
    assert columns["key"] == table["key"].tolist() and len(columns["key"]) == PICTURES + 1
    readable = [place for place, reason in enumerate(columns["skipped"]) if reason is None]
    ids = vs.pictures.picture_source(pictures).ids
    assert [columns["id"][place] for place in readable] == list(ids)
    first = study.table("predictions").query("rank == 0").set_index("picture")
    names = vit.class_names or []
    for place in readable:
        assert columns["prediction"][place] == first.loc[place, "class"]
        assert columns["prediction_name"][place] == names[int(first.loc[place, "class"])]
        assert columns["confidence"][place] == float(first.loc[place, "probability"])
        assert columns["label_name"][place] == pictures[readable.index(place)].parent.name
        assert columns["correct"][place] == (columns["label"][place] == columns["prediction"][place])
    (broken,) = set(range(PICTURES + 1)) - set(readable)
    assert "cannot be decoded" in columns["skipped"][broken] and columns["prediction"][broken] is None
    assert client.get(f"api/pictures/{columns['id'][broken]}/image.png").status == 415


def test_what_the_model_sees_is_what_explanations_are_drawn_on(
    client: Client, vit: Vit, pictures: list[Path], ids: list[str]
) -> None:
    expected = vs.explain(vit, pictures[0], "rollout").pictures
    assert expected is not None
    assert (shown(client.get(f"api/pictures/{ids[0]}/image.png").body) == expected[0].numpy()).all()
    large = noise(1, (300, 200))
    id = client.add(png(large), "large.png").json["id"]
    seen = vs.explain(vit, [large], "rollout").pictures
    assert seen is not None
    assert (shown(client.get(f"api/pictures/{id}/image.png", size="model").body) == seen[0].numpy()).all()
    assert (shown(client.get(f"api/pictures/{id}/image.png", size="full").body) == np.asarray(large)).all()
    assert client.ask("DELETE", f"/api/pictures/{id}").status == 204


def test_thumbnails(
    client: Client, vit: Vit, study_folder: Path, pictures: list[Path], ids: list[str]
) -> None:
    plain = shown(client.get(f"api/pictures/{ids[3]}/thumbnail.png").body)
    assert (plain == np.asarray(Image.open(pictures[3]))).all()
    study = vs.Study.open(study_folder)
    row = study.table("pictures")["content"].tolist().index(ids[3])
    seen = vs.explain(vit, pictures[3], METHODS[0])
    assert seen.pictures is not None
    on = Image.fromarray(seen.pictures[0].numpy())
    expected = map_tile(study.array(f"maps/{METHODS[0]}")[row], METHODS[0], on)
    found = shown(client.get(f"api/pictures/{ids[3]}/thumbnail.png", map=METHODS[0]).body)
    assert (found == np.asarray(expected)).all() and (found != plain).any()
    computed = shown(client.get(f"api/pictures/{ids[3]}/thumbnail.png", map="rollout").body)
    assert (computed == np.asarray(vs.reports.tile(vs.explain(vit, pictures[3], "rollout")))).all()


def test_a_picture_is_added_explained_and_forgotten(client: Client, vit: Vit) -> None:
    picture = noise(2)
    made = client.add(png(picture), "a%2Fb/../Vögel.png")
    assert made.status == 201 and made.json["added"] and made.json["name"] == "Vögel.png"
    id = made.json["id"]
    assert client.add(png(picture), "again.png").json["id"] == id
    columns = client.get("api/pictures").json["columns"]
    assert (columns["id"][0], columns["added"][0], columns["prediction"][0]) == (id, True, None)
    arrays, known = client.get(f"api/pictures/{id}/map").arrays
    assert arrays["map"].tobytes() == vs.explain(vit, [picture], "dart").maps[0].numpy().tobytes()
    assert known["key"] == "Vögel.png"
    told = client.get(f"api/pictures/{id}/prediction").json
    columns = client.get("api/pictures").json["columns"]
    assert columns["prediction"][0] == told["predicted"] and columns["entropy"][0] == told["entropy"]
    assert client.ask("DELETE", f"/api/pictures/{id}").status == 204
    assert id not in client.get("api/pictures").json["columns"]["id"]
    gone = client.get(f"api/pictures/{id}/map")
    assert gone.status == 404 and "no such picture" in gone.problem
    assert client.ask("DELETE", f"/api/pictures/{id}").status == 404


def test_a_picture_of_the_study_is_not_added_again(
    client: Client, pictures: list[Path], ids: list[str]
) -> None:
    made = client.add(pictures[2].read_bytes(), "copy.png").json
    assert made == {"id": ids[2], "name": pictures[2].name, "added": False}
    assert client.ask("DELETE", f"/api/pictures/{ids[2]}").status == 404


def test_a_rotated_photograph_stands_upright(client: Client, vit: Vit) -> None:
    picture = noise(3, (60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees to the right
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    id = client.add(buffer.getvalue()).json["id"]
    upright = shown(client.get(f"api/pictures/{id}/image.png", size="full").body)
    assert (upright == np.rot90(np.asarray(picture), -1)).all()
    expected = vs.explain(vit, [Image.fromarray(np.ascontiguousarray(upright))], "rollout")
    found = client.get(f"api/pictures/{id}/map", method="rollout").arrays[0]["map"]
    assert found.tobytes() == expected.maps[0].numpy().tobytes()
    client.ask("DELETE", f"/api/pictures/{id}")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


HARMFUL = {
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 415, "SVG"),
    "svg after a declaration": (b'<?xml version="1.0"?>\n<svg></svg>', 415, "SVG"),
    "html": (b"<!DOCTYPE html><script>alert(1)</script>", 415, "web page"),
    "postscript": (b"%!PS-Adobe-3.0\nshowpage", 415, "PostScript"),
    "text": (b"hello", 415, "text"),
    "nothing": (b"", 415, "0 bytes"),
    "cut short": (png(noise(4))[:2000], 415, "damaged or cut short"),
    "a bomb": (bomb(60_000, 60_000), 415, "more than the limit"),
    "too many bytes": (bytes(2_000_001), 413, "more than 2,000,000 bytes"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_what_is_no_picture_is_refused_in_one_line(client: Client, name: str) -> None:
    content, status, why = HARMFUL[name]
    before = client.get("api/pictures").json["count"]
    reply = client.add(content, "picture.png")
    assert reply.status == status and why in reply.problem and "/tmp" not in reply.problem
    assert client.get("api/pictures").json["count"] == before
    assert client.get("api/jobs").status == 200  # and the server is well


def test_a_body_without_a_length_is_counted(client: Client) -> None:
    host = f"{client.place[0]}:{client.place[1]}".encode()
    head = b"POST /api/pictures HTTP/1.1\r\nHost: " + host + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    answer = client.raw(head + chunk * 3 + b"0\r\n\r\n")
    assert answer.split(b"\r\n")[0].split()[1] == b"413", answer[:300]


def test_a_long_or_odd_name_does_no_harm(client: Client) -> None:
    for number, name in enumerate(("x" * 5000, "../../etc/passwd", "a\x00b\x1b[31m.png", "\u202egnp.exe")):
        reply = client.ask(
            "POST",
            "/api/pictures",
            png(noise(10 + number)),
            X_Filename="".join(f"%{b:02x}" for b in name.encode()),
        )
        told = reply.json["name"]
        assert reply.status == 201 and told.isprintable() and "/" not in told and len(told) <= 200
        client.ask("DELETE", f"/api/pictures/{reply.json['id']}")


def test_added_pictures_lie_where_nobody_else_looks_and_are_removed(study_folder: Path) -> None:
    from vitscope.app.settings import Settings

    with Background(Settings(study=str(study_folder), why_no_model="this test needs none")) as server:
        Client(server.address).add(png(noise(5)))
        folder = server.server.services.shelf._folder
        assert (
            folder is not None and folder.stat().st_mode & 0o777 == 0o700 and len(list(folder.iterdir())) == 1
        )
    assert not folder.exists()


def test_there_is_room_for_so_much_alone(study_folder: Path) -> None:
    from vitscope.app.settings import Settings

    settings = Settings(study=str(study_folder), why_no_model="this test needs none", added_bytes=30_000)
    with Background(settings) as server:
        client = Client(server.address)
        assert client.add(png(noise(6))).status == 201
        assert "forget some" in client.add(png(noise(7))).problem
