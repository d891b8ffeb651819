"""The pages hold together: links, pictures, one page for every method, snippets and examples that run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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
RUNNABLE = [
    *sorted((REPOSITORY / "docs" / "methods").glob("*.md")),
    REPOSITORY / "docs" / "text-encoders.md",
    REPOSITORY / "docs" / "files.md",
    REPOSITORY / "docs" / "pictures.md",
    REPOSITORY / "docs" / "reports.md",
    REPOSITORY / "docs" / "heads.md",
    REPOSITORY / "docs" / "notebook.md",
]
NEEDS = {
    "examples/text_encoder.py": "transformers",
    "docs/text-encoders.md": "transformers",
    "examples/clip_text.py": "open_clip",
    "docs/own-model.md": "transformers",
    "docs/tutorial-study.md": "duckdb",
    "docs/methods/pixels.md": "captum",
    "docs/methods/black-box.md": "captum",
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


def test_no_drawing_is_left_unused() -> None:
    shown = "\n".join(page.read_text() for page in PAGES)
    for picture in sorted((REPOSITORY / "docs" / "images" / "methods").glob("*.png")):
        assert picture.name in shown, f"no page shows {name_of(picture)}"


def test_every_method_has_a_page() -> None:
    families = "\n".join(page.read_text() for page in sorted((REPOSITORY / "docs" / "methods").glob("*.md")))
    missing = [info.name for info in methods() if f"`{info.name}`" not in families]
    assert not missing, f"no page of docs/methods names {', '.join(missing)}"


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


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name_of(page) in NEEDS:
        pytest.importorskip(NEEDS[name_of(page)])
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE):
        if "open_model(" not in code or "weights=" in code:
            continue  # the reader's own model and files
        exec(compile(code, name_of(page), "exec"), names)


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
