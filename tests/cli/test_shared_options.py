"""Options that commands share do in each what they do in the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import typer

import vitscope as vs
from tests.cli.bad_pictures import photograph
from tests.cli.commands import parsed
from tests.cli.conftest import Shell
from vitscope.cli.commands.heads.head_names import parse_heads
from vitscope.cli.shared.judging_options import read_aim
from vitscope.cli.shared.options import ModelOptions, PictureOptions, SeedOptions
from vitscope.cli.shared.session import open_vit

MODEL = ("--model", "bundled/shapes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, the second of which is larger."""
    place = tmp_path / "photos"
    place.mkdir()
    for index, side in enumerate((40, 120, 40)):
        photograph((side, side), seed=index).save(place / f"{index}.png")
    return place


@pytest.mark.parametrize(
    "command",
    [
        ("explain", "--method", "rollout", "--no-draw"),
        ("flow", "--method", "rollout", "--no-strip"),
        ("calibrate",),
        ("bank", "build", "-M", "num_classes=0"),
        ("heads", "strength"),
    ],
)
def test_limit_and_max_pixels(shell: Shell, folder: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    out = (
        ()
        if command == ("calibrate",)
        else ("--out", tmp_path / ("b.safetensors" if "bank" in command else "out"))
    )
    model = MODEL if "bank" not in command else ("--model", "timm/vit_tiny_patch16_224", "--random-weights")
    line = (*command, folder, *model, *out, "--image-size", "96", "--json")
    few = shell(*line, "--limit", 1)
    assert few.code == 0, few.err
    assert count(few.document) == 1 and few.document["skipped"] == []
    small = shell(*line, "--max-pixels", 10_000)
    assert small.code == 3, small.err
    assert count(small.document) == 2
    ((skipped),) = small.document["skipped"]
    assert Path(skipped["picture"]).name == "1.png" and "10,000" in skipped["reason"]


def count(document: dict[str, Any]) -> int:
    """How many pictures were used."""
    pictures = document["pictures"]
    return pictures if isinstance(pictures, int) else len(pictures)


def test_a_source_reads_what_was_asked_for(folder: Path) -> None:
    assert [path.name for path in PictureOptions(pictures=[str(folder)], limit=2).source().items] == [
        "0.png",
        "1.png",
    ]
    assert len(PictureOptions(pictures=[str(folder)], limit=9).source()) == 3
    assert PictureOptions(pictures=[str(folder)], max_pixels=7).source().max_pixels == 7


def test_a_model_is_opened_with_every_option(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"thing {index}" for index in range(3)))
    options = ModelOptions(
        model="timm/vit_tiny_patch16_224", random_weights=True, class_names=str(names), image_size="32x48",
        model_option=["num_classes=3"], device="cpu", precision="bf16",
    )  # fmt: skip
    vit = open_vit(options)
    assert vit.precision == "bf16" and vit.class_names == ["thing 0", "thing 1", "thing 2"]
    assert vit.anatomy.image_size == (32, 48) and vit.anatomy.classes == 3
    again = open_vit(options)
    assert torch.equal(next(vit.model.parameters()), next(again.model.parameters()))


@pytest.mark.parametrize(
    ("text", "aim"),
    [("top1", "top1"), (" label ", "label"), ("7", 7), ("class:star", "class:star"), ("star", "star")],
)
def test_the_target_of_evaluate(text: str, aim: str | int) -> None:
    assert read_aim(text) == aim


@pytest.mark.parametrize(
    "text", ["top3", "difference:1,2", "text: a dog", "class:1:probability", "", "topp1"]
)
def test_a_target_that_makes_no_table_is_refused_before_the_model_is_opened(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="top1, label, a class number or a class's name"):
        read_aim(text)


def test_evaluate_takes_a_class_by_its_name(shell: Shell, folder: Path, tmp_path: Path) -> None:
    vit = vs.open_model("bundled/shapes")
    assert vit.class_names is not None
    line = (
        "evaluate", folder, *MODEL, "--limit", 1, "--method", "rollout", "--steps", 2, "--random-draws", 1, "--json",
        "--out", tmp_path / "board",
    )  # fmt: skip
    named = shell(*line, "--target", f"class:{vit.class_names[2]}")
    assert named.code == 0, named.err
    assert named.document["boards"][0]["protocol"]["target"] == 2
    wrong = shell(*line, "--target", "class:zeppelin")
    assert wrong.code == 1 and "zeppelin" in wrong.error


def test_one_seed_where_there_is_one_run() -> None:
    assert SeedOptions(seed="3").one() == 3
    with pytest.raises(typer.BadParameter, match="--seed is a whole number"):
        SeedOptions(seed="0,1").one()


def test_a_head_is_named_once() -> None:
    assert parse_heads("0.1, 3.2") == [(0, 1), (3, 2)]
    with pytest.raises(typer.BadParameter, match=r"the head 0\.1 is named twice"):
        parse_heads("0.1,3.2,0.1")


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("heads importance", ("--screen", "2"), "--screen is a number above 0 to 1, not 2"),
        (
            "heads importance",
            ("--replacement", "nope"),
            "--replacement is 'zero' or 'mean' or 'mean-per-query'",
        ),
        ("heads report", ("--epochs", "0"), "--epochs is a whole number from 1 to 100,000, not 0"),
        ("heads patterns", ("--form", "round"), "--form is 'pooled' or 'offset', not 'round'"),
        ("heads prune", ("--keep", "0"), "--keep is a number above 0 to 1, not 0"),
        ("heads prune", ("--write", "round"), "--write is 'smaller' or 'masked', not 'round'"),
        ("evaluate", ("--steps", "100000"), "--steps is a whole number from 1 to 10,000, not 100000"),
        ("evaluate", ("--mosaic", "17"), "--mosaic is a whole number from 2 to 16, not 17"),
    ],
)
def test_what_the_library_declares_is_checked_before_a_model_is_opened(
    name: str, words: tuple[str, str], told: str
) -> None:
    with pytest.raises(typer.BadParameter, match=told):
        parsed(name, "photo.png", "--model", "bundled/shapes", *words)


def test_two_values_of_one_option_of_a_method_are_refused(shell: Shell, folder: Path, tmp_path: Path) -> None:
    done = shell("evaluate", folder, *MODEL, "--method", "gmar:alpha=1;alpha=2", "--out", tmp_path / "board")
    assert done.code == 1 and "gives alpha twice" in done.error
