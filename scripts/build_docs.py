"""Build the documentation as pages of HTML: ``python scripts/build_docs.py [--out build/docs]``.

The same Markdown files that are read in the repository are copied beside each other, so that the links between README,
docs, examples and CONTRIBUTING stay as they are; a reference made from the docstrings of every public name, and a list
of contents, are added. Warnings are errors. Nothing is fetched, and the pages ask for nothing from elsewhere.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs",
    "examples",
    "scripts",
    "benchmarks",
)
"""What pages are, or point to."""
ROOMS = (
    ("vitscope", "the names that most programs need"),
    ("vitscope.heads", "which heads matter, how far they look, what they look at"),
    ("vitscope.evaluation", "metrics, protocols, leaderboards"),
    ("vitscope.reports", "pictures and pages of results"),
    ("vitscope.studies", "any number of pictures, on disk"),
    ("vitscope.tracing", "one pass seen from inside; targets, ablations"),
    ("vitscope.methods", "the registry of methods"),
    ("vitscope.models", "opening a model, its anatomy"),
    ("vitscope.pictures", "every form of pictures"),
    ("vitscope.adapters", "the forms of grad-cam, Captum, Quantus, FiftyOne and training loops"),
    ("vitscope.worlds", "pictures with planted evidence"),
    ("vitscope.progress", "how far long work is, and cancelling it"),
    ("vitscope.errors", "what is raised, and when"),
)
"""The rooms of the reference with what each is about."""


def stage(place: Path) -> None:
    """Copy what the pages are made of, add the reference, the lists of contents and the settings of Sphinx."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, place / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules")
            )
        elif source.is_file():
            shutil.copy2(source, place / name)
    shutil.copy2(ROOT / "docs" / "sphinx" / "conf.py", place / "conf.py")
    shutil.copytree(ROOT / "docs" / "sphinx" / "static", place / "static")
    shutil.rmtree(place / "docs" / "sphinx")
    write_reference(place / "reference")


def write_reference(folder: Path) -> None:
    """A page for each room with every public name, and one that lists them."""
    folder.mkdir()
    lines = ["# Reference", "", "Made from the docstrings; their examples run as tests.", ""]
    lines += [f"* [{name}]({name}.md): {about}" for name, about in ROOMS]
    lines += ["", "```{toctree}", ":hidden:", "", *(name for name, _ in ROOMS), "```", ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
    known: set[str] = set()
    for name, about in ROOMS:
        room = importlib.import_module(name)
        (folder / f"{name}.md").write_text(page_of(room, about, known), encoding="utf-8")


def page_of(room: ModuleType, about: str, known: set[str]) -> str:
    """The page of one room. What another page has already is shown again, and indexed there: ``known`` holds it."""
    lines = [f"# {room.__name__}", "", f"{about[0].upper()}{about[1:]}.", ""]
    for name in public_names(room):
        found = getattr(room, name)
        kind = directive_of(found)
        if kind is None:
            continue
        home = f"{found.__module__}.{found.__qualname__}"
        options = [":members:", ":show-inheritance:"] if kind == "autoclass" else []
        if home in known:
            options.append(":no-index:")
        known.add(home)
        lines += [f"## {name}", "", "```{eval-rst}", f".. {kind}:: {home}"]
        lines += [*(f"   {option}" for option in options), "```", ""]
    return "\n".join(lines)


def public_names(room: ModuleType) -> list[str]:
    """What the room hands on, in the order of the alphabet."""
    given = getattr(room, "__all__", None) or [name for name in vars(room) if not name.startswith("_")]
    return sorted((name for name in given if not name.startswith("_")), key=str.lower)


def directive_of(found: object) -> str | None:
    """What documents it; None for rooms, plain values and what is not vitscope's."""
    if not str(getattr(found, "__module__", "")).startswith("vitscope") or inspect.ismodule(found):
        return None
    if isinstance(found, type):
        return "autoexception" if issubclass(found, BaseException) else "autoclass"
    return "autofunction" if callable(found) and hasattr(found, "__qualname__") else None


def build(out: Path) -> int:
    """Build into ``out``; returns Sphinx's exit code, not 0 after any warning."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as made:
        place = Path(made) / "pages"
        place.mkdir()
        stage(place)
        work = Path(made) / "doctrees"
        return build_main(["-W", "--keep-going", "-q", "-b", "html", "-d", str(work), str(place), str(out)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    given = parser.parse_args()
    code = build(given.out)
    if code == 0:
        print(f"{given.out / 'README.html'}")
    sys.exit(code)


if __name__ == "__main__":
    main()
