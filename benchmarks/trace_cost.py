"""What a trace costs: methods as ratios of the model's own passes, in one run, with a public peer beside them.

    python benchmarks/trace_cost.py [--weights FILE] [--batch 8] [--repeats 15] [--out benchmarks/results/NAME.json]

Ratios are medians over interleaved repeats: every round times each contender once, and each is divided by the plain
pass of the same round, so that a change in the machine's speed hits both. ``pytorch-grad-cam`` takes part when it is
installed. Memory is counted exactly, as bytes that autograd keeps for the backward, not read off the process.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import vitscope as vs
from vitscope.methods import get_method
from vitscope.tracing import Capture, TokenRemoval, Vit

EIGHT = ["gmar", "daam", "gae", "gradient-rollout", "attention-gradcam", "gradcam", "attcat", "agcam"]
BARS = {
    "rollout / forward": 1.25,
    "gmar / (forward + backward)": 1.10,
    "daam / (forward + backward)": 1.10,
    "gae / (forward + backward)": 1.10,
    "eight methods / (forward + backward)": 1.4,
}


def plain_forward(vit: Vit, images: torch.Tensor) -> None:
    """The model's own forward, nothing of ours."""
    with torch.no_grad():
        vit.model(images)


def plain_both(vit: Vit, images: torch.Tensor) -> None:
    """Forward and backward to the first activations, parameters frozen, nothing of ours."""
    model = vit.model
    tokens: list[torch.Tensor] = []

    def start(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        tokens.append(args[0].detach().requires_grad_())
        return (tokens[-1],)

    handle = model.blocks[0].register_forward_pre_hook(start)
    frozen = [p for p in model.parameters() if p.requires_grad]
    try:
        for p in frozen:
            p.requires_grad_(False)
        logits = model(images)
        torch.autograd.grad(logits.max(1).values.sum(), tokens)
    finally:
        handle.remove()
        for p in frozen:
            p.requires_grad_(True)


def method(vit: Vit, images: torch.Tensor, names: list[str]) -> None:
    """One shared trace and the methods on it, as ``explain`` does, without pictures kept for display."""
    vs.explain(vit, images, names, batch_size=len(images), keep_pictures=False)


def consume(result: object) -> None:
    """Take a result and drop it."""


def peer_gradcam(vit: Vit) -> Callable[[torch.Tensor], None] | None:
    """pytorch-grad-cam's GradCAM on the same ViT, None when it is not installed."""
    try:
        from pytorch_grad_cam import GradCAM
    except ImportError:
        return None

    def reshape(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 1:].reshape(tokens.shape[0], 14, 14, -1).permute(0, 3, 1, 2)

    cam = GradCAM(model=vit.model, target_layers=[vit.model.blocks[-1].norm1], reshape_transform=reshape)
    return lambda images: cam(input_tensor=images, targets=None)


def saved_bytes(vit: Vit, size: int) -> int:
    """Bytes that the graph of one traced picture keeps at ``size`` pixels."""
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # a freed tensor's address could be given out again and counted once only

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    parameters = {p.untyped_storage().data_ptr() for p in vit.model.parameters()}
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    vit.probe_for(image)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        vit.trace(image, capture=Capture())
    return sum(count for pointer, count in kept.items() if pointer not in parameters)


def rounds(contenders: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds per contender and round, interleaved, after one warm-up of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(repeats):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", help="DeiT-Tiny weights; random weights cost the same")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    given = {"weights": options.weights} if options.weights else {"pretrained": False}
    vit = vs.open_model("timm/deit_tiny_patch16_224", **given)
    images = torch.randn(options.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    keep = torch.ones(options.batch, vit.anatomy.layout.patches, dtype=torch.bool)
    keep[:, ::2] = False
    contenders: dict[str, Callable[[], None]] = {
        "forward": lambda: plain_forward(vit, images),
        "both": lambda: plain_both(vit, images),
        "rollout": lambda: method(vit, images, ["rollout"]),
        "forward with removal": lambda: consume(vit.forward(images, removal=TokenRemoval(keep))),
    }
    for name in ("gmar", "daam", "gae", "dart", "legrad"):
        contenders[name] = lambda name=name: method(vit, images, [name])
    contenders["eight methods"] = lambda: method(vit, images, EIGHT)
    peer = peer_gradcam(vit)
    if peer is not None:
        contenders["grad-cam's GradCAM"] = lambda: peer(images)
        contenders["gradcam"] = lambda: method(vit, images, ["gradcam"])
    for name in EIGHT:
        get_method(name)
    seconds = rounds(contenders, options.repeats)

    def ratio(name: str, base: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))

    ratios = {
        "rollout / forward": ratio("rollout", "forward"),
        "backward / forward": ratio("both", "forward") - 1,
    }
    ratios["forward with removal / forward"] = ratio("forward with removal", "forward")
    forward_only = ("forward", "both", "rollout", "forward with removal")
    for name in [n for n in contenders if n not in forward_only]:
        ratios[f"{name} / (forward + backward)"] = ratio(name, "both")
    wide = vs.open_model("timm/deit_tiny_patch16_224", pretrained=False, image_size=448)
    small, large = saved_bytes(vit, 224), saved_bytes(wide, 448)
    ratios["kept for the backward, 785 / 197 tokens"] = large / small
    machine = platform.processor() or platform.machine()
    print(
        f"DeiT-Tiny, batch {options.batch}, {options.repeats} rounds, {torch.get_num_threads()} threads, {machine}"
    )
    for name, value in ratios.items():
        bar = BARS.get(name)
        verdict = "" if bar is None else f"  bar {bar}: {'met' if value <= bar else 'missed'}"
        print(f"  {name:45s} {value:6.2f}{verdict}")
    print(f"  (linear growth would be {785 / 197:.2f}, quadratic {(785 / 197) ** 2:.2f})")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "batch": options.batch,
            "repeats": options.repeats,
            "torch": torch.__version__,
            "ratios": ratios,
            "bars": BARS,
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
