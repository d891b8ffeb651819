"""Every bad input has a one-line cause and remedy, no traceback, and an exit code that says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.bad_pictures import photograph
from tests.cli.conftest import Shell

MODEL = ("--model", "bundled/shapes", "--method", "rollout")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "damaged or cut short"),
        ("empty", "0 bytes"),
        ("text", "not a picture"),
        ("huge", "20,000×20,000"),
    ],
)
def test_a_broken_picture(
    shell: Shell, broken: dict[str, Path], tmp_path: Path, kind: str, words: str
) -> None:
    result = shell("explain", broken[kind], *MODEL, "--out", tmp_path / "out")
    assert result.code == 1
    assert words in result.error
    assert str(broken[kind]) in result.error
    assert ";" in result.error


@pytest.mark.parametrize(
    "kind", ["plain.jpg", "grey16.png", "cmyk.jpg", "palette.png", "moving.gif", "dot.png"]
)
def test_an_odd_picture_is_explained(shell: Shell, odd: dict[str, Path], tmp_path: Path, kind: str) -> None:
    result = shell("explain", odd[kind], *MODEL, "--out", tmp_path / "out", "--json")
    assert result.code == 0, result.err
    [record] = result.document["pictures"]
    assert record["maps"]["rollout"]["finite"] is True


def test_a_missing_picture(shell: Shell, tmp_path: Path) -> None:
    result = shell("explain", tmp_path / "nowhere.jpg", *MODEL, "--out", tmp_path / "out")
    assert result.code == 1
    assert "there is no file" in result.error


def test_a_folder_without_pictures(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = shell("explain", tmp_path / "empty", *MODEL, "--out", tmp_path / "out")
    assert result.code == 1
    assert "holds no file" in result.error


def test_a_pattern_that_matches_nothing(shell: Shell, tmp_path: Path) -> None:
    result = shell("explain", tmp_path / "*.jpg", *MODEL, "--out", tmp_path / "out")
    assert result.code == 1
    assert "matches nothing" in result.error


def test_an_output_folder_that_is_a_file(shell: Shell, picture: Path) -> None:
    result = shell("explain", picture, *MODEL, "--out", picture)
    assert result.code == 1
    assert "is a file, not a folder" in result.error


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_output_folder_without_write_rights(shell: Shell, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    result = shell("explain", picture, *MODEL, "--out", tmp_path / "locked" / "out")
    assert result.code == 1
    assert "cannot write" in result.error


def test_an_output_folder_on_a_read_only_place(shell: Shell, picture: Path) -> None:
    result = shell("explain", picture, *MODEL, "--out", "/proc/vitscope")
    assert result.code == 1
    assert "cannot write to the folder" in result.error


def test_a_class_that_the_model_does_not_have(shell: Shell, picture: Path, tmp_path: Path) -> None:
    result = shell("explain", picture, *MODEL, "--target", "5000", "--out", tmp_path / "out")
    assert result.code == 1
    assert "class 5000 does not exist" in result.error


def test_a_class_name_that_the_model_does_not_have(shell: Shell, picture: Path, tmp_path: Path) -> None:
    result = shell("explain", picture, *MODEL, "--target", "class:zebra", "--out", tmp_path / "out")
    assert result.code == 1
    assert "nearest" in result.error


def test_a_target_that_makes_no_sense(shell: Shell, picture: Path, tmp_path: Path) -> None:
    result = shell("explain", picture, *MODEL, "--target", "best", "--out", tmp_path / "out")
    assert result.code == 1
    assert "top1" in result.error


def test_weights_of_another_model_name_the_keys(shell: Shell, picture: Path, tmp_path: Path) -> None:
    save_file({"encoder.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    result = shell(
        "explain", picture, "--model", "timm/vit_tiny_patch16_224", "--weights", tmp_path / "other.safetensors",
        "--method", "rollout", "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.code == 1
    assert "encoder.weight" in result.error


def test_weights_that_are_not_there(shell: Shell, picture: Path, tmp_path: Path) -> None:
    result = shell(
        "explain", picture, "--model", "timm/vit_tiny_patch16_224", "--weights", tmp_path / "no.safetensors",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.code == 1
    assert "no.safetensors" in result.error


def test_a_model_without_attention_says_so(shell: Shell, picture: Path, tmp_path: Path) -> None:
    from timm import create_model

    save_file(create_model("resnet18").state_dict(), tmp_path / "cnn.safetensors")
    result = shell(
        "explain", picture, "--model", "timm/resnet18", "--weights", tmp_path / "cnn.safetensors",
        "--method", "rollout", "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.code == 1
    assert "no attention was seen in" in result.error


def test_a_model_that_nobody_knows(shell: Shell, picture: Path, tmp_path: Path) -> None:
    result = shell("explain", picture, "--model", "timm/deit_tinny_patch16_224", "--out", tmp_path / "out")
    assert result.code == 1
    assert "deit_tiny_patch16_224" in result.error


def test_a_source_that_nobody_knows(shell: Shell, picture: Path, tmp_path: Path) -> None:
    result = shell("explain", picture, "--model", "tim/deit_tiny_patch16_224", "--out", tmp_path / "out")
    assert result.code == 1
    assert "timm" in result.error


def test_an_unknown_method_names_the_nearest(shell: Shell, picture: Path, tmp_path: Path) -> None:
    result = shell(
        "explain", picture, "--model", "bundled/shapes", "--method", "rolout", "--out", tmp_path / "out"
    )
    assert result.code == 1
    assert "rollout" in result.error


def test_an_unknown_option_of_a_method(shell: Shell, picture: Path, tmp_path: Path) -> None:
    result = shell("explain", picture, *MODEL, "-o", "fussion=max", "--out", tmp_path / "out")
    assert result.code == 1
    assert "fussion" in result.error


def test_an_unknown_style(shell: Shell, picture: Path, tmp_path: Path) -> None:
    result = shell("explain", picture, *MODEL, "--style", "glitter", "--out", tmp_path / "out")
    assert result.code == 1
    assert "alpha" in result.error


@pytest.mark.parametrize(
    "arguments",
    [
        ("--device", "toaster"),
        ("--precision", "int3"),
        ("--image-size", "wide"),
        ("--batch-size", "0"),
        ("-o", "alpha"),
        ("--nonsense",),
    ],
)
def test_wrong_usage_is_exit_code_two(
    shell: Shell, picture: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    result = shell("explain", picture, *MODEL, *arguments, "--out", tmp_path / "out")
    assert result.code == 2
    assert "--help" in result.error


def test_a_bad_picture_among_many_is_skipped_and_the_rest_is_done(
    shell: Shell, broken: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(3):
        photograph(seed=index).save(folder / f"good{index}.jpg")
    (folder / "bad.jpg").write_bytes(broken["truncated"].read_bytes())
    result = shell("explain", folder, *MODEL, "--batch-size", 2, "--out", tmp_path / "out", "--json")
    assert result.code == 3
    assert "error:" not in result.err and "Traceback" not in result.err
    assert "skipped: " in result.err
    assert [Path(record["picture"]).name for record in result.document["pictures"]] == [
        "good0.jpg", "good1.jpg", "good2.jpg",
    ]  # fmt: skip
    [skipped] = result.document["skipped"]
    assert skipped["picture"].endswith("bad.jpg") and "damaged" in skipped["reason"]
    assert all((tmp_path / "out" / f"good{index}.rollout.png").is_file() for index in range(3))


def test_many_bad_pictures_and_no_good_one_is_a_failure(
    shell: Shell, broken: dict[str, Path], tmp_path: Path
) -> None:
    result = shell("explain", *broken.values(), *MODEL, "--out", tmp_path / "out")
    assert result.code == 1
    assert "none of the 4 pictures" in result.error


def test_the_installed_program_prints_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from vitscope.cli import main; main()", "explain", str(tmp_path / "nowhere.jpg"),
         "--model", "bundled/shapes", "--method", "rollout", "--out", str(tmp_path / "out")],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: there is no file")
