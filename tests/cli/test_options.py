"""Values that arrive as text on the command line become what the library takes, or a usage error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from vitscope.cli.shared.console import emit_json, output_folder
from vitscope.cli.shared.values import (
    OWN_OPTIONS,
    check_precision,
    choose_device,
    parse_image_size,
    parse_list,
    parse_model_options,
    parse_texts,
    whole_number,
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


def test_lists_lose_blanks_and_keep_order() -> None:
    assert parse_list("gmar, daam,,rollout", "--method") == ["gmar", "daam", "rollout"]


@pytest.mark.parametrize("text", ["", " , ", "gmar, daam,gmar "])
def test_a_list_of_nothing_or_of_something_twice_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--method names"):
        parse_list(text, "--method")


def test_options_of_methods_stay_texts_and_those_of_models_become_values() -> None:
    assert parse_texts(["alpha=0.5", "gmar.norm=l1", "start-block=3", "name=a=b"]) == {
        "alpha": "0.5",
        "gmar.norm": "l1",
        "start_block": "3",
        "name": "a=b",
    }
    given = [
        "num_classes=0",
        "grid=14, 12",
        "prefix=cls, reg",
        "pretrained=False",
        "drop=0.5",
        "bank=none",
        "who=me",
    ]
    assert parse_model_options(given) == {
        "num_classes": 0,
        "grid": (14, 12),
        "prefix": ("cls", "reg"),
        "pretrained": False,
        "drop": 0.5,
        "bank": None,
        "who": "me",
    }


@pytest.mark.parametrize("item", ["alpha", "=3", "a.b.c=1", "1a=2", "rm -rf=1", "alpha="])
def test_a_wrong_assignment_is_a_usage_error(item: str) -> None:
    with pytest.raises(typer.BadParameter, match="option=value"):
        parse_texts([item])


def test_an_option_of_a_method_is_given_once() -> None:
    with pytest.raises(typer.BadParameter, match="gives alpha twice"):
        parse_texts(["alpha=1", "alpha=2"])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        *((f"{name}=1", "is not for opening a model") for name in OWN_OPTIONS),
        ("grid=x", "two whole numbers"),
        ("grid=0,5", "two whole numbers"),
        ("grid=-1,5", "two whole numbers"),
        ("grid=5", "two whole numbers"),
        ("classes=0", "above 0"),
        ("classes=True", "above 0"),
        ("pooling=3", "a word"),
    ],
)
def test_a_model_option_that_cannot_be_is_a_usage_error(item: str, words: str) -> None:
    with pytest.raises(typer.BadParameter, match=words):
        parse_model_options([item])


@pytest.mark.parametrize("text", ["²", "9" * 5000, "1e3", "", "١", "0x10", "--3"])
def test_a_number_is_written_in_plain_digits(text: str) -> None:
    assert whole_number("-12", "--seed") == -12
    with pytest.raises(typer.BadParameter, match="--seed is a whole number"):
        whole_number(text, "--seed")


@pytest.mark.parametrize("name", ["meta", "hpu", "privateuseone", "cpu:1", "cuda:", "CPU", "", "cuda:-1"])
def test_a_device_without_numbers_of_its_own_is_a_usage_error(name: str) -> None:
    with pytest.raises(typer.BadParameter, match="--device is"):
        choose_device(name)


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
