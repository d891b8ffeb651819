"""The public names are what a type checker takes them for, and no function hides the module of its name."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import vitscope as vs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_public_calls_type_check(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--warn-unused-ignores",
        str(HERE / "public_calls.py"),
    ]
    done = subprocess.run(
        [*command, "--cache-dir", str(ROOT / ".mypy_cache")],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "MYPYPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_room_of_methods_can_be_called_and_is_a_module() -> None:
    assert isinstance(vs.methods, ModuleType) and vs.methods is sys.modules["vitscope.methods"]
    assert vs.methods() == vs.methods.methods() and vs.methods()
    room = importlib.import_module("vitscope.methods.room").MethodsRoom
    said = {name: getattr(room, name) for name in vars(room) if not name.startswith("_")}
    assert {name: getattr(vs.methods, name) for name in said} == said
    assert set(vs.methods.__all__) <= set(said)


def packages() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(vs.__path__, "vitscope.") if module.ispkg]
    return ["vitscope", *found]


@pytest.mark.parametrize("name", packages())
def test_no_module_is_hidden_by_a_function_of_its_name(name: str) -> None:
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(package.__path__):
        if module.name == "__main__":
            continue
        inner = importlib.import_module(f"{name}.{module.name}")
        assert getattr(package, module.name) is inner, f"{name}.{module.name}"
