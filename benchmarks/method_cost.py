"""Time and memory of every registered method on DeiT-Tiny, as ratios of the model's own forward, in one run.

    python benchmarks/method_cost.py [--weights FILE] [--repeats 5] [--out benchmarks/results/method_cost.json]
        [--page docs/methods/cost.md]     # put what --out holds into the table of this page

Time: every round runs each method once through ``explain``, and the plain forward of the same pictures just before it;
the ratio of the two is taken per round. Reported are the median over rounds and the lowest and highest. Methods of
many passes run on one picture and in fewer rounds, against the forward of that one picture.

Memory: the highest amount of tensor memory alive during the call, beyond what was alive before it, counted exactly from
torch's own allocations (its profiler), not read off the process; divided by that of the plain forward.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from trace_cost import method, plain_both, plain_forward

import vitscope as vs
from vitscope.methods import MethodInfo

MANY_PASSES = 5
"""Methods of more forwards than this run on one picture."""
SLOW = {"attention-flow": "a flow problem for each patch on the CPU"}


def seconds_of(run: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_bytes(run: Callable[[], Any]) -> int:
    """Highest sum of torch's allocations alive at once during a call, beyond what was there before."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        run()
    alive = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    return peak


def measure(
    vit: vs.Vit, info: MethodInfo, images: torch.Tensor, repeats: int, memory: dict[int, int]
) -> dict[str, Any]:
    """One method on these pictures; ``memory``: the plain forward's peak by number of pictures."""
    slow = info.forwards > MANY_PASSES or info.name in SLOW
    batch, rounds = (images[:1], max(2, repeats // 3)) if slow else (images, repeats)

    def forward() -> None:
        plain_forward(vit, batch)

    def explain() -> None:
        method(vit, batch, [info.name])

    ratios = []
    for _ in range(rounds):
        base = seconds_of(forward)
        ratios.append(seconds_of(explain) / base)
    return {
        "family": info.family,
        "pictures": len(batch),
        "rounds": rounds,
        "time": round(statistics.median(ratios), 2),
        "time_lowest": round(min(ratios), 2),
        "time_highest": round(max(ratios), 2),
        "memory": round(peak_bytes(explain) / memory[len(batch)], 2),
    }


def write(path: Path, record: dict[str, Any]) -> None:
    """The results so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def number(value: float) -> str:
    """Three figures, no decimals from 10 on."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def write_table(page: Path, found: dict[str, dict[str, Any]]) -> None:
    """Replace the page's table, cheapest method first."""
    text = page.read_text(encoding="utf-8")
    start = text.index("| method | time | memory |")
    end = text.index("\n\n", start)
    rows = ["| method | time | memory | pictures, rounds |", "| --- | --- | --- | --- |"]
    for name, row in sorted(found.items(), key=lambda item: float(item[1]["time"])):
        time_, low, high = (number(row[key]) for key in ("time", "time_lowest", "time_highest"))
        memory = f"{row['memory']:.1f}"
        rows.append(
            f"| `{name}` | {time_} ({low} to {high}) | {memory} | {row['pictures']}, {row['rounds']} |"
        )
    page.write_text(text[:start] + "\n".join(rows) + text[end:], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", help="these methods again; all by default")
    parser.add_argument("--weights", help="DeiT-Tiny weights; random weights cost the same")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    given = {"weights": options.weights} if options.weights else {"pretrained": False}
    vit = vs.open_model("timm/deit_tiny_patch16_224", **given)
    images = torch.randn(options.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    vs.explain(vit, images, ["gae", "dart", "gradcam"])  # probing, calibration and first calls are done here
    memory = {
        len(part): peak_bytes(lambda part=part: plain_forward(vit, part)) for part in (images, images[:1])
    }
    found: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    both = [
        seconds_of(lambda: plain_both(vit, images)) / seconds_of(lambda: plain_forward(vit, images))
        for _ in range(options.repeats + 1)
    ][1:]
    kept = peak_bytes(lambda: plain_both(vit, images)) / memory[len(images)]
    print(f"forward + backward: time {statistics.median(both):.2f}, memory {kept:.2f}", flush=True)
    record = {
        "model": "DeiT-Tiny",
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "unit": "the plain forward of the same pictures",
        "forward + backward": {"time": round(statistics.median(both), 2), "memory": round(kept, 2)},
        "methods": found,
        "does not apply": skipped,
    }
    if options.methods and options.out and options.out.exists():  # what the file holds of other methods stays
        earlier = json.loads(options.out.read_text())
        if all(earlier[key] == record[key] for key in ("model", "batch", "threads", "torch")):
            found.update(earlier["methods"])
            record["forward + backward"] = earlier["forward + backward"]
    order = {name: place for place, name in enumerate(options.methods)}
    for info in sorted(vs.methods(), key=lambda info: order.get(info.name, 0)):
        if options.methods and info.name not in options.methods:
            continue
        reason = info.why_not(vit.anatomy)
        if reason is not None:
            skipped[info.name] = reason
            continue
        row = found[info.name] = measure(vit, info, images, options.repeats, memory)
        print(
            f"{info.name:26s} time {row['time']:8.2f} ({row['time_lowest']:.2f} to {row['time_highest']:.2f}), "
            f"memory {row['memory']:6.2f}, {row['pictures']} pictures",
            flush=True,
        )
        if options.out:
            write(options.out, record)
    if options.page:
        write_table(options.page, found)


if __name__ == "__main__":
    main()
