"""Hostile values for every argument of every public function, made from the signatures: one line, or accepted.

A value that the declaration of an argument does not accept is refused, and the line names the argument. What the
declaration leaves to the function (pictures, targets, methods' options) or accepts may go on: it ends in a result or in
one line, never in a raw error of Python, NumPy or torch.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vitscope as vs
from tests.options.calls import BASES, NOT_CALLED, SLOW, Given, given
from vitscope import heads
from vitscope.errors import VitscopeError
from vitscope.methods.memory_bank import MemoryBank
from vitscope.options.declared import option_of
from vitscope.options.kinds import Refused

HOSTILE: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, float("nan"), float("inf"), "", "x", "a\0b", b"x", [], [None], ["x", "x"], {},
    {"x": 1}, object(), len, (1, 2, 3), np.zeros(2), torch.zeros(2, 2), Path("nowhere/at-all"),
]  # fmt: skip
ROOMS = (
    "",
    "adapters",
    "heads",
    "evaluation",
    "methods",
    "pictures",
    "tracing",
    "models",
    "reports",
    "worlds",
)


def public_functions() -> Iterator[str]:
    seen: set[int] = set()
    for room in ROOMS:
        home = importlib.import_module(f"vitscope.{room}" if room else "vitscope")
        for name in home.__all__:
            found = getattr(home, name)
            if inspect.isfunction(found) and id(found) not in seen:
                seen.add(id(found))
                yield f"{room}.{name}".removeprefix(".")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return given(tmp_path_factory.mktemp("hostile"))


def test_every_public_function_is_called() -> None:
    """A new one comes with arguments that work, in ``calls.py``."""
    named = {name for name in BASES if "." not in name or name.split(".")[0] in ROOMS}
    assert set(public_functions()) - set(NOT_CALLED) <= named
    assert not set(NOT_CALLED) & set(BASES)


@pytest.mark.parametrize("name", sorted(BASES))
def test_hostile_values_end_in_one_line(name: str, known: Given, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    function, arguments = BASES[name](known)
    function(**arguments)  # the base itself works
    parameters = inspect.signature(function).parameters
    wrong: list[str] = []
    for parameter in parameters.values():
        if parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            continue
        option = option_of(_declaring(function), parameter.name)
        for value in HOSTILE:
            refused = False
            try:
                option.check(value, known.vit.anatomy)
            except Refused:
                refused = value is not parameter.default
            if name in SLOW and not refused:
                continue
            said = _call(function, {**arguments, parameter.name: value})
            if refused and (said is None or parameter.name not in said):
                said = f"accepted, or the line does not name it: {said}"
            elif said is None or not said.startswith("raw "):
                continue
            wrong.append(f"{name}({parameter.name}={value!r:.40}): {said}")
            break
    assert not wrong, "\n".join(wrong)


def _declaring(function: Callable[..., Any]) -> Any:
    return getattr(function, "__func__", function)


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """What was said when it was refused, None when it was accepted, ``raw ...`` for an error that is none of ours."""
    try:
        function(**arguments)
    except VitscopeError as error:
        said = str(error)
        return said if said and "\n" not in said and len(said) < 500 else f"raw {said!r}"
    except Exception as error:
        return f"raw {type(error).__name__}: {error}"
    return None


RESULTS = (
    vs.Explanation, vs.Leaderboard, heads.HeadTable, heads.Agreement, heads.StrengthProfile, heads.PartialPruning,
    heads.CumulativePruning, heads.PatternAtlas, heads.PatternMapping, heads.MapSample, MemoryBank,
)  # fmt: skip


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.__name__)
def test_results_are_saved_loaded_and_merged_with_what_fits(kind: Any) -> None:
    empty = object.__new__(kind)  # a wrong argument is refused before the result is looked at
    for value in (None, 5, 1.5, "", b"x", [], object(), ["x"]):
        for name, call in (("save", partial(kind.save, empty)), ("load", kind.load)):
            said = _call(call, {next(iter(inspect.signature(call).parameters)): value})
            assert said is not None and not said.startswith("raw") and f"{name}() expected" in said, (
                name,
                value,
            )
        if hasattr(kind, "merge"):
            with pytest.raises(
                VitscopeError, match=rf"merge\(\) expected others as an? {kind.__name__}, got"
            ):
                kind.merge(empty, value)
