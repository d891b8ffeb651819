"""Every command against every option, as Typer holds them: one type, one default, one help, one declaration."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import vitscope.cli
from tests.cli.commands import every_command, parsed, type_of
from vitscope.cli.shared.format_options import FORMAT
from vitscope.cli.shared.options import OUT, ModelOptions, PictureOptions, RunOptions

CELLS = [(name, each) for name, command in every_command().items() for each in command.params]
OPTIONS = [(name, each) for name, each in CELLS if each.param_type_name == "option" and each.name != "help"]
DEFAULTS: dict[str, dict[str, Any]] = {"out": OUT, "format": FORMAT}
"""Options whose default depends on the command."""
OF_MODEL = {each.name for each in fields(ModelOptions)}
OF_PICTURES = {each.name for each in fields(PictureOptions)}


def declared(name: str) -> dict[str, Any]:
    """What the parameters of a command were made from."""
    found: dict[str, Any] = inspect.unwrap(every_command()[name].callback).parameters
    return found


def facts(name: str, option: Any) -> dict[str, Any]:
    """What must not differ between two commands."""
    return {
        "name": option.name,
        "type": type_of(every_command()[name], option),
        "several": option.multiple,
        "default": DEFAULTS[option.name][name] if option.name in DEFAULTS else option.default,
        "help": option.help,
        "spelled": (option.opts, option.secondary_opts),
        "title": option.rich_help_panel,
    }


def test_the_same_option_is_the_same_in_every_command() -> None:
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, option in OPTIONS:
        for word in (*option.opts, *option.secondary_opts):
            mine = facts(name, option)
            where, known = first.setdefault(word, (name, mine))
            known = {**known, "default": mine["default"]} if option.name in DEFAULTS else known
            assert mine == known, (word, where, name)


def test_a_name_is_an_option_or_an_argument_of_one_meaning() -> None:
    """``--pictures`` beside PICTURES, or two spellings of one name, would be two things of one name."""
    spellings: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for name, each in CELLS:
        if each.param_type_name == "option":
            spellings[each.name].add(tuple(each.opts))
        else:
            single = {
                ("model", "inspect"),
                ("name", "methods"),
                ("into", "study export"),
                ("folder", "study site"),
                ("other", "serve"),
            }
            assert (each.name, name) in single or each.name in ("pictures", "study")
    assert all(len(each) == 1 for each in spellings.values()), spellings


@pytest.mark.parametrize("name", [name for name in every_command() if "model" in declared(name)])
def test_a_command_that_opens_a_model_opens_it_by_all_options(name: str) -> None:
    assert set(declared(name)) >= OF_MODEL
    assert issubclass(declared(name)["model"].record, ModelOptions)


def test_these_open_a_model() -> None:
    """All but the list of methods, ``doctor``, and ``demo``, whose model is bundled and not to be chosen."""
    without = {name for name in every_command() if "model" not in declared(name)}
    studies = {
        f"study {name}" for name in ("run", "status", "export", "site", "migrate")
    }  # the study knows its model
    assert without == {"methods", "demo", "doctor", *studies}
    assert {"device", "precision", "batch_size", "limit", "out", "json"} <= set(declared("demo"))


@pytest.mark.parametrize("name", [name for name in every_command() if "pictures" in declared(name)])
def test_a_command_that_reads_pictures_chooses_them_alike(name: str) -> None:
    assert set(declared(name)) >= OF_PICTURES | {each.name for each in fields(RunOptions)}


def test_where_something_means_something_it_is_there() -> None:
    has = {option: {name for name in every_command() if option in declared(name)} for _, option in names()}
    assert has["method"] == has["option"] == has["target"] == {"explain", "flow", "evaluate", "study create"}
    assert has["style"] == {"explain", "flow"} and has["clean"] == {*has["style"], "study create"}
    pruning = {"heads importance", "heads agreement", "heads prune", "heads report"}
    assert has["replacement"] == {*pruning, "study create"}
    assert has["labels"] == {*pruning, "evaluate", "bank build", "study create"}
    assert has["seed"] == {"evaluate", "heads patterns", "heads agreement", "heads report", "study create"}
    assert has["epochs"] == {"heads patterns", "heads report", "study create"}
    assert has["steps"] == has["metrics"] == has["boxes"] == {"evaluate", "study create"}
    assert has["alone"] == {name for name in every_command() if name.startswith("study ")}
    assert has["study"] == {*has["alone"], "serve"}
    assert has["engine"] == has["retry_failed"] == {"study run"} and has["verify"] == {"study status"}
    assert has["out"] == set(OUT)
    assert has["json"] == set(every_command())


def names() -> set[tuple[str, str]]:
    """(command, parameter) of all."""
    return {(name, each.name) for name, each in CELLS if each.name != "help"}


def test_each_is_declared_once_in_the_shared_records_or_by_its_own_command() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    users: dict[str, set[str]] = defaultdict(set)
    for command, name in names():
        parameter = declared(command)[name]
        home = (
            command_function(command).__module__
            if parameter.record is None
            else origin(parameter.record, name)
        )
        homes[name].add(home)
        users[name].add(command)
    for name, found in homes.items():
        shared = {each for each in found if each.startswith("vitscope.cli.shared.")}
        own = found - shared
        if (
            len(users[name]) > 1
        ):  # what may be left out, or be an argument, in some commands: by their own records
            assert shared and (not own or name in ("model", "pictures", "study")), (name, found)
        else:
            (command,) = users[name]
            folder = command_function(command).__module__.rpartition(".")[0] if " " in command else ""
            assert len(found) == 1 or not folder, (name, found)
            assert not shared, f"{name} of {command} is used by no other command; declare it there"


def command_function(name: str) -> Any:
    """What a command was made from, for where it stands."""
    return inspect.unwrap(every_command()[name].callback)


def origin(record: type, name: str) -> str:
    """The module of the class that declares a field."""
    return next(each.__module__ for each in record.__mro__ if name in vars(each).get("__annotations__", {}))


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=[f"{n} {o.opts[0]}" for n, o in OPTIONS])
def test_each_has_a_help_text_and_a_long_name(name: str, option: Any) -> None:
    assert option.help and option.help.rstrip(")")[-1:] in ".2", option.help
    assert any(word.startswith("--") for word in option.opts)


def test_no_function_of_the_shell_takes_a_long_list() -> None:
    long = []
    for info in pkgutil.walk_packages(vitscope.cli.__path__, "vitscope.cli."):
        module = importlib.import_module(info.name)
        for _, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == info.name and len(inspect.signature(function).parameters) > 12:
                long.append(f"{info.name}.{function.__name__}")
    assert not long


def test_where_results_go_stands_in_one_table() -> None:
    for option, table in DEFAULTS.items():
        for name, value in table.items():
            assert declared(name)[option].default == value
    assert {name for name, place in OUT.items() if place.suffix} == {"heads prune", "bank build"}
    assert parsed("evaluate", "--world", "shapes")["out"] == Path("vitscope-evaluation")


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("explain", ("--batch-size", "0"), "--batch-size is a whole number from 1 to 65,536, not 0"),
        ("explain", ("--limit", "0"), "--limit is a whole number from 1 to 1,000,000, not 0"),
        ("flow", ("--seconds", "0.01"), "--seconds is a number from 0.02 to 60, not 0.01"),
    ],
)
def test_a_number_out_of_its_range_is_told_with_the_range(
    name: str, words: tuple[str, ...], told: str
) -> None:
    with pytest.raises(Exception, match=told):
        parsed(name, "photo.png", "--model", "bundled/shapes", *words)
