"""``vitscope explain`` goes on where it was stopped, with the same results to the last bit, and only with its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import vitscope as vs
from tests.cli.bad_pictures import photograph
from tests.cli.conftest import Shell
from vitscope.errors import OutputError
from vitscope.methods import Explanation
from vitscope.reports import write_maps

LINE = ("--model", "bundled/shapes", "--method", "gae", "--batch-size", 2, "--report", "--json")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures and one that is none."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(5):
        photograph(seed=index).save(folder / f"{index}.png")
    (folder / "2b.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The pictures of each call of ``explain``; a list that a test reads and empties."""
    calls: list[list[str]] = []
    real = vs.explain

    def explain(vit: Any, images: Any, **named: Any) -> Any:
        calls.append(list(images.keys))
        return real(vit, images, **named)

    monkeypatch.setattr(vs, "explain", explain)
    return calls


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that is a result."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "explained" and path.name != "report.html"
    }


def test_a_stopped_run_goes_on_to_the_same_bits(
    shell: Shell, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[list[str]]
) -> None:
    whole = shell("explain", photos, *LINE, "--out", tmp_path / "whole")
    assert whole.code == 3, whole.err
    assert counted == [["0.png", "1.png"], ["2.png", "2b.png"], ["3.png", "4.png"]]
    counted.clear()
    written: list[Path] = []

    def stopped(*arguments: Any, **looks: Any) -> dict[str, Any]:
        written.append(arguments[1])
        if len(written) == 5:  # in the middle of the last part, which is done as a whole or not at all
            raise KeyboardInterrupt
        return write_maps(*arguments, **looks)

    with monkeypatch.context() as patch:
        patch.setattr("vitscope.reports.write_maps", stopped)
        result = shell("explain", photos, *LINE, "--out", tmp_path / "parts")
    assert result.code == 130 and result.error == "error: interrupted; what was finished is kept"
    assert "3 of 6 pictures are done" in result.err
    counted.clear()
    result = shell("explain", photos, *LINE, "--out", tmp_path / "parts")
    assert result.code == 3
    assert counted == [["3.png", "4.png"]]
    assert "3 pictures were finished by an earlier run" in result.err
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")

    def placed(document: Any) -> str:
        return (
            str(document["pictures"])
            .replace(str(tmp_path / "whole"), "OUT")
            .replace(str(tmp_path / "parts"), "OUT")
        )

    assert placed(whole.document) == placed(result.document)
    assert whole.document["skipped"] == result.document["skipped"]
    # A folder that was moved is the same folder.
    shutil.move(tmp_path / "parts", tmp_path / "moved")
    counted.clear()
    again = shell("explain", photos, *LINE, "--out", tmp_path / "moved")
    assert counted == [] and len(again.document["pictures"]) == 5
    assert all(Path(each["maps"]["gae"]["overlay"]).is_file() for each in again.document["pictures"])


