"""Pictures from standard input, and a program that says nothing but errors."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import vitscope as vs
from tests.cli.bad_pictures import photograph
from tests.cli.commands import every_command
from tests.cli.conftest import Shell

MODEL = ("--model", "bundled/shapes", "--method", "rollout", "--no-draw")


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes, terminal: bool = False) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: terminal))


def test_a_picture_comes_from_standard_input(
    shell: Shell, picture: Path, tmp_path: Path, monkeypatch
) -> None:
    piped(monkeypatch, picture.read_bytes())
    found = shell("explain", "-", *MODEL, "--out", tmp_path / "out", "--json").document
    (entry,) = found["pictures"]
    assert (
        entry["key"] == "stdin" and Path(entry["maps"]["rollout"]["data"]).name == "stdin.rollout.safetensors"
    )
    named = shell("explain", picture, *MODEL, "--out", tmp_path / "named", "--json").document
    one, other = (
        vs.Explanation.load(each["pictures"][0]["maps"]["rollout"]["data"]) for each in (found, named)
    )
    assert one.maps.equal(other.maps) and one.metadata["ids"] == other.metadata["ids"]


@pytest.mark.parametrize("divider", ["\n", "\r\n", "\0"])
def test_a_list_of_paths_comes_from_standard_input(
    shell: Shell, tmp_path: Path, monkeypatch, divider: str
) -> None:
    for index in range(2):
        photograph(seed=index).save(tmp_path / f"{index}.png")
    piped(monkeypatch, divider.join([str(tmp_path / "0.png"), str(tmp_path / "1.png"), ""]).encode())
    document = shell("explain", "-", *MODEL, "--out", tmp_path / "out", "--json").document
    assert [Path(entry["picture"]).name for entry in document["pictures"]] == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("content", "terminal", "words", "said"),
    [
        (b"", False, ("-",), "standard input is empty"),
        (b"x", True, ("-",), "nothing comes from standard input"),
        (b"x", False, ("-", "a.png"), "- stands for all pictures"),
        (b"\xff\xfe no picture", False, ("-",), "is not a picture that can be read"),
    ],
)
def test_what_is_no_picture_and_no_list_is_told(
    shell: Shell, tmp_path, monkeypatch, content, terminal, words, said
) -> None:
    piped(monkeypatch, content, terminal)
    assert said in shell("explain", *words, *MODEL, "--out", tmp_path / "out").error


def test_quiet_says_nothing_but_errors_and_json(shell: Shell, picture: Path, tmp_path: Path) -> None:
    line = ("explain", picture, *MODEL, "--out", tmp_path / "out")
    spoken, silent = shell(*line), shell(*line, "--quiet")
    assert spoken.out and (silent.code, silent.out, silent.err) == (0, "", "")
    assert [path.name for path in (tmp_path / "out").rglob("photo*.safetensors")]
    assert json.loads(shell(*line, "-q", "--json").out)["pictures"]
    missing = shell("explain", tmp_path / "nowhere.png", *MODEL, "-q")
    assert missing.code == 1 and missing.out == "" and "nowhere.png" in missing.error


READ_PICTURES = [
    name
    for name, command in every_command().items()
    if any(each.name in ("pictures", "images") for each in command.params)
]
"""Every command that is given pictures."""


@pytest.mark.parametrize("name", READ_PICTURES)
def test_a_wrong_path_is_told_before_the_model_is_opened(
    shell: Shell, tmp_path: Path, monkeypatch, name: str
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.setattr(vs, "open_model", opened, raising=False)
    folder = [tmp_path / "study"] if name == "study create" else []
    for files in (["nowhere.png"], ["a.png", "b.png"]):
        paths = [tmp_path / file for file in files]
        pictures = [word for path in paths for word in ("--images", path)] if folder else paths
        result = shell(*name.split(), *folder, *pictures, "--model", "bundled/shapes")
        assert result.code == 1 and "there is no file" in result.error, result.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("option", ["--labels", "--boxes", "--masks"])
def test_a_wrong_path_of_what_is_known_is_told_before_the_model_is_opened(
    shell: Shell, picture: Path, tmp_path: Path, monkeypatch, option: str
) -> None:
    monkeypatch.setattr(vs, "open_model", lambda *_, **__: pytest.fail("a model was opened"), raising=False)
    words = ("evaluate", picture, "--model", "bundled/shapes", "--metrics", "mass")
    extra = ("--target", "label") if option == "--labels" else ()
    result = shell(*words, *extra, option, tmp_path / "nowhere.csv", "--out", tmp_path / "out")
    assert result.code == 1 and "nowhere.csv" in result.error
