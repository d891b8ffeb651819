"""The house: one way up, no circle, small files with names that say what is in them.

DESIGN §3 has seven rules. What holds each of them:

1. Only ``storage`` writes, atomically: ``tests/storage/test_one_door.py`` (the source, and commands while they run),
   ``tests/storage/test_files.py`` and ``tests/storage/test_full_disk.py`` (what was there stays).
2. Only ``pictures`` opens pictures, masks and labels: ``tests/pictures/test_one_door.py``.
3. Only ``reports`` knows both results and pixels: here, ``test_only_reports_know_results_and_pixels``, and the import
   contract "Rendering takes arrays and knows no result" of ``pyproject.toml``.
4. A result knows its recipe, and other recipes never mix: ``tests/storage/test_recipes_everywhere.py``,
   ``tests/storage/test_recipe.py``, ``tests/heads/test_merging.py``, ``tests/evaluation/test_checkpoint.py``.
5. Any split gives the whole: ``tests/evaluation/test_any_split.py``, ``tests/heads/test_merging.py``,
   ``tests/methods/test_contract.py``.
6. A result depends on its recipe alone: ``tests/test_no_hidden_state.py``, ``tests/methods/test_contract.py`` (batch
   and order), ``tests/evaluation/test_contract.py``, ``tests/tracing/test_company.py`` (other pictures beside it).
7. Options are declared once and checked at the door: ``tests/options/test_door.py``, ``tests/methods/test_options.py``.

Imports go up one list of rooms: the contracts of ``pyproject.toml``, which ``lint-imports`` holds at run time; here
they are held for type checkers and for imports inside functions as well.
"""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src" / "vitscope"
LINES = 315
"""About 300 lines."""
NAMES = {
    "saved",
    "null",
    "local",
    "problems",
    "causes",
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "base",
}
"""Names of files that say nothing of what is in them."""


@functools.cache
def rooms() -> list[list[str]]:
    """The floors of the house from the bottom to the top, as the import contract lists them."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    floors = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return [[room.strip(" ()") for room in floor.split("|")] for floor in reversed(floors)]


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the package by its full name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.AST, known: Mapping[str, object]) -> Iterator[str]:
    """The modules of ``known`` that a module imports anywhere: at its top, for type checkers or inside a function.

    ``from package import name`` is an import of the module ``package.name`` where there is one, else of the package.
    A name that is put together while the program runs, as the registries do to load their files, is no import.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in known or node.module in known:
                    yield full if full in known else str(node.module)


@functools.cache
def graph() -> dict[str, set[str]]:
    """What each module imports. Two places are left out, because they are there to point upwards:

    ``vitscope`` itself, the facade, which names what users need for type checkers and finds it when it is first used;
    and ``vitscope.shown``, by which a result asks the rooms of reports and of the app to show it, when somebody looks.
    """
    known = dict(modules())
    for name in ("vitscope", "vitscope.shown"):
        del known[name]
    return {name: set(imported(ast.parse(path.read_text()), known)) - {name} for name, path in known.items()}


def circles(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """Groups of modules each of which reaches every other one of its group."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for other in edges.get(waiting.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
        return seen

    reach = {name: reached(name) for name in edges}
    found: list[set[str]] = []
    for name in edges:
        if name in reach[name] and not any(name in group for group in found):
            found.append({other for other in reach[name] if name in reach[other]})
    return found


def test_circles_are_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "e"}, "e": {"d"}}) == [
        {"b", "c"},
        {"d", "e"},
    ]
    text = """
from typing import TYPE_CHECKING
import room.one
if TYPE_CHECKING:
    from room.two import Name
def later():
    from room import three
"""
    assert set(imported(ast.parse(text), dict.fromkeys(("room", "room.one", "room.two", "room.three")))) == {
        "room.one", "room.two", "room.three",
    }  # fmt: skip


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(graph()) == [], "move what they share into a file below both"


def test_imports_go_up_the_list_of_rooms() -> None:
    floor = {room: level for level, floor_rooms in enumerate(rooms()) for room in floor_rooms}
    wrong = []
    for name, others in graph().items():
        room = name.split(".")[1]
        assert room in floor or room == "assets", f"{name} is in no room of DESIGN §3"
        for used in {other.split(".")[1] for other in others} - {room}:
            if floor[used] >= floor[room]:
                wrong.append(f"{name} imports {used}")
    assert wrong == []


def test_only_reports_know_results_and_pixels() -> None:
    results = ("vitscope.methods", "vitscope.heads", "vitscope.evaluation")
    wrong = set()
    for name, others in graph().items():
        draws = any(other.startswith("vitscope.rendering") for other in others)
        if draws and name.startswith(results):
            wrong.add(modules()[name].relative_to(SOURCE).as_posix())
    assert wrong == set(), "let reports/ draw it, asked through vitscope.shown"


def test_files_are_small() -> None:
    long = {
        path.relative_to(SOURCE).as_posix(): count
        for path in modules().values()
        if (count := len(path.read_text().splitlines())) > LINES
    }
    assert long == {}, "cut it by idea"


def test_names_of_files_say_what_is_in_them() -> None:
    assert [
        str(path) for path in modules().values() if path.stem.strip("_") in NAMES - {"init", "main"}
    ] == []


def test_a_folder_says_what_it_is_for() -> None:
    silent = [str(p) for p in SOURCE.rglob("__init__.py") if not ast.get_docstring(ast.parse(p.read_text()))]
    assert silent == []


def test_no_module_is_hidden_by_a_name_of_its_package() -> None:
    """``from package import name`` must not depend on which of the two was imported last."""
    hidden = []
    for name, path in modules().items():
        if path.stem != "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module == "__future__":
                continue
            for alias in node.names:
                bound = f"{name}.{alias.asname or alias.name}"
                if bound in modules() and bound != f"{node.module}.{alias.name}":
                    hidden.append(bound)
    assert hidden == []


@pytest.mark.parametrize("page", ["tests/test_house.py", "CONTRIBUTING.md"])
def test_what_is_named_here_is_there(page: str) -> None:
    text = (REPOSITORY / page).read_text()
    if page.endswith(".py"):
        text = str(ast.get_docstring(ast.parse(text)))
        named = {REPOSITORY / name for name in re.findall(r"``(tests/[\w/]+\.py)``", text)}
    else:
        text = text[text.index("### Where is") : text.index("### The way of a picture")]
        named = {SOURCE / name for name in re.findall(r"`([\w/]+\.py)`", text)}
    assert len(named) > 7 and [str(path) for path in named if not path.exists()] == []
