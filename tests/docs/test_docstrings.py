"""Docstrings of the public interface: one form, and examples that run."""

from __future__ import annotations

import doctest
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import vitscope as vs
from vitscope.evaluation import metric
from vitscope.methods import registry

ROOMS = (
    "adapters",
    "evaluation",
    "heads",
    "methods",
    "models",
    "pictures",
    "progress",
    "reports",
    "studies",
    "tracing",
    "worlds",
)
"""Rooms whose names are handed on for users, beside the facade itself."""
MODULES = [
    module.name
    for module in pkgutil.walk_packages(vs.__path__, "vitscope.")
    if not module.name.startswith("vitscope.cli.")
]


def _modules_with_examples() -> list[str]:
    found = []
    for name in MODULES:
        source = inspect.getsource(importlib.import_module(name))
        if re.search(r"^\s*>>> ", source, flags=re.MULTILINE):
            found.append(name)
    return found


@pytest.mark.parametrize("name", _modules_with_examples())
def test_examples_run(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # an example may write a file
    registry.methods(), metric.all_metrics()  # load all, so that what an example registers can be forgotten
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(metric, "_METRICS", dict(metric._METRICS))
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert result.failed == 0 and result.attempted > 0


def _public() -> Iterator[tuple[str, Any]]:
    """Every function and class that a user is handed, by its full name."""
    for name in vs.__all__:
        yield f"vs.{name}", getattr(vs, name)
    for room in ROOMS:
        for name in getattr(importlib.import_module(f"vitscope.{room}"), "__all__", ()):
            yield f"vs.{room}.{name}", getattr(importlib.import_module(f"vitscope.{room}"), name)


PUBLIC = {name: thing for name, thing in _public() if inspect.isfunction(thing) or inspect.isclass(thing)}
FUNCTIONS = {name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_public_function_says_what_it_takes_and_gives(name: str) -> None:
    function: Callable[..., Any] = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    assert text.partition("\n")[0].endswith((".", "?", ":")), "the first line is a sentence"
    assert "Returns:" in text or "Yields:" in text or signature.return_annotation in (None, "None")
    assert ">>> " in text, "an example that runs"
    if signature.parameters:
        arguments = re.search(r"^Args:\n(.*?)(?=^\w|\Z)", text, flags=re.MULTILINE | re.DOTALL)
        assert arguments, "Args:"
        missing = [each for each in signature.parameters if not re.search(rf"\b{each}\b", arguments.group(1))]
        assert not missing


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - set(FUNCTIONS)))
def test_a_public_class_says_what_it_is(name: str) -> None:
    text = PUBLIC[name].__doc__ or ""
    assert text and not text.startswith(f"{PUBLIC[name].__name__}("), "a docstring of its own"
    if not (issubclass(PUBLIC[name], Exception) or getattr(PUBLIC[name], "_is_protocol", False)):
        assert ">>> " in inspect.getdoc(PUBLIC[name]), "an example that runs"  # type: ignore[operator]


def _public_methods() -> Iterator[tuple[str, Any]]:
    """What public classes of this package define and hand to users: methods and properties, by their full name."""
    for name, owner in PUBLIC.items():
        if inspect.isclass(owner) and not getattr(owner, "_is_protocol", False):
            for each in dir(owner):
                function = thing = inspect.getattr_static(owner, each)
                if isinstance(thing, (classmethod, staticmethod)):
                    function = thing.__func__
                elif isinstance(thing, property):
                    function = thing.fget
                elif isinstance(thing, functools.cached_property):
                    function = thing.func
                ours = inspect.isfunction(function) and function.__module__.startswith("vitscope.")
                if ours and not each.startswith("_"):  # inherited ones, too
                    yield f"{name}.{each}", thing


METHODS = dict(_public_methods())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_public_method_says_what_it_does_in_a_sentence(name: str) -> None:
    owner, _, each = name.rpartition(".")
    text = inspect.getdoc(METHODS[name]) or inspect.getdoc(getattr(PUBLIC[owner], each)) or ""
    assert text.partition("\n\n")[0].endswith((".", "?")), "the first paragraph is a sentence"
