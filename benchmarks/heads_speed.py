"""Cost of exact leave-one-head-out over all heads, in units of one full forward per head, in one run.

    python benchmarks/heads_speed.py --assets ../shared

Same batch size for both sides. Plain forwards of the unobserved model run before and after every sweep and their mean
is what that sweep is divided by, so that a machine that slows down slows both. The kinds of sweep take turns over the
rounds; the median and the range of the rounds are given. CPU time of one thread, so that other work on the machine
enters only through shared caches.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vitscope as vs
from vitscope import heads


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
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
        "none": sweep("none"),
        "standard": sweep("standard"),
        "all": sweep("all"),
    }
    once: dict[str, Callable[[], Any]] = {
        "naive full runs": naive,
        "first order of all heads": lambda: heads.importance(
            vit, x, exact=False, batch_size=arguments.batch_size
        ),
    }

    def timed(task: Callable[[], Any]) -> float:
        started = time.process_time()
        task()
        return time.process_time() - started

    for task in tasks.values():
        task()
    plain()
    forwards: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in (*tasks, *once)}
    for turn in range(arguments.rounds):
        for name, task in (*tasks.items(), *(once.items() if turn == 0 else ())):
            before = timed(plain) / 4
            seconds = timed(task)
            forward = (before + timed(plain) / 4) / 2
            forwards.append(forward)
            ratios[name].append(seconds / forward / (count if name != "first order of all heads" else 1))

    def summary(values: list[float]) -> dict[str, float]:
        return {"median": float(np.median(values)), "lowest": min(values), "highest": max(values)}

    found = {
        "batch_size": arguments.batch_size,
        "heads": count,
        "rounds": arguments.rounds,
        "load_average": round(os.getloadavg()[0], 1),
        "plain_forward_seconds": summary(forwards),
        "per_head_over_one_forward": {name: summary(ratios[name]) for name in (*tasks, "naive full runs")},
        "first_order_all_heads_over_one_forward": ratios["first order of all heads"][0],
        "bar": 0.45,
    }
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text)


if __name__ == "__main__":
    main()
