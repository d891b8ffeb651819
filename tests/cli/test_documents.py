"""What the documents say is true: their examples run, their links lead somewhere, their messages exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from vitscope.methods import registry


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language in a Markdown file."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Examples write where they are run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def registry_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A method that an example registers is gone afterwards."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    yield


def test_the_examples_of_the_readme_run(shell: Shell, repository: Path, in_empty_folder: Path) -> None:
    pages = [repository / name for name in ("docs/shell.md", "README.md", "docs/python.md")]
    lines = [
        line for page in pages for block in blocks(page, "sh") for line in block.splitlines() if line.strip()
    ]
    assert len(lines) >= 8
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "vitscope"
        result = shell(*arguments)
        assert result.code == 0, f"{line}\n{result.err}"
    assert (in_empty_folder / "demo" / "report.html").is_file()
    for page in pages[1:]:
        [code] = blocks(page, "python")
        names: dict[str, object] = {}
        exec(compile(code, page.name, "exec"), names)
    assert (in_empty_folder / "overlay.png").is_file() and (in_empty_folder / "daam.safetensors").is_file()


def test_the_method_of_the_contributing_guide_works(
    shell: Shell, repository: Path, in_empty_folder: Path, registry_as_before: None
) -> None:
    import vitscope as vs
    from vitscope.worlds import demo_pictures

    [code] = [each for each in blocks(repository / "CONTRIBUTING.md", "python") if "@register" in each]
    registry.get_method("rollout")
    exec(compile(code, "CONTRIBUTING.md", "exec"), {"__name__": "contributing_example"})
    vit = vs.open_model("bundled/shapes")
    found = vs.explain(vit, demo_pictures(2).images(), method="value-weighted", block=3)
    assert found.maps.shape == (2, 12, 12) and found.options == {"block": 3}
    assert "value-weighted" in shell("methods").out


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "docs/shell.md", "docs/python.md", "docs/what-to-expect.md"]
)
def test_links_lead_to_files(repository: Path, name: str) -> None:
    page = repository / name
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{name} links to {target}"


def test_the_messages_of_the_troubleshooting_page_are_in_the_code(repository: Path) -> None:
    source = "\n".join(path.read_text() for path in sorted((repository / "src").rglob("*.py")))
    source = re.sub(r"\s+", " ", re.sub(r'"\s*\n\s*(?:f|r)?"', "", source))
    page = (repository / "docs" / "troubleshooting.md").read_text()
    messages = re.findall(r"^### `(.+)`$", page, flags=re.MULTILINE)
    assert len(messages) >= 25
    for message in messages:
        # What varies (a path, a number) is written as … on the page; a remedy may have its own line in the code.
        for part in re.split("…|; ", message):
            assert part.strip(" ;,'()") in source, f"no message says {part!r} (of {message!r})"
