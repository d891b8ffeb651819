"""Draw docs/images/architecture.svg: ``python scripts/draw_architecture.py``.

The rooms and their order are those of the import contract in pyproject.toml, what each does is the table in
CONTRIBUTING.md. A test holds the drawing against both.
"""

from __future__ import annotations

import re
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "docs" / "images" / "architecture.svg"
WIDTH, ROW, NAMES = 920, 34, 290
MOST = 88
"""Letters of a description; more are cut at a word."""


def layers() -> list[list[str]]:
    """The rooms from the top to the bottom, those of one height together."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    order = next(each for each in contracts["contracts"] if each["name"].startswith("Imports go up"))
    rows = [re.findall(r"\w+", row) for row in order["layers"]]
    return [[room for room in row if room != "__main__"] for row in rows if row != ["__main__"]]


def abouts() -> dict[str, str]:
    """By room, what it does."""
    table = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M
    )
    found: dict[str, str] = {}
    for rooms, about in table:
        names = re.findall(r"`(\w+)`", rooms)
        parts = about.split("; ") if len(names) > 1 else [about]
        found |= dict(zip(names, parts, strict=False))
    return found


def short(about: str) -> str:
    """The beginning of a description that fits into a row."""
    about = re.sub(r"`", "", about).strip()
    return about if len(about) <= MOST else about[: about.rfind(" ", 0, MOST)].rstrip(",;:") + " …"


def drawing() -> str:
    """The whole picture."""
    rows, known = layers(), abouts()
    height = len(rows) * ROW + 16
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title" font-family="system-ui, sans-serif" font-size="13">',
        '<title id="title">The rooms of vitscope; each imports only what stands below it</title>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for index, rooms in enumerate(rows):
        top = 8 + index * ROW
        about = " · ".join(dict.fromkeys(known[room] for room in rooms if known.get(room)))
        lines += [
            f'<rect x="8" y="{top}" width="{WIDTH - 16}" height="{ROW - 6}" rx="4" fill="#f3f5f8" stroke="#c5ccd6"/>',
            f'<text x="18" y="{top + 19}" font-weight="600" fill="#1c2733">{escape(", ".join(rooms))}</text>',
            f'<text x="{18 + NAMES}" y="{top + 19}" fill="#44505e">{escape(short(about))}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    PLACE.write_text(drawing(), encoding="utf-8")
    print(PLACE.relative_to(ROOT))
