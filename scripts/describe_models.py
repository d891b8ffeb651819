"""Write the README of the bundled models from their cards: python scripts/describe_models.py src/vitscope/assets"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HEAD = """# Bundled models

One small ViT per planted-evidence world (`vitscope.worlds`): pictures drawn by code, in which it is known what
decides the class. They make `make demo`, the tests and `vitscope evaluate --world NAME` run without any download.

Open one with `vs.open_model("bundled/shapes")`, draw pictures with
`vitscope.worlds.world("shapes").sample(100, seed=1)`.

Each `WORLD.safetensors` holds float16 weights of timm's `VisionTransformer` (pre-norm, class token, patches of
8 pixels, 12 x 12 of them); each `WORLD.json` is the card that this page was written from by
`scripts/describe_models.py`. The weights were trained from nothing by `scripts/train_worlds.py` on a CPU, on drawn
pictures alone: no photograph, no data set of anyone's. Licence: Apache-2.0, as the package.

## What was measured

On fresh pictures of a seed that training never sees, with the float16 weights as shipped. "Without evidence": the
same pictures with only the evidence painted over by the ground that was there before; what is left should be chance.

| model | classes | pictures | accuracy | p(true class) | without evidence: accuracy | p(true class) | chance | size |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""

PARTS = """
Worlds of two parts, with one of them painted over. In `conjunction` one part leaves three of nine classes open (chance
1/3), in `redundancy` the other part still tells the class.

| model | hidden part | accuracy | p(true class) |
| --- | --- | ---: | ---: |
"""

TRAINING = """
## How they were trained

| model | round | started from | `python scripts/train_worlds.py` with | minutes | torch, timm |
| --- | ---: | --- | --- | ---: | --- |
"""

LIMITS = """
Minutes are wall time on two cores that other work was sharing. Two runs of one command agree in kind, not to the last
bit: bfloat16 and threads see to that.

## What to know before leaning on them

- Class token and every patch are trained: beside the class, each patch has to say what it shows (token labelling,
  arXiv 2104.10858), through a head that is not shipped.
- In training most steps see part of the patches only, always those of the evidence, so removing patches is no surprise
  to these models. Real models are less used to it.
- Some training pictures have no evidence and a uniform target. A picture without evidence therefore gets an undecided
  answer, not a favourite class.
- Evidence in the picture is known exactly; how the model puts it together is not. A mask says where the information
  is, and a model may well decide from a part of it, such as one tip of a star.
- They know these worlds and nothing else.
"""


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def describe(folder: Path) -> str:
    """The page for all cards of the folder."""
    cards: list[dict[str, Any]] = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
        if path.with_suffix(".safetensors").is_file()
    ]
    text = HEAD
    for card in cards:
        test, bare = card["test"], card["test"]["without_evidence"]
        size = (folder / f"{card['world']}.safetensors").stat().st_size / 1e6
        text += (
            f"| `{card['name']}` | {len(card['classes'])} | {test['pictures']} | {percent(test['accuracy'])} | "
            f"{test['mean_probability']:.3f} | {percent(bare['accuracy'])} | {bare['mean_probability']:.3f} | "
            f"{percent(test['chance'])} | {size:.1f} MB |\n"
        )
    text += PARTS
    for card in cards:
        for part, values in card["test"].get("without_part", {}).items():
            text += f"| `{card['name']}` | {part} | {percent(values['accuracy'])} | "
            text += f"{values['mean_probability']:.3f} |\n"
    text += TRAINING
    for card in cards:
        for number, run in enumerate(card["training"]["rounds"], start=1):
            text += (
                f"| `{card['name']}` | {number} | {run['start'] or 'nothing'} | `{run['arguments']}` | "
                f"{run['minutes']} | {run['torch']}, {run['timm']} |\n"
            )
    notes = sorted({run["note"] for card in cards for run in card["training"]["rounds"] if "note" in run})
    for note in notes:
        marked = sorted(
            {
                run["arguments"]
                for card in cards
                for run in card["training"]["rounds"]
                if run.get("note") == note
            }
        )
        text += f"\n`{marked[0]}`: {note}.\n"
    return text + LIMITS


if __name__ == "__main__":
    target = Path(sys.argv[1])
    (target / "README.md").write_text(describe(target), encoding="utf-8")
