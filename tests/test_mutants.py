"""The list of mutants still fits the code: every mistake can be made in exactly one place, and its tests are there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "mutate.py"


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutate", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = module
    spec.loader.exec_module(module)
    return module


def test_every_mutant_still_applies(mutate: ModuleType) -> None:
    found = mutate.read()
    assert len(found) >= 40
    assert len({mutant.name for mutant in found}) == len(found)
    assert [why for mutant in found if (why := mutant.misfit(mutate.ROOT)) is not None] == []
    for mutant in found:
        place = mutant.place(mutate.ROOT)
        compile(place.read_text(encoding="utf-8").replace(mutant.old, mutant.new), place, "exec")


def test_survivors_are_told(mutate: ModuleType, tmp_path: Path) -> None:
    """A tree of one function and one test: a mistake that the test sees, one it does not, and two that do not fit."""
    (tmp_path / "src" / "vitscope").mkdir(parents=True)
    place = tmp_path / "src" / "vitscope" / "sums.py"
    place.write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "test_sums.py").write_text(
        "from vitscope.sums import add\ndef test(): assert add(2, 2) == 4\n"
    )

    def mutant(old: str, new: str, *tests: str) -> object:
        return mutate.Mutant("a mistake", "sums.py", old, new, tests or ("test_sums.py",))

    (tmp_path / "src" / "vitscope" / "__init__.py").touch()
    assert mutate.killed_by(mutant("a + b", "a - b"), tmp_path) == "noticed"
    assert mutate.killed_by(mutant("a + b", "a * b"), tmp_path) is None
    assert mutate.killed_by(mutant("a + b", "a +"), tmp_path).startswith("BROKEN")
    assert place.read_text() == "def add(a, b):\n    return a + b\n"
    assert mutant("a + b", "a - b").misfit(tmp_path) is None
    assert "stands 0 times" in mutant("a / b", "a - b").misfit(tmp_path)
    assert "stands 3 times" in mutant("a", "b").misfit(tmp_path)
    assert "no test gone.py" in mutant("a + b", "a - b", "gone.py").misfit(tmp_path)
