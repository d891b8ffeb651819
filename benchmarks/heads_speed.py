"""Cost of exact leave-one-head-out over all heads, in units of one full forward per head, in one run.

    python benchmarks/heads_speed.py --assets ../shared

Same batch size for both sides. Plain forwards of the unobserved model run before and after every sweep and their mean
is what that sweep is divided by, so that a machine that slows down slows both. The kinds of sweep take turns over the
rounds; the median and the range of the rounds are given. CPU time of one thread, so that other work on the machine
enters only through shared caches. *by hand* are the same products and nothing else: what no library can be below.
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
from torch import Tensor
from torch.nn import functional as F

import vitscope as vs
from vitscope import heads


def attended(block: Any, tokens: Tensor, queries: int | None = None) -> Tensor:
    """The attention output of a timm block (B, H, q, d)."""
    heads_first = block.attn.qkv(block.norm1(tokens)).unflatten(-1, (3, block.attn.num_heads, -1))
    q, k, v = heads_first.permute(2, 0, 3, 1, 4).unbind(0)
    return F.scaled_dot_product_attention(q[:, :, :queries], k, v)


def behind(block: Any, tokens: Tensor, output: Tensor) -> Tensor:
    """What leaves the block whose attention gave this output."""
    tokens = tokens + block.attn.proj(output.transpose(1, 2).flatten(2))
    leaves: Tensor = tokens + block.mlp(block.norm2(tokens))
    return leaves


@torch.inference_mode()
def by_hand(model: Any, x: Tensor) -> Tensor:
    """Logits without each head: a clean run, then for every head the rest of its block, the blocks after it, and of the
    last block what the class token needs."""
    tokens, entering, clean = model._pos_embed(model.patch_embed(x)), [], []
    for block in model.blocks:
        entering.append(tokens)
        clean.append(attended(block, tokens))
        tokens = behind(block, tokens, clean[-1])
    *_, last = model.blocks
    before: list[Tensor] = []
    outputs: list[Tensor] = []
    for place, block in enumerate(model.blocks):
        for head in range(block.attn.num_heads):
            without = clean[place].clone()
            without[:, head] = 0
            tokens = entering[place]
            if block is not last:
                tokens = behind(block, tokens, without)
                for later in model.blocks[place + 1 : -1]:
                    tokens = later(tokens)
                without = attended(last, tokens, 1)
            before.append(tokens[:, :1])
            outputs.append(without[:, :, :1])
    found: Tensor = model.head(model.norm(behind(last, torch.cat(before), torch.cat(outputs)))[:, 0])
    return found


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
        "by hand": lambda: by_hand(vit.model, x),
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
        "of_which_the_clean_run": 1 / count,
        "first_order_all_heads_over_one_forward": ratios["first order of all heads"][0],
        "bar": 0.45,
    }
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text)


if __name__ == "__main__":
    main()
