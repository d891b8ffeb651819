"""Peak memory of a pattern atlas of 72,000 maps (2,000 pictures x 36 heads), measured on made-up maps.

    python benchmarks/heads_memory.py [--maps 72000] [--json FILE]

Made-up maps (local, row-like and spread ones with noise) go through the same sampling record, coders, clustering,
naming and tables as real ones; only the model is missing, whose memory depends on the batch and not on the maps.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch

from vitscope import heads
from vitscope.heads import MapSample
from vitscope.heads.atlas.features import FEATURES
from vitscope.heads.atlas.records import HeadMeans, ModelRecord
from vitscope.sums.moments import ExactSum


def made_up(count: int, streams: int = 36) -> MapSample:
    """A sample of `count` maps of one model."""
    generator = torch.Generator().manual_seed(0)
    pooled = torch.empty(count, 49, 49, dtype=torch.float16)
    place = torch.arange(49)
    gap = (place[:, None] - place[None]).abs().float()
    for start in range(0, count, 2000):
        n = min(2000, count - start)
        width = torch.tensor([0.7, 3.0, 20.0])[torch.arange(start, start + n) % 3]
        logits = -gap / width[:, None, None] + torch.randn(n, 49, 49, generator=generator)
        pooled[start : start + n] = logits.softmax(-1).sqrt().half()
    offsets = torch.rand(count, 27, 27, generator=generator).half()
    stream = np.arange(count) % streams
    total = ExactSum()
    total.add(torch.rand(1, streams, 49, 49) / 49)
    means = HeadMeans(np.arange(streams) // 3, np.arange(streams) % 3, total, 1)
    pictures = count // streams
    record = ModelRecord("made up", "0", (14, 14), tuple(range(streams // 3)), 3, pictures)
    return MapSample(
        pooled, offsets, np.random.default_rng(0).random((count, len(FEATURES)), dtype=np.float32),
        np.zeros(count, np.int64), np.arange(count) // streams, stream // 3, stream % 3,
        np.arange(count), tuple(str(i) for i in range(pictures + 1)), (record,), (means,), pictures,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--maps", type=int, default=72_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    sample = made_up(arguments.maps)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.monotonic(), time.process_time()
    options = heads.AutoencoderOptions(epochs=arguments.epochs, width=8)
    atlas = heads.fit_atlas(sample, options=options, k=3, repeats=0, display="pca")
    found = {
        "maps": arguments.maps,
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "after_sampling_gib": before / 2**20,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "epochs": arguments.epochs,
        "bar_gib": 4.0,
        "clusters": len(atlas.patterns),
    }
    print(json.dumps(found, indent=1))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
