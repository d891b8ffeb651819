"""What is missing is told with the command that adds it to this installation, wherever it is typed."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from vitscope.errors import MissingExtraError, install_command


class Installed:
    """A distribution with the note that pip leaves about where it came from."""

    def __init__(self, note: str | None) -> None:
        self.note = note

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.note


def noted(place: Path, **more: object) -> str:
    return json.dumps({"url": place.as_uri(), **more})


@pytest.mark.parametrize(
    ("editable", "command"), [(True, 'pip install -e "{}[hf]"'), (False, 'pip install "{}[hf]"')]
)
def test_the_folder_that_it_was_installed_from_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editable: bool, command: str
) -> None:
    sources, elsewhere = tmp_path / "my sources", tmp_path / "elsewhere"
    sources.mkdir()
    elsewhere.mkdir()
    note = noted(sources, dir_info={"editable": True} if editable else {})
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(note))
    monkeypatch.chdir(elsewhere)
    assert install_command("hf") == command.format(sources)
    monkeypatch.chdir(sources)
    assert install_command("hf") == command.format(".")


def test_so_is_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "vitscope-0.1.0-py3-none-any.whl"
    wheel.touch()
    note = noted(wheel, archive_info={"hash": "sha256=0"})
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(note))
    assert install_command("app") == f'pip install "{wheel}[app]"'


@pytest.mark.parametrize(
    "note",
    [None, "", "{", "[]", '{"url": "https://example.org/vitscope.git", "vcs_info": {}}', "gone", "none"],
)
def test_what_is_not_known_or_gone_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str | None
) -> None:
    def found(name: str) -> Installed:
        if note == "none":
            raise metadata.PackageNotFoundError(name)
        return Installed(noted(tmp_path / "gone") if note == "gone" else note)

    monkeypatch.setattr(metadata, "distribution", found)
    expected = 'pip install ".[app]" in the folder of vitscope\'s sources'
    assert install_command("app") == expected
    assert str(MissingExtraError("uvicorn", "app", "the web app")) == (
        f"the web app needs the package uvicorn; install it with: {expected}"
    )
