"""The pages hold together: links, pictures, one page for every method, snippets and examples that run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tests.cli.commands import every_command
from vitscope.cli.application import run
from vitscope.methods import methods, registry
from vitscope.storage.kinds import MADE_BY
from vitscope.worlds import demo_pictures

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "examples").glob("*.md")]
)
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
FIRST_HOUR = [
    REPOSITORY / "docs" / f"{name}.md"
    for name in (
        "own-model",
        "from-grad-cam-and-captum",
        "maps-as-data",
        "two-models",
        "data-loader",
        "tutorial-study",
        "tutorials/first-map",
        "tutorials/flow",
        "tutorials/which-heads",
        "tutorials/trust",
    )
]
"""Of these every line of Python and of ``sh`` runs as it stands."""
QUESTIONS = 11
"""What a newcomer asks, in the table of docs/README.md."""
RUN_BY = {
    "README.md": "tests/cli/test_documents.py",
    "CONTRIBUTING.md": "tests/cli/test_documents.py",
    "docs/shell.md": "tests/cli/test_documents.py",
    "docs/python.md": "tests/cli/test_documents.py",
    "docs/metrics.md": "tests/evaluation/test_worlds.py",
    "docs/app.md": "tests/app/test_serving.py",
}
"""Pages whose programs other tests run."""
RUNNABLE = [
    page
    for page in PAGES
    if "```python" in page.read_text()
    and page not in FIRST_HOUR
    and page.relative_to(REPOSITORY).as_posix() not in RUN_BY
]
"""Of these every line of Python runs as it stands, from top to bottom."""
NEEDS = {
    "examples/text_encoder.py": "transformers",
    "docs/text-encoders.md": "transformers",
    "docs/films.md": "transformers",
    "examples/clip_text.py": "open_clip",
    "docs/own-model.md": "transformers",
    "docs/tutorial-study.md": "duckdb",
    "docs/methods/pixels.md": "captum",
    "docs/methods/black-box.md": "captum",
    "docs/site.md": "fastapi",
    "docs/heads.md": "umap",
    "docs/notebook.md": "anywidget",
}


def name_of(path: Path) -> str:
    """The path as one reads it."""
    return path.relative_to(REPOSITORY).as_posix()


def without_code(text: str) -> str:
    """A page without its fenced blocks, whose brackets are no links."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_pictures_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", without_code(page.read_text())):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name_of(page)} points to {target}"


def test_no_drawing_and_no_figures_are_left_unused() -> None:
    shown = "\n".join(page.read_text() for page in PAGES)
    for picture in sorted((REPOSITORY / "docs" / "images").rglob("*.*")):
        assert picture.name in shown, f"no page shows {name_of(picture)}"
    folders = ("tests", "benchmarks", "scripts")
    programs = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    named = shown + "\n".join(path.read_text() for path in programs)
    for results in sorted((REPOSITORY / "benchmarks" / "results").iterdir()):
        assert results.stem in named, f"no page, test, benchmark or script names {name_of(results)}"


def test_every_method_has_a_page() -> None:
    """The list of the documentation names each method once, beside a page that gives it more than its name."""
    folder = REPOSITORY / "docs"
    rows = re.findall(
        r"^\| \[[^]]+\]\((methods/[\w-]+\.md)\) \| (.*) \|$", (folder / "README.md").read_text(), re.MULTILINE
    )
    listed = [(name, page) for page, names in rows for name in re.findall(r"`([\w-]+)`", names)]
    assert sorted(name for name, _ in listed) == sorted(info.name for info in methods())
    for name, page in listed:
        text = (folder / page).read_text()
        assert f"`{name}`" in text and "## When not to trust" in text, f"{page} lacks {name}, or its limits"


def test_options_on_the_pages_exist() -> None:
    known = {option for info in methods() for option in info.options}
    for page in sorted((REPOSITORY / "docs" / "methods").glob("*.md")):
        rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page.read_text(), flags=re.MULTILINE)
        for row in rows:
            for option in re.findall(r"`(\w+)`", row):
                assert option in known or any(info.name == option for info in methods()), (
                    name_of(page),
                    option,
                )


def test_every_saved_kind_is_on_the_page_about_files() -> None:
    page = (REPOSITORY / "docs" / "files.md").read_text()
    assert not [kind for kind in MADE_BY if f"\n| {kind} |" not in page]


