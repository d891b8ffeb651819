"""A leaderboard of very many pictures on sums: how long putting its parts together takes, and how much it holds.

    python benchmarks/sums.py [--pictures 1000000] [--methods 5] [--shard 4096] [--out benchmarks/results/sums.json]

Scores are random numbers, made shard by shard; the model is not asked. ``seconds`` leaves out making them,
``processor_seconds`` (of all threads; of use where others work beside it) does not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import vitscope as vs
from vitscope.evaluation import Leaderboard, MethodRecord, Metric
from vitscope.evaluation.board import merging
from vitscope.evaluation.metric_state import statistics_of
from vitscope.storage.recipe import Recipe

METRICS = ("srg", "mass")


def peak() -> float:
    """The most memory that this process has held, MiB."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1 if platform.system() == "Linux" else 1024)
        / 1024
    )


def main() -> None:
    """Put the shards together, ask for every number of the table, and write down what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--methods", type=int, default=5)
    parser.add_argument("--shard", type=int, default=4096)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sums.json")
    given = parser.parse_args()
    names = [f"method {index}" for index in range(given.methods)]
    making = 0.0

    def shards() -> Iterator[Leaderboard]:
        nonlocal making
        for start in range(0, given.pictures, given.shard):
            began = time.perf_counter()
            keys = [f"{index:09d}" for index in range(start, min(given.pictures, start + given.shard))]
            source = torch.Generator().manual_seed(start)
            states = {}
            for place, (name, metric) in enumerate(itertools.product(names, METRICS)):
                states[name, metric] = Metric(metric)
                values = torch.randn(len(keys), generator=source) + 0.001 * place
                states[name, metric].update_rows(keys, statistics_of(values))
            recipe = Recipe("evaluate", count=len(keys))
            board = Leaderboard(
                vs.Protocol(recipe=recipe), [MethodRecord(name) for name in names], list(METRICS), states
            )
            making += time.perf_counter() - began
            yield board

    merging.merge(itertools.islice(shards(), 1), rows=0)
    making, before, worked, began = 0.0, peak(), time.process_time(), time.perf_counter()
    board = merging.merge(shards())
    merged, made = time.perf_counter() - began - making, time.perf_counter()
    worked = time.process_time() - worked
    board.to_pandas()
    for metric in METRICS:
        board.compare(metric)
    found = {
        "pictures": given.pictures,
        "methods": given.methods,
        "metrics": len(METRICS),
        "shard": given.shard,
        "seconds": round(merged, 1),
        "processor_seconds": round(worked, 1),
        "seconds_of_tables": round(time.perf_counter() - made, 2),
        "peak_growth_mib": round(peak() - before, 1),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "torch": torch.__version__,
    }
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
