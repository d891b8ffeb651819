"""What the probe of a model costs, in forwards of its own two pictures: python benchmarks/probe_cost.py

Chains, read-outs and the order of the tokens are all found in it, once for a model and a size. Medians of interleaved
ratios of processor time in one thread; benchmarks/results/probe_cost.json is its record."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch

import vitscope as vs

MODELS = ("deit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "beit_base_patch16_224")
ROUNDS = 7


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(name: str) -> dict[str, object]:
    """The probe against one forward of two pictures, without gradient."""
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=10).eval()
    pictures = torch.randn(2, 3, 224, 224)

    def forward() -> None:
        with torch.no_grad():
            model(pictures)

    def probe() -> None:
        _ = vs.open_model(model, image_size=224).anatomy

    forward()
    probe()
    ratios = []
    for _ in range(ROUNDS):
        plain = seconds(forward)
        ratios.append(seconds(probe) / plain)
    return {
        "model": name,
        "forwards": round(statistics.median(ratios), 2),
        "all": [round(r, 2) for r in ratios],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    record = {
        "what": "probe of a model over one forward of two pictures of 224 pixels, processor time, one thread",
        "device": f"CPU, {platform.machine()}",
        "torch": torch.__version__,
        "timm": timm.__version__,
        "models": [measure(name) for name in MODELS],
    }
    target = Path(__file__).parent / "results" / "probe_cost.json"
    target.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record["models"], indent=2))
