"""Runs the command line in this process and hands back what a shell would see."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bad_pictures import photograph, write_broken, write_readable
from vitscope.cli.application import run


@dataclass(frozen=True)
class Result:
    """What one call of the program left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON; fails when anything else was written there."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one error line; fails when there is a traceback, or more or less than one such line."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


Shell = Callable[..., Result]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """``shell("explain", path, "--model", "bundled/shapes")`` runs the program."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """One good picture."""
    path = tmp_path / "photo.jpg"
    photograph().save(path)
    return path


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that cannot be used as pictures, by what is wrong."""
    return write_broken(tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Unusual pictures that must work."""
    return write_readable(tmp_path_factory.mktemp("odd"))