def test_what_is_not_as_it_was_is_done_again(
    shell: Shell, photos: Path, tmp_path: Path, counted: list[list[str]]
) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(photos, pictures)
    (pictures / "2b.png").unlink()
    line = (
        "explain",
        pictures,
        "--model",
        "bundled/shapes",
        "--method",
        "rollout",
        "--no-draw",
        "--batch-size",
        1,
    )
    out = ("--out", tmp_path / "out")
    assert shell(*line, *out).code == 0
    counted.clear()
    # A result with another bit, one that is gone, another picture under the same name, a new picture.
    damaged = bytearray((tmp_path / "out" / "0.rollout.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "out" / "0.rollout.safetensors").write_bytes(bytes(damaged))
    (tmp_path / "out" / "1.rollout.safetensors").unlink()
    photograph(seed=77).save(pictures / "2.png")
    photograph(seed=78).save(pictures / "9.png")
    assert shell(*line, *out).code == 0
    assert counted == [["0.png"], ["1.png"], ["2.png"], ["9.png"]]
    counted.clear()
    # A note with another bit is as if it were not there.
    note = sorted((tmp_path / "out" / "explained").iterdir())[-1]
    changed = bytearray(note.read_bytes())
    changed[len(changed) // 2] ^= 1
    note.write_bytes(bytes(changed))
    assert shell(*line, *out).code == 0
    assert counted == [["9.png"]]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (("-o", "gae.start_block=1"), "start_block"),
        (("--target", "3"), "target: 'top1' against '3'"),
        (("--clean",), "clean"),
        (("--style", "map"), "drawing.style"),
        (("--precision", "bf16"), "precision"),
    ],
)
def test_another_recipe_starts_anew_and_says_why(
    shell: Shell, picture: Path, tmp_path: Path, counted: list[list[str]], other: tuple[str, ...], words: str
) -> None:
    line = ("explain", picture, "--model", "bundled/shapes", "--method", "gae", "--out", tmp_path / "out")
    assert shell(*line).code == 0
    counted.clear()
    result = shell(*line, *other)
    assert result.code == 0, result.err
    assert len(counted) == 1
    assert "of another recipe" in result.err and words in result.err
    counted.clear()
    assert shell(*line, *other).code == 0
    assert counted == []


def test_the_contents_of_a_file_that_an_option_names_are_part_of_the_recipe(tmp_path: Path) -> None:
    from vitscope.cli.commands.explain.finished import _with_contents

    (tmp_path / "bank").write_bytes(b"one")
    first = _with_contents({"bank": str(tmp_path / "bank"), "alpha": 0.5, "norm": "l1"})
    (tmp_path / "bank").write_bytes(b"two")
    second = _with_contents({"bank": str(tmp_path / "bank"), "alpha": 0.5, "norm": "l1"})
    assert first["bank"] != second["bank"] and first["norm"] == "l1" and second["alpha"] == 0.5


def test_one_bad_output_file_costs_one_picture(
    shell: Shell, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_maps

    def bad(*arguments: Any, **looks: Any) -> dict[str, Any]:
        if arguments[1].name == "1":
            raise OutputError("cannot write 1.rollout.safetensors (No space left); choose another place")
        return real(*arguments, **looks)

    monkeypatch.setattr("vitscope.reports.write_maps", bad)
    line = ("explain", photos, "--model", "bundled/shapes", "--method", "rollout", "--no-draw", "--json")
    result = shell(*line, "--out", tmp_path / "out")
    assert result.code == 3
    assert "not written: cannot write 1.rollout" in result.err and "error:" not in result.err
    assert [each["key"] for each in result.document["pictures"]] == ["0.png", "2.png", "3.png", "4.png"]
    assert {each["picture"] for each in result.document["skipped"]} == {"1.png", "2b.png"}
    alone = shell("explain", photos / "1.png", *line[2:], "--out", tmp_path / "alone")
    assert alone.code == 1 and "cannot write 1.rollout" in alone.error


def test_a_place_that_is_taken_by_a_folder_costs_one_picture(
    shell: Shell, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "0.rollout.safetensors" / "in the way").mkdir(parents=True)
    line = ("--model", "bundled/shapes", "--method", "rollout", "--no-draw", "--out", tmp_path / "out")
    result = shell("explain", photos, *line)
    assert result.code == 3 and "not written: " in result.err
    assert (tmp_path / "out" / "4.rollout.safetensors").is_file()


def test_targets_stay_with_their_pictures(shell: Shell, photos: Path, tmp_path: Path) -> None:
    """Six pictures, the fourth unreadable, batches of two: each has its own class, also in its file."""
    line = ("--model", "bundled/shapes", "--method", "gae", "--no-draw", "--json", "--batch-size", 2)
    target = ("--target", "class:5,4,3,2,1,0")
    result = shell("explain", photos, *line, *target, "--out", tmp_path / "out")
    assert result.code == 3, result.err
    assert [(each["key"], each["class"]) for each in result.document["pictures"]] == [
        ("0.png", 5), ("1.png", 4), ("2.png", 3), ("3.png", 1), ("4.png", 0),
    ]  # fmt: skip
    for each in result.document["pictures"]:
        saved = Explanation.load(each["maps"]["gae"]["data"])
        assert saved.classes is not None and saved.classes.tolist() == [each["class"]]
        assert saved.target == f"class:{each['class']}"
    for wrong in ("class:1,2", "class:0,1,2,3,4,5,6"):
        refused = shell("explain", photos, *line, "--target", wrong, "--out", tmp_path / "wrong")
        assert refused.code == 1 and "one for each picture" in refused.error


def test_an_answer_that_is_no_number_costs_that_picture(
    shell: Shell, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is made to answer NaN to one picture of three."""
    real = vs.open_model

    def opened(*positional: Any, **named: Any) -> Any:
        vit = real(*positional, **named)
        forward = vit.model.forward

        def sick(images: Any) -> Any:
            answer = forward(images)
            return answer.where((images[:, 0, 0, 0] != bad)[:, None], answer.new_tensor(float("nan")))

        monkeypatch.setattr(vit.model, "forward", sick)
        return vit

    bad = float(real("bundled/shapes").images([photos / "1.png"])[0, 0, 0, 0])
    monkeypatch.setattr(vs, "open_model", opened)
    line = ("--model", "bundled/shapes", "--method", "gae", "--no-draw", "--json")
    result = shell("explain", photos, *line, "--out", tmp_path / "out")
    assert result.code == 3, result.err
    assert [each["key"] for each in result.document["pictures"]] == ["0.png", "2.png", "3.png", "4.png"]
    assert {each["picture"] for each in result.document["skipped"]} == {"1.png", "2b.png"}
    alone = shell("explain", photos / "1.png", *line, "--out", tmp_path / "alone")
    assert alone.code == 1 and "picture 0" in alone.error
