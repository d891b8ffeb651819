"""Words of a command line that belong to a further model."""

from __future__ import annotations

import pytest
import typer

from tests.cli.commands import every_command, parsed
from vitscope.cli.shared.further_models import split

EVALUATE = every_command()["evaluate"]


@pytest.mark.parametrize(
    ("line", "own", "further"),
    [
        ("photos --model a", "photos --model a", []),
        ("photos -m a -w 1 --model b -w 2 --out x", "photos -m a -w 1 --out x", ["--model b -w 2"]),
        ("-m a -m b -Mnum_classes=3 --steps 2 -m c --random-weights p", "-m a --steps 2 p",
         ["-m b -Mnum_classes=3", "-m c --random-weights"]),
        ("--model=a --model=b --weights=2 --json", "--model=a --json", ["--model=b --weights=2"]),
        ("-m a -- --model b", "-m a -- --model b", []),
    ],
)  # fmt: skip
def test_what_opens_a_model_follows_its_model(line: str, own: str, further: list[str]) -> None:
    assert split(line.split(), EVALUATE.params) == (own.split(), [each.split() for each in further])


def test_a_further_model_has_options_of_its_own() -> None:
    context = EVALUATE.make_context(
        "evaluate", ["p", "-m", "a", "-w", "1", "--device", "cpu", "-m", "b", "--image-size", "96"]
    )
    (other,) = context.meta["vitscope.further_models"]
    assert (other["model"], other["weights"], other["image_size"], other["device"]) == (
        "b",
        None,
        "96",
        "auto",
    )
    assert str(context.params["weights"]) == "1" and context.params["image_size"] is None


@pytest.mark.parametrize("line", ["p -m a -m b -w 1 -w 2", "p -m a -w 1 -w 2 -m b", "p -m a -m"])
def test_within_one_model_an_option_is_given_once(line: str) -> None:
    with pytest.raises(typer.BadParameter.__bases__[0]):
        parsed("evaluate", *line.split())


def test_other_commands_take_one_model() -> None:
    with pytest.raises(typer.BadParameter, match="--model is given 2 times"):
        parsed("explain", "p", "-m", "a", "-m", "b")
