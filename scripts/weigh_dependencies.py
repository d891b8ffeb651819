"""What each package that vitscope needs weighs on the disk, written to docs/dependencies.md.

    python scripts/weigh_dependencies.py

Sizes are those of the installed files of this environment, each package alone; what it brings along is counted, each
package once and with the first that needs it.
"""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "dependencies.md"


def own_bytes(name: str) -> int:
    """The installed files of one package."""
    return sum(
        path.stat().st_size
        for file in metadata.files(name) or []
        if (path := Path(str(file.locate()))).is_file()
    )


def plain(name: str) -> str:
    """The name in the one spelling that compares."""
    return name.lower().replace("_", "-")


def with_brought(name: str, extras: frozenset[str], seen: set[str]) -> list[str]:
    """The package and all that it brings along, by itself and with each of its extras, without what was seen before."""
    key = plain(name)
    found = [] if key in seen else [name]
    asked = [extra for extra in ["", *sorted(extras)] if f"{key}[{extra}]" not in seen]
    seen |= {key, *(f"{key}[{extra}]" for extra in asked)}
    for each in map(Requirement, metadata.requires(name) or []):
        if any(each.marker is None or each.marker.evaluate({"extra": extra}) for extra in asked):
            found += with_brought(each.name, frozenset(each.extras), seen)
    return found


def rows() -> list[tuple[str, str, int, int, int]]:
    """(part, package, its bytes, packages brought along, their bytes), heaviest first within each part."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    parts = {"": project["dependencies"]} | {
        name: listed
        for name, listed in project["optional-dependencies"].items()
        if name not in ("all", "dev")
    }
    # A package that is named itself is weighed in its own row, whoever else brings it.
    seen = set()
    for listed in parts.values():
        for each in map(Requirement, listed):
            seen |= {plain(each.name), f"{plain(each.name)}[]"}
    found = []
    for part, listed in parts.items():
        weighed = []
        for each in map(Requirement, listed):
            seen -= {plain(each.name), f"{plain(each.name)}[]"}
            names = with_brought(each.name, frozenset(each.extras), seen)
            weighed.append(
                (part, each.name, own_bytes(each.name), len(names) - 1, sum(map(own_bytes, names[1:])))
            )
        found += sorted(weighed, key=lambda row: -row[2] - row[4])
    return found


def page() -> str:
    """The page as Markdown."""
    table = rows()
    base = sum(own + brought for part, _, own, _, brought in table if not part)
    lines = [
        "# What is installed, and what it weighs",
        "",
        "<!-- Written by scripts/weigh_dependencies.py; do not edit. -->",
        "",
        "Megabytes on the disk of this package, and of what it brings along that has no row and came with none above",
        f"(on Linux, with PyTorch's CUDA build). What every user gets is {base / 1e6:,.0f} MB; the extras come on top.",
        "",
        "| extra | package | its MB | brings along | their MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for part, name, own, count, brought in table:
        lines.append(
            f"| {part or '(every user)'} | {name} | {own / 1e6:.1f} | {count} | {brought / 1e6:.1f} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page())
