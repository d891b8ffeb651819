"""vitscope beside other packages: the same model, the same pictures, the same method; speed, memory and values.

    python benchmarks/peers.py [--weights FILE] [--pictures FOLDER] [--batch 8] [--repeats 9] [--threads N]
                               [--out benchmarks/results/peers.json] [--page docs/peers.md]

``make bench`` runs it. Packages that are not installed are left out by name. Times are medians over interleaved rounds,
so that a change of the machine's speed hits both sides of a pair; memory is the bytes that autograd keeps for the
backward of one call, counted and not read off the process. Values are compared with each map scaled to 0..1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import peer_facts
import torch
from torch import Tensor

import vitscope as vs
from vitscope.tracing import Vit

Call = Callable[[Tensor], Tensor]
"""Pictures (B, 3, 224, 224) -> maps (B, h, w) or (B, H, W)."""


@dataclass(frozen=True)
class Pair:
    """One method as another package has it, and as vitscope has it."""

    package: str
    name: str
    theirs: Call
    ours: Call
    note: str = ""
    another_reading: str = ""
    """How the two read the paper differently, where their maps are not the same."""


def to_grid(tokens: Tensor) -> Tensor:
    """What users of grad-cam write: tokens without the class token as (B, D, 14, 14)."""
    return tokens[:, 1:].reshape(len(tokens), 14, 14, -1).permute(0, 3, 1, 2)


def explained(vit: Vit, method: str, **options: Any) -> Call:
    """``vs.explain`` as a user calls it."""
    return lambda x: vs.explain(vit, x, method, batch_size=len(x), **options).maps


def of_grad_cam(vit: Vit) -> list[Pair]:
    import pytorch_grad_cam as package

    pairs = []
    for kind, method in (
        ("GradCAM", "gradcam"), ("HiResCAM", "hirescam"), ("XGradCAM", "xgradcam"), ("LayerCAM", "layercam"),
    ):  # fmt: skip
        cam_class = getattr(package, kind)

        def theirs(x: Tensor, cam_class: Any = cam_class) -> Tensor:
            layers = [vit.model.blocks[-1].norm1]
            with cam_class(model=vit.model, target_layers=layers, reshape_transform=to_grid) as cam:
                maps = torch.from_numpy(cam(input_tensor=x, targets=None))
            vit.model.zero_grad()
            return maps

        def ours(x: Tensor, method: str = method) -> Tensor:
            return torch.from_numpy(vs.adapters.GradCAM(vit, method=method, batch_size=len(x))(x))

        pairs.append(Pair("grad-cam", kind, theirs, ours, "in its form: 0 to 1, at the input's size"))
    return pairs


def of_captum(vit: Vit) -> list[Pair]:
    from captum.attr import LayerGradientXActivation, Saliency

    def top(x: Tensor) -> Tensor:
        with torch.no_grad():
            answer: Tensor = vit.model(x).argmax(1)
        return answer

    def activation(x: Tensor) -> Tensor:
        found = LayerGradientXActivation(vit.model, vit.model.blocks[-1].norm1).attribute(x, target=top(x))
        return found.detach().sum(-1)[:, 1:].unflatten(1, (14, 14))

    def saliency(x: Tensor) -> Tensor:
        found = Saliency(vit.model).attribute(x.clone().requires_grad_(), target=top(x), abs=False)
        # absolute values added over channels and the pixels of a patch
        return found.detach().abs().sum(1).unflatten(1, (14, 16)).unflatten(3, (14, 16)).sum((2, 4))

    return [
        Pair("captum", "LayerGradientXActivation", activation, explained(vit, "hirescam", relu=False)),
        Pair("captum", "Saliency", saliency, explained(vit, "saliency"), "vitscope calls Captum itself here"),
    ]


def of_torchcam(vit: Vit) -> list[Pair]:
    from torchcam import methods

    pairs = []
    for kind, method in (
        ("GradCAM", "gradcam"), ("GradCAMpp", "gradcam-plus-plus"), ("XGradCAM", "xgradcam"), ("LayerCAM", "layercam"),
    ):  # fmt: skip
        cam_class = getattr(methods, kind)

        def theirs(x: Tensor, cam_class: Any = cam_class) -> Tensor:
            layer = vit.model.blocks[-1].norm1
            with cam_class(vit.model, layer, reshape_transform=to_grid) as cam:
                scores = vit.model(x)
                return cam(scores.argmax(1).tolist(), scores)[0].detach()

        pairs.append(
            Pair(
                "torchcam", kind, theirs, explained(vit, method),
                "maps of 0 to 1 on the grid; it goes back to its layer alone",
                "its denominator adds tokens of both signs and may pass 0, vitscope's their positive parts"
                if kind == "GradCAMpp"
                else "",
            )
        )  # fmt: skip
    return pairs


def of_vit_explain(vit: Vit) -> list[Pair]:
    """The repository's rollout with the mean over heads and nothing discarded, written out: it is in no registry."""

    def rollout(x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        blocks = list(vit.model.blocks)
        fused = [block.attn.fused_attn for block in blocks]
        handles = [
            block.attn.attn_drop.register_forward_hook(
                lambda module, given, output: kept.append(output.detach())
            )
            for block in blocks
        ]
        try:
            for block in blocks:
                block.attn.fused_attn = False
            with torch.no_grad():
                vit.model(x)
        finally:
            for handle in handles:
                handle.remove()
            for block, was in zip(blocks, fused, strict=True):
                block.attn.fused_attn = was
        result = torch.eye(kept[0].shape[-1]).expand(len(x), -1, -1)
        for attention in kept:
            a = (attention.mean(1) + torch.eye(attention.shape[-1])) / 2
            result = (a / a.sum(-1, keepdim=True)) @ result
        return result[:, 0, 1:].unflatten(1, (14, 14))

    return [Pair("vit-explain (formula)", "rollout", rollout, explained(vit, "rollout"))]


SOURCES: dict[str, tuple[str, Callable[[Vit], list[Pair]]]] = {
    "grad-cam": ("pytorch_grad_cam", of_grad_cam),
    "captum": ("captum", of_captum),
    "torchcam": ("torchcam", of_torchcam),
    "vit-explain (formula)": ("torch", of_vit_explain),
}
"""The other packages: the module that must be there, and their pairs."""


def scaled(maps: Tensor) -> Tensor:
    """Each map from 0 to 1."""
    flat = maps.detach().float().flatten(1)
    low = flat.amin(1, keepdim=True)
    return (flat - low) / (flat.amax(1, keepdim=True) - low).clamp_min(1e-12)


def kept_bytes(call: Call, x: Tensor, vit: Vit) -> int:
    """Bytes of the largest set of tensors that autograd keeps during one call, the model's own weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in vit.model.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address is given out twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call(x)
    return sum(count for pointer, count in kept.items() if pointer not in weights)


def measure(pair: Pair, x: Tensor, vit: Vit, repeats: int) -> dict[str, Any]:
    """Both sides of one pair."""
    theirs, ours = scaled(pair.theirs(x)), scaled(pair.ours(x))  # the first call of each warms up, too
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(repeats):
        for side, call in (("theirs", pair.theirs), ("ours", pair.ours)):
            start = time.perf_counter()
            call(x)
            seconds[side].append(time.perf_counter() - start)
    both = torch.stack([theirs, ours]).double()
    middle = both - both.mean(2, keepdim=True)
    alike = (middle[0] * middle[1]).sum(1) / (middle[0].norm(dim=1) * middle[1].norm(dim=1)).clamp_min(1e-12)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    return {
        "package": pair.package,
        "method": pair.name,
        "note": pair.note,
        "another_reading": pair.another_reading,
        "theirs_seconds": statistics.median(seconds["theirs"]),
        "ours_seconds": statistics.median(seconds["ours"]),
        "ours_over_theirs": statistics.median(ratios),
        "ours_over_theirs_quartiles": statistics.quantiles(ratios, n=4)[::2] if repeats > 1 else None,
        "theirs_kept_bytes": kept_bytes(pair.theirs, x, vit),
        "ours_kept_bytes": kept_bytes(pair.ours, x, vit),
        "largest_difference": float((theirs - ours).abs().max()),
        "smallest_correlation": float(alike.min()),
    }


def plot(document: dict[str, Any], path: Path) -> None:
    """Seconds and memory of each pair as bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = document["pairs"]
    names = [f"{row['package']}: {row['method']}" for row in rows]
    figure, axes = pyplot.subplots(
        1, 2, figsize=(9.5, 0.45 * len(rows) + 1.4), sharey=True, layout="constrained"
    )
    columns = (("seconds", 1.0, "seconds a call"), ("kept_bytes", 1e-6, "MB kept for the backward"))
    for axis, (key, factor, words) in zip(axes, columns, strict=True):
        for shift, side, label, colour in (
            (-0.2, "theirs", "the package", "#8a8a8a"),
            (0.2, "ours", "vitscope", "#31688e"),
        ):
            places = [index + shift for index in range(len(rows))]
            axis.barh(
                places, [row[f"{side}_{key}"] * factor for row in rows], 0.38, label=label, color=colour
            )
        axis.set_yticks(range(len(rows)), names)
        axis.set_xlabel(words)
    axes[0].invert_yaxis()
    axes[1].legend(frameon=False)
    figure.savefig(path, dpi=110)


def page(document: dict[str, Any]) -> str:
    """The page, from the figures alone; below it what ``peer_facts.py`` found."""
    rows = document["pairs"]
    machine = document["machine"]
    lines = [
        "# Beside other packages",
        "",
        "<!-- Written by benchmarks/peers.py from benchmarks/results/peers.json; do not edit. -->",
        "",
        "The same method on the same model and pictures, as each package has it and as vitscope has it.",
        "`make bench` makes this page anew.",
        "",
        f"{document['model']}, {document['batch']} {document['pictures']}, {document['repeats']} interleaved rounds,"
        f" {machine['threads']} of {machine['cores']} cores, load of the machine {machine['load']:.1f} when it began.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in document["versions"].items()) + ".",
        "",
        *(
            [
                "**The machine was busy, so the seconds say little.** Values and memory do not depend on it.",
                "",
            ]
            if machine["load"] > machine["cores"] / 2
            else []
        ),
        "![Seconds and memory of each pair](images/peers.png)",
        "",
        "| package | method | its seconds | vitscope's | ratio (quartiles) | its MB kept | vitscope's "
        "| largest difference | correlation |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        spread = row["ours_over_theirs_quartiles"]
        between = f" ({spread[0]:.2f} to {spread[1]:.2f})" if spread else ""
        lines.append(
            f"| {row['package']} | {row['method']} | {row['theirs_seconds']:.3f} | {row['ours_seconds']:.3f} | "
            f"{row['ours_over_theirs']:.2f}{between} | {row['theirs_kept_bytes'] / 1e6:.1f} | "
            f"{row['ours_kept_bytes'] / 1e6:.1f} | {row['largest_difference']:.1e} | "
            f"{row['smallest_correlation']:.6f} |"
        )
    lines += [
        "",
        "*Ratio*: vitscope's seconds over the package's in the same round; below 1 vitscope is quicker.",
        "*MB kept*: what autograd keeps for the backward of one call, without the weights. *Largest difference*: of",
        "any cell, both maps scaled to 0 to 1; *correlation*: smallest over the pictures. vitscope's side is the whole",
        "public call with its checks and its record of what made the map.",
        "",
    ]
    notes = [f"{row['package']}: {row['note']}." for row in rows if row["note"]]
    notes += [
        f"{row['package']}'s {row['method']} is another reading of the paper: {row['another_reading']}."
        for row in rows
        if row["another_reading"]
    ]
    lines += [*dict.fromkeys(notes), ""] if notes else []
    if document["left_out"]:
        lines += ["Not installed, so left out: " + ", ".join(document["left_out"]) + ".", ""]
    facts = peer_facts.complete(json.loads(peer_facts.RESULTS.read_text(encoding="utf-8")))
    return "\n".join([*lines, peer_facts.BEGIN, "", facts.strip(), "", peer_facts.END, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/peers.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/peers.md"))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    given: dict[str, Any] = {"weights": options.weights} if options.weights else {"pretrained": False}
    torch.manual_seed(0)
    load = os.getloadavg()[0]
    vit = vs.open_model("timm/deit_tiny_patch16_224", **given)
    if options.pictures:
        pictures = vit.inputs(vs.pictures.find_pictures([options.pictures])[: options.batch])
    else:
        pictures = torch.randn(options.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    left_out = [name for name, (module, _) in SOURCES.items() if find_spec(module) is None]
    pairs = [pair for name, (_, make) in SOURCES.items() if name not in left_out for pair in make(vit)]
    installed = [
        "torch",
        "timm",
        "vitscope",
        *(name for name in ("grad-cam", "captum", "torchcam") if name not in left_out),
    ]
    document = {
        "model": "DeiT-Tiny" + ("" if options.weights else ", random weights"),
        "pictures": "photographs" if options.pictures else "random pictures",
        "batch": len(pictures),
        "repeats": options.repeats,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load": load,
        },
        "versions": {name: metadata.version(name) for name in installed},
        "left_out": left_out,
        "pairs": [measure(pair, pictures, vit, options.repeats) for pair in pairs],
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    options.page.write_text(page(document))
    plot(document, options.page.parent / "images" / "peers.png")
    for row in document["pairs"]:
        print(
            f"{row['package']:22s} {row['method']:26s} ratio {row['ours_over_theirs']:5.2f}  difference "
            f"{row['largest_difference']:.1e}"
        )


if __name__ == "__main__":
    main()
