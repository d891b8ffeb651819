"""Values that arrive as text on the command line become what the library takes, or a usage error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from vitscope.cli.batches import output_names
from vitscope.cli.console import emit_json, output_folder
from vitscope.cli.options import (
    check_precision,
    choose_device,
    parse_assignments,
    parse_image_size,
    parse_list,
    parse_target,
)
from vitscope.errors import OutputError


@pytest.mark.parametrize(
    ("text", "size"), [(None, None), ("384", 384), ("224x336", (224, 336)), ("8×9", (8, 9))]
)
def test_image_size_is_one_number_or_height_by_width(text: str | None, size: object) -> None:
    assert parse_image_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "0", "12x", "12x0", "-3", "1.5"])
def test_a_wrong_image_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--image-size"):
        parse_image_size(text)


def test_lists_lose_blanks_and_repetitions_and_keep_order() -> None:
    assert parse_list("gmar, daam,,gmar ,rollout") == ["gmar", "daam", "rollout"]


def test_assignments_become_python_values() -> None:
    given = [
        "alpha=0.5",
        "gmar.norm=l1",
        "positive=true",
        "start-block=3",
        "bank=none",
        "heads=[0, 2]",
        "name=a=b",
    ]
    assert parse_assignments(given) == {
        "alpha": 0.5,
        "gmar.norm": "l1",
        "positive": True,
        "start_block": 3,
        "bank": None,
        "heads": [0, 2],
        "name": "a=b",
    }


@pytest.mark.parametrize("item", ["alpha", "=3", "a.b.c=1", "1a=2", "rm -rf=1"])
def test_a_wrong_assignment_is_a_usage_error(item: str) -> None:
    with pytest.raises(typer.BadParameter, match="option=value"):
        parse_assignments([item])


def test_targets_that_are_numbers_become_class_indices() -> None:
    assert parse_target("207") == 207
    assert parse_target(" top3 ") == "top3"
    assert parse_target("class:207") == "class:207"


def test_precisions_have_their_usual_names() -> None:
    assert [check_precision(name) for name in ("fp32", "bfloat16", "FP16")] == ["float32", "bf16", "fp16"]
    with pytest.raises(typer.BadParameter, match="int8"):
        check_precision("int8")


def test_a_device_that_is_not_there_is_a_usage_error() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in {"cpu", "cuda", "mps"}
    with pytest.raises(typer.BadParameter, match="toaster"):
        choose_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(typer.BadParameter, match="--device cpu"):
            choose_device("cuda")


def test_no_two_pictures_write_to_the_same_name() -> None:
    paths = [Path("in/a.jpg"), Path("in/a.png"), Path("in/deep/a.jpg"), Path("in/b.v2.jpg")]
    names = output_names(paths)
    assert [str(names[path]) for path in paths] == ["a.jpg", "a.png", "deep/a", "b.v2"]
    awkward = [Path("a.jpg"), Path("a.png"), Path("a.jpg.png")]
    assert len(set(output_names(awkward).values())) == 3


def test_json_holds_arrays_and_no_number_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json(
        {"a": np.float32(1.5), "b": torch.tensor([1.0, float("nan")]), "c": Path("x"), "d": {1: (True, None)}}
    )
    assert json.loads(capsys.readouterr().out) == {
        "a": 1.5,
        "b": [1.0, None],
        "c": "x",
        "d": {"1": [True, None]},
    }


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        output_folder(tmp_path / "taken")
    with pytest.raises(OutputError, match="taken is a file"):
        output_folder(tmp_path / "taken" / "below")
    assert output_folder(tmp_path / "new" / "deep").is_dir()
    assert list((tmp_path / "new" / "deep").iterdir()) == []
