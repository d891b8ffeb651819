"""How long until something happens: the program's help, the import, the first map, each in a Python of its own.

    python benchmarks/startup.py [--weights FILE] [--picture FILE] [--repeats 5] [--out benchmarks/results/startup.json]

Each row is the best of several fresh interpreters, in seconds of the clock and of the processor; "beyond" subtracts
what the named imports take. Those of PyTorch and of timm are rows of their own: vitscope imports timm without torch's
compiler (``vitscope.models.quick_imports``), so a first map can be there before a plain ``import timm`` has ended.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

BARS = {
    "vitscope --help": 0.5,
    "import vitscope, beyond Python": 0.2,
    "first map, beyond the import of torch": 2.0,
}
"""Seconds of the clock on a quiet machine."""
SOURCES = Path(__file__).resolve().parents[1] / "src"


def commands(weights: Path | None, picture: Path | None) -> dict[str, list[str]]:
    """What is started, by name."""
    opened = (
        "vs.open_model('bundled/shapes')"
        if weights is None
        else f"vs.open_model('timm/deit_tiny_patch16_224', weights={str(weights)!r})"
    )
    shown = "vs.worlds.demo_pictures(1).images()" if picture is None else f"[{str(picture)!r}]"
    code = {
        "Python": "pass",
        "import vitscope": "import vitscope",
        "import torch": "import torch",
        "import torch and its compiler": "import torch, torch._dynamo",
        "import torch and timm": "import torch, timm",
        "first map": f"import torch; import vitscope as vs; vs.explain({opened}, {shown})",
    }
    return {
        **{name: ["-c", text] for name, text in code.items()},
        "vitscope --help": ["-m", "vitscope", "--help"],
        "vitscope explain --help": ["-m", "vitscope", "explain", "--help"],
        "vitscope methods": ["-m", "vitscope", "methods"],
    }


def once(arguments: list[str]) -> tuple[float, float]:
    """Seconds of the clock and of the processor of one fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "HF_HUB_OFFLINE": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(
            f"error: {' '.join(arguments)[:80]} ended with {done.returncode}: {done.stderr[-300:]}"
        )
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def slowest_imports(count: int = 12) -> list[dict[str, float | str]]:
    """What ``vitscope --help`` imports for longest by ``python -X importtime``, without what that imports."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vitscope", "--help"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line]
    found = [(float(own), name.strip()) for own, _, name in rows if own.strip().isdigit()]
    return [{"module": name, "milliseconds": own / 1000} for own, name in sorted(found, reverse=True)[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/startup.json"))
    options = parser.parse_args()
    rounds = {name: [once(words) for _ in range(options.repeats)] for name, words in
              commands(options.weights, options.picture).items()}  # fmt: skip
    wall = {name: min(each[0] for each in found) for name, found in rounds.items()}
    processor = {name: min(each[1] for each in found) for name, found in rounds.items()}
    beyond = {
        "vitscope --help": ("vitscope --help", None),
        "import vitscope, beyond Python": ("import vitscope", "Python"),
        "torch's compiler, which torchvision imports": ("import torch and its compiler", "import torch"),
        "timm, with torchvision and that compiler": ("import torch and timm", "import torch"),
        "first map, beyond the import of torch": ("first map", "import torch"),
    }
    figures = {
        name: {
            "clock": wall[whole] - (wall[part] if part else 0),
            "processor": processor[whole] - (processor[part] if part else 0),
            "bar": BARS.get(name),
        }
        for name, (whole, part) in beyond.items()
    }
    document = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "timm", "torchvision", "typer")},
        },
        "model": "bundled/shapes" if options.weights is None else "timm/deit_tiny_patch16_224",
        "repeats": options.repeats,
        "seconds of the clock, best": wall,
        "seconds of the processor, best": processor,
        "figures": figures,
        "slowest imports of --help": slowest_imports(),
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    for name, found in figures.items():
        bar = f"  (bar {found['bar']} s)" if found["bar"] else ""
        print(f"{name:50s} {found['clock']:6.2f} s, processor {found['processor']:6.2f} s{bar}")


if __name__ == "__main__":
    main()
