"""What is said of a library that is not there, and of one that is there and broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vitscope.errors import MissingExtraError, ModelError
from vitscope.models.opening.optional import require


@pytest.mark.parametrize("module", ["absent_library", "absent_library.part"])
def test_what_is_absent_is_to_be_installed(module: str) -> None:
    with pytest.raises(MissingExtraError, match=r'needs the package absent.*\[things\]"'):
        require(module, "things", "this", distribution="absent")


@pytest.mark.parametrize(
    "inside", ["raise RuntimeError('of another torch')", "import missing_below", "from . import gone"]
)
def test_what_is_there_and_broken_is_to_be_installed_again(
    inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_library").mkdir()
    (tmp_path / "broken_library" / "__init__.py").write_text(inside, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_library", raising=False)
    with pytest.raises(
        ModelError, match="needs broken-library, which is installed but fails to import"
    ) as said:
        require("broken_library", "things", "this", distribution="broken-library")
    assert not isinstance(said.value, MissingExtraError)


def test_a_part_that_is_missing_is_no_missing_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old_library").mkdir()
    (tmp_path / "old_library" / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "old_library", raising=False)
    with pytest.raises(ModelError, match="needs old_library, which is installed but fails"):
        require("old_library.part", "things", "this")
