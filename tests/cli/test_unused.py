"""An argument that would not be used is refused before a model is opened: every command with every option."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.commands import every_command, needed, parsed, spelled, type_of
from tests.cli.conftest import Shell
from vitscope.cli.shared.usage import Command

OPTIONS = [
    (name, parameter)
    for name, command in every_command().items()
    for parameter in command.params
    if parameter.param_type_name == "option"
]
NAMES = [f"{name} {parameter.opts[0]}" for name, parameter in OPTIONS]
VALUES = {"int": "4", "float": "0.5", "Path": "place", "str": "words", "list[str]": "norm=l1"}


def value_of(name: str, parameter: Any) -> list[str]:
    """A value that the option's type accepts; nothing for a switch."""
    if parameter.is_flag:
        return []
    kind = type_of(every_command()[name], parameter)
    declared = inspect.unwrap(every_command()[name].callback).parameters[parameter.name]  # type: ignore[attr-defined]
    return [declared.default if kind == "str" and declared.accepts is not None else VALUES[kind]]


SEVERAL = ("evaluate", "--model")
"""Given again it is another model: ``tests/evaluation/test_models.py``."""


def typed(name: str, parameter: Any) -> list[str]:
    """A command line of what the command needs and this option."""
    words = needed(every_command()[name])
    option = spelled(parameter)
    return words if option in words else [*words, option, *value_of(name, parameter)]


@pytest.mark.parametrize(("name", "parameter"), OPTIONS, ids=NAMES)
def test_an_option_is_given_once_and_has_a_value(name: str, parameter: Any) -> None:
    words, option = typed(name, parameter), spelled(parameter)
    if not parameter.multiple and (name, option) != SEVERAL:
        with pytest.raises(typer.BadParameter, match=f"{option} is given 2 times"):
            parsed(name, *words, option, *value_of(name, parameter))
    if not parameter.is_flag:
        rest = needed(every_command()[name])
        if option in rest:
            rest = [word for word in rest if word not in (option, "bundled/shapes")]
        for nothing in ("", "nan", "inf"):
            if nothing and type_of(every_command()[name], parameter) != "float":
                continue
            with pytest.raises(typer.BadParameter):
                parsed(name, *rest, option, nothing)


REFUSED = {
    ("explain", "style scaling upsampling size"): ["--no-draw"],
    ("evaluate", "labels boxes masks"): ["--world", "shapes", "--metrics", "mass,grid-pointing"],
    ("evaluate", "labels"): ["--metrics", "srg"],
    ("evaluate", "boxes"): ["--metrics", "srg"],
    ("evaluate", "masks"): ["--metrics", "srg"],
    ("evaluate", "mosaic"): ["--metrics", "srg"],
    ("evaluate", "steps"): ["--metrics", "mass"],
    ("evaluate", "mean_colour"): ["--removal", "zero,blur"],
    ("heads importance", "screen"): ["--first-order"],
    ("heads importance", "replacement"): ["--first-order"],
    ("heads patterns", "form coder clusters epochs latent repeats null"): ["--atlas", "atlas"],
    ("heads patterns", "epochs"): ["--coder", "pca"],
    ("bank build", "labels"): ["--no-labels"],
    ("serve", "weights random_weights class_names model_option image_size precision"): [],
    ("serve", "model random_weights class_names model_option image_size precision"): ["a-study"],
    ("study create", "method option target"): ["--analyses", "strength"],
    ("study create", "option"): [],
    ("study create", "clean"): ["--analyses", "evaluate"],
    ("study create", "metrics removal score steps random_draws mean_colour boxes masks"): [],
    ("study create", "replacement exact"): [],
    ("study create", "replacement"): ["--analyses", "importance", "--first-order"],
    ("study create", "distance"): [],
    ("study create", "form coder clusters per_head latent repeats epochs"): [],
    ("study create", "epochs"): ["--analyses", "patterns", "--coder", "pca"],
    ("study run", "workers address"): [],
    ("study status", "verify"): ["--watch"],
    ("study status", "json"): ["--watch"],
}  # fmt: skip
"""A line for each rule: what makes the options useless."""
ALLOWED = {
    ("evaluate", "labels"): ["--metrics", "grid-pointing"],
    ("evaluate", "boxes"): ["--metrics", "mass"],
    ("evaluate", "masks"): ["--metrics", "mass"],
    ("evaluate", "mosaic"): ["--metrics", "grid-pointing"],
    ("evaluate", "mean_colour"): ["--removal", "zero,mean"],
    ("heads importance", "replacement"): ["--first-order", "--cumulative"],
    ("serve", "weights"): ["a-study"],
    **{
        ("serve", name): ["--model", "bundled/shapes"]
        for name in ["random_weights", "class_names", "model_option", "image_size", "precision"]
    },
    ("study create", "option"): ["--method", "gmar"],
    **{
        ("study create", name): ["--analyses", "evaluate"]
        for name in ["metrics", "removal", "score", "steps", "random_draws", "mean_colour", "boxes", "masks"]
    },
    **{("study create", name): ["--analyses", "importance"] for name in ("replacement", "exact")},
    ("study create", "distance"): ["--analyses", "strength"],
    **{
        ("study create", name): ["--analyses", "patterns"]
        for name in ["form", "coder", "clusters", "per_head", "latent", "repeats", "epochs"]
    },
    **{("study run", name): ["--engine", "ray"] for name in ("workers", "address")},
}


