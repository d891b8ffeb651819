"""What ``vs.explain`` costs as a user calls it, as ratios of the model's own passes, for one thread and for two.

    python benchmarks/explain_cost.py [--weights FILE] [--repeats 15] [--threads 1 2]
        [--out benchmarks/results/explain_cost.json] [--page docs/performance.md]    # puts its table into the page
    python benchmarks/explain_cost.py --device cuda [--model timm/vit_base_patch16_224] [--precision bf16]
    python benchmarks/explain_cost.py --gpu-page docs/performance.md    # the GPU's table, from its files

Every call has its yardstick run just before and just after it, and is divided by the mean of the two, so that a change
in the machine's speed hits both; reported are the median ratio and the quartiles. ``explain`` is called with nothing
but the model, the pictures and the methods: pictures are kept, recipes made, answers checked. The yardsticks are the
plain model under ``torch.inference_mode``, and the plain model with a backward to the tokens that enter its first block
(parameters frozen). Beside the time on the clock stands, for one thread, the processor's time for this process, which
other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from marked import between
from method_cost import peak_bytes
from PIL import Image
from trace_cost import EIGHT, plain_both

import vitscope as vs
from vitscope.tracing.calls.guard import AUTOCAST

FORWARD, BOTH, PICTURES = "forward", "forward + backward", "preprocessing + forward"
RESULTS = Path(__file__).resolve().parent / "results"
ON_GPU = {
    "explain_cost_gpu": "DeiT-Tiny, float32",
    "explain_cost_gpu_base": "ViT-B/16, float32",
    "explain_cost_gpu_base_bf16": "ViT-B/16, bf16",
}
GPU_BEGIN, GPU_END = "<!-- gpu: begin -->", "<!-- gpu: end -->"
BARS = {"rollout": 1.25, "gmar": 1.10, "daam": 1.10, "gae": 1.10, "eight methods": 1.40}


def forward(vit: vs.Vit, images: torch.Tensor) -> None:
    """The model alone."""
    with torch.inference_mode(), automatic(vit):
        vit.model(images)


def both(vit: vs.Vit, images: torch.Tensor) -> None:
    """The model and its way back."""
    with automatic(vit):
        plain_both(vit, images)


def automatic(vit: vs.Vit) -> AbstractContextManager[Any]:
    """Autocast where the model is opened for it, so that yardstick and method compute alike."""
    if vit.precision == "float32":
        return nullcontext()
    return torch.autocast(vit.device.type, dtype=AUTOCAST[vit.precision])


def from_pictures(vit: vs.Vit, pictures: list[Image.Image]) -> None:
    """What comes before the model, and the model alone."""
    forward(vit, torch.stack([vit.preprocessor(picture) for picture in pictures]).to(vit.device))


def seconds_of(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock and of the processor, until a GPU, where there is one, has done its part, too."""
    start, busy = time.perf_counter(), time.process_time()
    run()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - busy