@pytest.fixture
def readers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run a page in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_snippets_run(page: Path, readers_folder: Path, request: pytest.FixtureRequest) -> None:
    if name_of(page) in NEEDS:
        pytest.importorskip(NEEDS[name_of(page)])
    text = page.read_text()
    if "deit_tiny_patch16_224.safetensors" in text:
        weights: Path = request.getfixturevalue("deit_weights")
        (readers_folder / weights.name).symlink_to(weights)
        (readers_folder / "photographs").mkdir()
        for picture in request.getfixturevalue("sample_pictures")[:2]:
            (readers_folder / "photographs" / picture.name).symlink_to(picture)
    names: dict[str, object] = {}
    for code in re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        exec(compile(code, name_of(page), "exec"), names)


def test_programs_of_the_other_pages_are_run_elsewhere() -> None:
    for page, test in RUN_BY.items():
        assert Path(page).name in (REPOSITORY / test).read_text(), f"{test} does not run {page}"


def fenced(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and content. A fence that closes one does not open the next."""
    parts = re.split(r"^```(\w*)$", text, flags=re.MULTILINE)
    return list(zip(parts[1::4], parts[2::4], strict=False))


def lines_of_shell() -> list[tuple[str, str]]:
    """Every command of the program on every page, whole where it is written over several lines."""
    found = []
    for page in [*PAGES, REPOSITORY / "CONTRIBUTING.md"]:
        for language, block in fenced(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines() if language in ("", "sh", "bash") else ():
                command = line.rpartition("| ")[2].strip()
                if command.startswith("vitscope "):
                    found.append((name_of(page), command))
    return found


def test_every_command_on_the_pages_can_be_given() -> None:
    """Its command, its options and their values are known, whatever model and pictures stand for the reader's own."""
    lines = lines_of_shell()
    assert len(lines) > 50
    commands = every_command()
    for page, line in lines:
        words = shlex.split(line, comments=True)[1:]
        name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in commands), None)
        assert name is not None, f"{page}: {line}"
        try:
            commands[name].make_context(name, words[len(name.split()) :])
        except typer.Exit:
            continue  # --list-metrics: an option that answers by itself
        except Exception as error:
            pytest.fail(f"{page}: {line}: {error}")


@pytest.mark.parametrize("page", FIRST_HOUR, ids=name_of)
def test_a_page_of_the_first_hour_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name_of(page) in NEEDS:
        pytest.importorskip(NEEDS[name_of(page)])
    monkeypatch.chdir(tmp_path)
    methods()  # all are loaded before a page registers one of its own, to be forgotten again
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    names: dict[str, object] = {}
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert blocks
    for kind, code in blocks:
        if kind == "python":
            exec(compile(code, name_of(page), "exec"), names)
            continue
        (tmp_path / "pictures").mkdir(exist_ok=True)
        for index, picture in enumerate(demo_pictures(2).images()):
            picture.save(tmp_path / "pictures" / f"{index}.png")
        for line in code.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "vitscope"
            assert run(words) == 0, line


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made from the words."""
    found = re.findall(r"^#+ (.*)$", without_code(page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_anchors_are_there() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", without_code(page.read_text())):
            if "://" in target or (target and not target.endswith(".md")):
                continue
            there = page if not target else page.parent / target
            assert anchor in anchors_of(there), f"{name_of(page)} points to {target}#{anchor}"


def test_a_newcomers_questions_are_two_hops_from_the_readme() -> None:
    """README leads to the table, the table to a page that runs; and README names each of those pages itself."""
    readme, table = (REPOSITORY / "README.md").read_text(), REPOSITORY / "docs" / "README.md"
    assert "(docs/README.md#the-first-hour)" in readme
    section = table.read_text().partition("## The first hour")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+[?.]) \| \[[^]]+\]\(([^)#]+)(#[^)]+)?\) \|$", section, flags=re.MULTILINE)
    assert len(rows) == QUESTIONS
    run_here = {name_of(page) for page in [*FIRST_HOUR, *RUNNABLE]}
    for question, page, _ in rows:
        assert f"docs/{page}" in run_here, f"{question}: no test runs {page}"
        assert f"(docs/{page}" in readme, f"README does not lead to {page}"


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_examples_run(example: Path, tmp_path: Path) -> None:
    if name_of(example) in NEEDS:
        pytest.importorskip(NEEDS[name_of(example)])
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and not list(tmp_path.iterdir())
