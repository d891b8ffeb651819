"""Names of results: inside the folder, and no two pictures in one file."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitscope.storage import files
from vitscope.storage.outputs import OutputNames

ENDINGS = ("gmar.png", "gmar.safetensors", "sheet.png", "daam.gif", "daam.strip.png", "strip.png", "png")


def stems(keys: list[str]) -> list[str]:
    names = OutputNames("out", keys)
    return [names.stem(key).relative_to("out").as_posix() for key in keys]


def test_plain_names_lose_their_ending_unless_it_tells_two_apart() -> None:
    assert stems(["cat.png", "a/cat.png", "b.c.jpg"]) == ["cat", "a/cat", "b.c"]
    assert stems(["cat.png", "cat.jpg", "dog.png"]) == ["cat.png", "cat.jpg", "dog"]
    assert OutputNames("out", ["a/cat.png"]).path("a/cat.png", "x.png") == Path("out/a/cat.x.png")


def check(keys: list[str], folder: Path = Path("out")) -> None:
    """Every result of every picture lies below the folder, and no two are one, on any file system."""
    names = OutputNames(folder, keys, reserved=["report.html"])
    results: dict[str, str] = {}
    places: set[str] = set()
    for key in keys:
        for ending in ENDINGS:
            path = names.path(key, ending)
            parts = path.relative_to(folder).parts
            assert parts and not {"..", ".", ""} & set(parts) and not any("/" in part for part in parts)
            assert all(len(part.encode()) <= 255 and part.isprintable() for part in parts)
            one = unicodedata.normalize("NFC", unicodedata.normalize("NFD", "/".join(parts)).casefold())
            assert results.setdefault(one, key) == key
            places |= {one.rsplit("/", depth)[0] for depth in range(1, len(parts))}
    assert not places & set(results), "a file stands where another picture needs a folder"
    assert "report.html" not in results and "report.html" not in places


@pytest.mark.parametrize(
    "keys",
    [
        [
            "../x.png",
            "x.png",
            "../../x.png",
            "a/../x.png",
            "./x.png",
            "/x.png",
            "//x.png",
            "a//x.png",
            "a/x.png",
        ],
        ["Cat.png", "cat.png", "CAT.PNG", "cat.jpg"],
        ["A/x.png", "a/x.png"],
        [unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png"), "É.png"],
        [
            "cat.png",
            "cat.gmar.png",
            "cat.gmar.sheet.png",
            "cat.gmar.png/x.png",
            "cat.strip.png",
            "cat.daam.png",
        ],
        ["cat.png", "cat~0123456789ab.png", "Cat.png", "cat~0123456789ab.gmar.png"],
        ["a" * 250 + ".png", "a" * 249 + "b.png", "é" * 120 + ".png"],
        ["report.html.png", "report.html/x.png", "report.png", ""],
        [
            "\x1b[31m.png",
            "name\udcff.png",
            "name\udcfe.png",
            "a\0b.png",
            "a\nb.png",
            "c:\\x.png",
            "~root/x.png",
            "..",
        ],
        [".", "..", "...", "....png", ".png", " ", " .png", "x .png", "x..png"],
    ],
)
def test_awkward_names_share_nothing_and_stay_inside(keys: list[str]) -> None:
    check(keys)
    check(keys[::-1])


pieces = st.sampled_from(
    ["cat", "Cat", "cat.gmar", "cat.PNG", "cat.png", "..", ".", "", "é", "e\u0301", "a~0123456789ab"]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(pieces | st.text(max_size=4), min_size=1, max_size=3).map("/".join), unique=True, max_size=8
    )
)
def test_any_names_share_nothing_and_stay_inside(keys: list[str]) -> None:
    check(keys)


def test_a_name_does_not_depend_on_the_order_or_on_pictures_unlike_it() -> None:
    keys = ["Cat.png", "cat.png", "dog.png", "a/Cat.png"]
    assert stems(keys) == stems(keys[::-1])[::-1]
    assert stems(keys)[2:] == ["dog", "a/Cat"]
    assert stems([*keys, "mouse.png"])[:4] == stems(keys)


def test_accents_alone() -> None:
    check([unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")])
    check([unicodedata.normalize(form, "é") + "/x.png" for form in ("NFC", "NFD")])


def test_a_picture_named_as_another_ones_digest() -> None:
    names = OutputNames("out", ["Cat.png", "cat.png"])
    taken = names.stem("cat.png").name
    check(["Cat.png", "cat.png", f"{taken}.png", f"{taken}.gmar.png"])
    assert names.stem("cat.png") == OutputNames("out", ["Cat.png", "cat.png", f"{taken}.png"]).stem("cat.png")


def test_names_can_be_written(tmp_path: Path) -> None:
    keys = ["../x.png", "é" * 300 + ".png", "a\0b.png", "name\udcff.png", "/etc/x.png"]
    names = OutputNames(tmp_path / "out", keys)
    for key in keys:
        files.write(names.path(key, "transformer-attribution.safetensors"), "x")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*")) == 5