def ratios(run: Callable[[], Any], yardstick: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """One call against its yardstick: the median ratio and the quartiles."""
    for _ in range(2):
        run()
        yardstick()
    found = []
    for _ in range(repeats):
        before, own, after = seconds_of(yardstick), seconds_of(run), seconds_of(yardstick)
        found.append(tuple(2 * o / (b + a) for b, o, a in zip(before, own, after, strict=True)))
    clock, busy = zip(*found, strict=True)
    low, middle, high = statistics.quantiles(clock, n=4, method="inclusive")
    return {
        "ratio": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "processor": round(statistics.median(busy), 3),
    }


def machine(device: str = "cpu") -> dict[str, Any]:
    """What it ran on."""
    names = [
        line.partition(":")[2].strip()
        for line in (Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else [])
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        **({"device": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}),
    }


def growth(names: list[str]) -> dict[str, float]:
    """Peak memory of one picture's explanation at 448 pixels over that at 224: 785 tokens over 197."""

    def peaks(size: int) -> list[int]:
        vit = vs.open_model("timm/deit_tiny_patch16_224", pretrained=False, image_size=size)
        image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        vs.explain(vit, image, names)
        return [peak_bytes(partial(vs.explain, vit, image, name)) for name in names]

    return {name: round(b / a, 2) for name, a, b in zip(names, peaks(224), peaks(448), strict=True)}


def write_table(page: Path, record: dict[str, Any]) -> None:
    """Replace the page's table of bars."""
    text = page.read_text(encoding="utf-8")
    start = text.index("| `vs.explain` |")
    end = text.index("\n\n", start)
    threads = list(record["threads"])
    plural = [f"{count} thread{'s' * (count != '1')}" for count in threads]
    heading = f"| `vs.explain` | in terms of | bar | {' | '.join(plural)} | one thread, processor |"
    rows = [heading, "| --- " * (len(threads) + 4) + "|"]
    for name, first in record["threads"][threads[0]].items():
        cells = [
            f"{found['ratio']:.2f} ({found['quartiles'][0]:.2f} to {found['quartiles'][1]:.2f})"
            for found in (record["threads"][count][name] for count in threads)
        ]
        bar = f"{BARS[name]:.2f}" if name in BARS else ""
        busy = f"{record['threads']['1'][name]['processor']:.2f}" if "1" in threads else ""
        rows.append(f"| {name} | {first['yardstick']} | {bar} | {' | '.join(cells)} | {busy} |")
    page.write_text(text[:start] + "\n".join(rows) + text[end:], encoding="utf-8")


def gpu_table() -> str:
    """What was measured on a GPU: a row for each call, a column for each file."""
    found = [json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ON_GPU]
    heads = [f"{ON_GPU[name]}, {one['machine']['device']}" for name, one in zip(ON_GPU, found, strict=True)]
    rows = [f"| `vs.explain` | in terms of | {' | '.join(heads)} |", "| --- " * (len(heads) + 2) + "|"]
    columns = [next(iter(one["threads"].values())) for one in found]
    for name, first in columns[0].items():
        ratios_ = " | ".join(f"{column[name]['ratio']:.2f}" for column in columns)
        rows.append(f"| {name} | {first['yardstick']} | {ratios_} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", help="DeiT-Tiny weights; random weights cost the same")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model", default="timm/deit_tiny_patch16_224")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16", "fp16"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--gpu-page", type=Path)
    options = parser.parse_args()
    if options.gpu_page:
        page = options.gpu_page.read_text(encoding="utf-8")
        options.gpu_page.write_text(between(page, GPU_BEGIN, GPU_END, gpu_table()), encoding="utf-8")
        return
    given = {"weights": options.weights} if options.weights else {"pretrained": False}
    vit = vs.open_model(options.model, device=options.device, precision=options.precision, **given)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(options.batch, 3, 224, 224, generator=generator).to(vit.device)
    pixels = torch.randint(0, 256, (options.batch, 375, 500, 3), generator=generator, dtype=torch.uint8)
    pictures = [Image.fromarray(each.numpy()) for each in pixels]
    yardsticks: dict[str, Callable[[], None]] = {
        FORWARD: lambda: forward(vit, images),
        BOTH: lambda: both(vit, images),
        PICTURES: lambda: from_pictures(vit, pictures),
    }
    explain = partial(vs.explain, vit, batch_size=options.batch)
    contenders: dict[str, tuple[str, Callable[[], Any]]] = {
        "rollout": (FORWARD, lambda: explain(images, "rollout")),
        "gmar": (BOTH, lambda: explain(images, "gmar")),
        "daam": (BOTH, lambda: explain(images, "daam")),
        "gae": (BOTH, lambda: explain(images, "gae")),
        "eight methods": (BOTH, lambda: explain(images, EIGHT)),
        "rollout of Pillow pictures": (PICTURES, lambda: explain(pictures, "rollout")),
    }
    record: dict[str, Any] = {
        "model": f"{options.model}, {options.precision}",
        "batch": options.batch,
        "repeats": options.repeats,
        "machine": machine(options.device),
        "load_before": os.getloadavg()[0],
        "eight methods": EIGHT,
        "bars": BARS,
        "threads": {},
    }
    for threads in options.threads:
        torch.set_num_threads(threads)
        rows = record["threads"][str(threads)] = {}
        for name, (yardstick, run) in contenders.items():
            rows[name] = {"yardstick": yardstick, **ratios(run, yardsticks[yardstick], options.repeats)}
            found, bar = rows[name], BARS.get(name)
            verdict = "" if bar is None else f"  bar {bar}: {'met' if found['ratio'] <= bar else 'missed'}"
            print(
                f"{threads} thread{'s' * (threads != 1)}: {name:28s} {found['ratio']:.2f} x {yardstick} "
                f"({found['quartiles'][0]:.2f} to {found['quartiles'][1]:.2f}, processor {found['processor']:.2f})"
                f"{verdict}",
                flush=True,
            )
    if options.device == "cpu":
        record["peak memory, 785 / 197 tokens"] = growth(["rollout", "gmar", "gae", "daam"])
        print("peak memory, 785 / 197 tokens:", record["peak memory, 785 / 197 tokens"])
    record["load_after"] = os.getloadavg()[0]
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    if options.page:
        write_table(options.page, record)


if __name__ == "__main__":
    main()