def options_of(name: str) -> dict[str, Any]:
    """The parameters of a command by name."""
    return {parameter.name: parameter for parameter in every_command()[name].params}


@pytest.mark.parametrize(("name", "options"), REFUSED, ids=str)
def test_an_option_that_would_be_dropped_is_refused(name: str, options: str) -> None:
    for option in options.split():
        line = [*typed(name, options_of(name)[option]), *REFUSED[name, options]]
        with pytest.raises(typer.BadParameter, match=r"would not be used: .+; leave it out"):
            parsed(name, *line)
        assert parsed(name, *typed(name, options_of(name)[option]), *ALLOWED.get((name, option), []))


def test_every_rule_has_a_line_here() -> None:
    declared = {
        (name, " ".join(rule.options))
        for name, command in every_command().items()
        for rule in getattr(command.callback, "unused", ())
    }
    listing = {key for key in declared if "max_pixels" in key[1]}
    assert declared - listing == set(REFUSED)
    assert listing == {("evaluate", " ".join(each for each in options_of("evaluate") if each not in OTHERS))}


OTHERS = ("list_metrics", "json")


def test_every_command_refuses_what_it_does_not_use() -> None:
    assert all(isinstance(command, Command) for command in every_command().values())


def test_the_list_of_metrics_stands_alone() -> None:
    for name, parameter in options_of("evaluate").items():
        if name in OTHERS:
            continue
        word = ["photo.png"] if parameter.param_type_name == "argument" else typed("evaluate", parameter)
        with pytest.raises(typer.BadParameter, match="--list-metrics lists the metrics and stops"):
            parsed("evaluate", *word, "--list-metrics")
    assert parsed("evaluate", "--list-metrics", "--json")["json"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("gmar:norm=l1", "-o", "nosuch=3"), "no method of gmar has an option 'nosuch'"),
        (("gmar:alpha=1", "-o", "alpha=9"), "would not be used"),
        (("gmar:alpha=1", "-o", "gmar.alpha=9"), "would not be used"),
        (("gmar", "-o", "gmar.alpha=2", "-o", "alpha=1"), "would not be used"),
        (("all", "-o", "nosuch=3"), "has an option 'nosuch'"),
        (("all", "-o", "nosuch.alpha=3"), "nosuch is not among the methods"),
        (("gmar,gmar",), "names gmar twice"),
    ],
)
def test_options_of_methods_in_evaluate(
    shell: Shell, picture: Path, tmp_path: Path, line: tuple[str, ...], words: str
) -> None:
    result = shell(
        "evaluate", picture, "--model", "bundled/shapes", "--out", tmp_path / "out", "--methods", *line
    )
    assert result.code in (1, 2)
    assert words in result.error


def test_options_beside_all_reach_every_method_that_has_them(
    monkeypatch: pytest.MonkeyPatch, shell: Shell, picture: Path, tmp_path: Path
) -> None:
    import vitscope as vs
    from vitscope.errors import EvaluationError

    given: dict[str, Any] = {}

    def seen(*positional: Any, options: dict[str, Any], **named: Any) -> None:
        given.update(options)
        raise EvaluationError("seen")

    monkeypatch.setattr(vs, "evaluate", seen)
    where = ("--model", "bundled/shapes", "--out", tmp_path / "out")
    shell("evaluate", picture, *where, "--methods", "all", "-o", "alpha=0.25", "-o", "gmar.alpha=0.5")
    assert given["gmar"] == {"alpha": 0.5}
    assert {name for name, options in given.items() if options == {"alpha": 0.25}}
    given.clear()
    shell("evaluate", picture, *where, "--methods", "gmar:norm=l1,gmar:alpha=1", "-o", "alpha=0.5")
    assert given == {"gmar:norm=l1": {"alpha": 0.5}}
