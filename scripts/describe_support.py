"""Write docs/supported.md from what happens now: python scripts/describe_support.py [docs/supported.md]"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import vitscope as vs
from tests.zoo.situations import METHODS, SITUATIONS, Situation
from vitscope.errors import VitscopeError

HEAD = f"""# What works, and what is refused

Situations that people who explain ViTs meet, each tried on one tiny model with random weights. A map is right, or it
says in its notes what it leaves out, or it is refused with the reason. This page is written by
`scripts/describe_support.py` from what happens; a test runs the same situations.

Which blocks follow one another, what the score reads, and whether token i shows patch i are found by a probe, once for
a model and a size. It costs 1.2 to 2.2 forwards of its own two pictures (`benchmarks/results/probe_cost.json`).

Tried: {", ".join(f"`{name}`" for name in METHODS)}. `vitscope inspect MODEL` says the same of every method and your
model.
"""


def outcome(situation: Situation) -> tuple[dict[str, str], list[str], list[str]]:
    """(works, noted or refused by method, reasons of refusal, notes of the maps)."""
    words: dict[str, str] = {}
    reasons: list[str] = []
    notes: list[str] = []
    for method in METHODS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                vit = vs.open_model(situation.make(), **situation.options)
                found = vs.explain(vit, situation.given(), method, target=situation.target)
        except VitscopeError as error:
            words[method] = "refused"
            reasons.append(str(error).removeprefix(f"method '{method}' does not apply to '{vit.source}': "))
            continue
        assert bool(torch.isfinite(found.maps).all()), (situation.says, method)
        words[method] = "works"
        notes += [str(note) for note in found.metadata["notes"]]
    return words, list(dict.fromkeys(reasons)), list(dict.fromkeys(notes))


def page() -> str:
    """The whole page."""
    text = HEAD
    for title, situations in SITUATIONS.items():
        text += f"\n## {title}\n\n| situation | works | refused | why, and what the maps' notes say |\n"
        text += "| --- | --- | --- | --- |\n"
        for situation in situations:
            words, reasons, notes = outcome(situation)
            works = [name for name in METHODS if words[name] == "works"]
            refused = [name for name in METHODS if words[name] == "refused"]
            said = [*(f"Refused: {reason}." for reason in reasons), *(f"Noted: {note}." for note in notes)]
            cells = (
                "all" if len(each) == len(METHODS) else ", ".join(each) or "none" for each in (works, refused)
            )
            text += (
                f"| {situation.says} | {' | '.join(cells)} | {' '.join(said).replace('|', chr(92) + '|')} |\n"
            )
    return text


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/supported.md")
    target.write_text(page(), encoding="utf-8")
