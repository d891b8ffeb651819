"""Cost of exact leave-one-head-out over all heads, in units of one full forward per head, in one run.

    python benchmarks/heads_speed.py --assets ../shared

Same batch size for both sides; the plain forward of the unobserved model and the sweep take turns, and the smallest
of the rounds counts. CPU time of one thread, so that other work on the machine does not enter.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import vitscope as vs
from vitscope import heads


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    weights = arguments.assets / "models/deit_tiny_patch16_224.safetensors"
    vit = vs.open_model("timm/deit_tiny_patch16_224", weights=weights)
    paths = sorted((arguments.assets / "images/sample").glob("*.jpg"))[: arguments.batch_size]
    x = vit.images(paths)
    count = sum(block.heads for block in vit.anatomy.blocks)

    def plain() -> None:
        with torch.inference_mode():
            for _ in range(4):
                vit.model(x)

    def sweep(representation: str) -> Callable[[], Any]:
        return lambda: heads.importance(
            vit, x, gradient=False, representation=representation, batch_size=arguments.batch_size
        )

    def naive() -> None:
        for block in range(12):
            for head in range(3):
                keep = torch.ones(1, 12, 3)
                keep[0, block, head] = 0
                vit.forward(x, ablation=vs.HeadAblation(keep))

    tasks: dict[str, Callable[[], Any]] = {
        "plain forward": plain,
        "none": sweep("none"),
        "standard": sweep("standard"),
        "all": sweep("all"),
        "naive full runs": naive,
        "first order": lambda: heads.importance(vit, x, exact=False, batch_size=arguments.batch_size),
    }
    best = dict.fromkeys(tasks, float("inf"))
    for task in tasks.values():
        task()
    for _ in range(arguments.rounds):
        for name, task in tasks.items():
            started = time.process_time()
            task()
            best[name] = min(best[name], time.process_time() - started)
    forward = best["plain forward"] / 4
    found = {
        "batch_size": arguments.batch_size,
        "heads": count,
        "plain_forward_seconds": forward,
        "per_head_over_one_forward": {
            name: best[name] / count / forward for name in ("none", "standard", "all", "naive full runs")
        },
        "first_order_all_heads_over_one_forward": best["first order"] / forward,
        "bar": 0.55,
    }
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text)


if __name__ == "__main__":
    main()
