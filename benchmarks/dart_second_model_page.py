"""The table of docs/methods/dart.md on two models, from what dart_second_model.py kept.

python benchmarks/dart_second_model_page.py
"""

from __future__ import annotations

import json
from typing import Any

import torch
from dart_srg import half_width
from marked import between
from splits import ROOT, TITLES

RESULT = ROOT / "benchmarks" / "results" / "dart_second_model.json"
PAGE = ROOT / "docs" / "methods" / "dart.md"
START, END = "<!-- two models: begin -->", "<!-- two models: end -->"
FIRST = "dart-removal"
PARTS = {"drop": "drop", "mean": "mean colour", "log-probability": "drop, of the log-probability"}
"""What is shown, and how it is called."""


def signed(value: float) -> str:
    """Two digits with a true minus sign, a plus sign where positive."""
    return f"{value:+.2f}".replace("-", "−")


def table(found: dict[str, Any]) -> str:
    """SRG of each method by part and model, with its paired difference to ``dart-removal``, half 95 % intervals."""
    lines = [
        f"| removal | method | {' | | '.join(TITLES.values())} | |",
        f"| --- | ---{' | ---' * 2 * len(TITLES)} |",
    ]
    for part, title in PARTS.items():
        known = {model: found[model][part]["values"]["srg"] for model in TITLES}
        means = {
            name: torch.tensor(known["deit"][name], dtype=torch.float64).mean() for name in known["deit"]
        }
        for place, name in enumerate(sorted(means, key=lambda each: (each != FIRST, -means[each]))):
            cells = []
            for rows in known.values():
                own, first = (torch.tensor(rows[each], dtype=torch.float64) for each in (name, FIRST))
                apart = own - first
                cells.append(f"{own.mean():.2f} ± {half_width(own):.2f}")
                cells.append(
                    "" if name == FIRST else f"{signed(float(apart.mean()))} ± {half_width(apart):.2f}"
                )
            lines.append(f"| {'' if place else title} | `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(page: str, text: str) -> str:
    """The page with the table between its marks."""
    return between(page, START, END, text)


def main() -> None:
    found = json.loads(RESULT.read_text(encoding="utf-8"))["confirmation"]
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
