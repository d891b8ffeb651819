"""Methods against public implementations of the same papers, in one run: largest differences, and where they differ.

    pip install grad-cam captum lxt legrad-torch     # in an environment of their own, beside vitscope
    python benchmarks/parity.py --weights deit_tiny_patch16_224.safetensors --pictures photos/*.jpg \
        --chefer Transformer_MM_explainability_ViT.ipynb --vit-explain vit_rollout.py --out benchmarks/results

``--chefer`` and ``--vit-explain`` are files of public repositories (hila-chefer/Transformer-MM-Explainability,
jacobgil/vit-explain) that are no packages; their functions are run from where they lie. Attention and its gradient
for them are taken by hooks from a copy of the model with fused attention switched off, not from vitscope. A peer
that is missing or breaks on the installed versions is reported as not run, with its error.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import importlib.metadata
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import vitscope as vs

Row = dict[str, Any]


def row(method: str, peer: str, mine: Tensor, theirs: Tensor, note: str) -> Row:
    """The largest difference over the largest value, and the rank correlation, of maps (B, ...)."""
    mine, theirs = mine.detach().float().flatten(1), theirs.detach().float().flatten(1)
    ranks = [values.argsort(1).argsort(1).float() for values in (mine, theirs)]
    correlation = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in zip(*ranks, strict=True)]
    return {
        "method": method,
        "peer": peer,
        "max_relative_difference": float((mine - theirs).abs().max() / theirs.abs().max()),
        "rank_correlation": sum(correlation) / len(correlation),
        "note": note,
    }


def functions_of(source: str, names: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    """The named functions of a peer's source, and nothing else of it."""
    import numpy

    kept = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name in names]
    space: dict[str, Any] = {"torch": torch, "np": numpy, "numpy": numpy}
    exec(compile(ast.Module(kept, []), "peer", "exec"), space)
    return {name: space[name] for name in names}


def notebook_cell(path: Path, words: str) -> str:
    """The source of the notebook's cell that holds ``words``."""
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
    return next(cell for cell in cells if words in cell)


def hooked_attention(model: nn.Module, images: Tensor, classes: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """A and dy/dA (B, H, N, N) of every block of a timm ViT by hooks on its own softmax."""
    plain = copy.deepcopy(model)
    kept: list[Tensor] = []
    for block in plain.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, x, y: kept.append(y))
    score = plain(images).gather(1, classes[:, None]).sum()
    return [a.detach() for a in kept], list(torch.autograd.grad(score, kept))


class Bench:
    """The model, the pictures and vitscope's maps."""

    def __init__(self, weights: Path | None, pictures: list[Path]) -> None:
        torch.manual_seed(0)
        self.vit = vs.open_model("timm/deit_tiny_patch16_224", weights=weights, pretrained=False)
        self.model = self.vit.model
        self.images = self.vit.images(pictures) if pictures else torch.randn(2, 3, 224, 224)
        self.classes = self.vit.predict(self.images).argmax(1)

    def maps(self, method: str, **options: Any) -> Tensor:
        found = vs.explain(self.vit, self.images, method, target=self.classes, keep_pictures=False, **options)
        return found.maps


def against_chefer(bench: Bench, path: Path) -> list[Row]:
    """GAE as its authors' notebook computes it."""
    theirs = functions_of(notebook_cell(path, "def avg_heads"), ("avg_heads", "apply_self_attention_rules"))
    A, G = hooked_attention(bench.model, bench.images, bench.classes)
    maps = []
    for b in range(len(bench.images)):
        R = torch.eye(A[0].shape[-1])
        for a, g in zip(A, G, strict=True):
            R = R + theirs["apply_self_attention_rules"](R, theirs["avg_heads"](a[b], g[b]))
        maps.append(R[0, 1:])
    note = "the same definition; the loop over blocks is theirs without its .cuda() calls"
    return [row("gae", "Transformer-MM-Explainability", bench.maps("gae"), torch.stack(maps), note)]


def against_vit_explain(bench: Bench, path: Path) -> list[Row]:
    """Rollout by a well-known script."""
    theirs = functions_of(path.read_text(), ("rollout",))["rollout"]
    A, _ = hooked_attention(bench.model, bench.images, bench.classes)
    rows = []
    notes = {
        0.0: "the same definition; theirs divides by its largest value, and so are ours here",
        0.9: "differs by definition: theirs drops the smallest 90 % of the whole matrix and divides columns by row "
        "sums (no keepdim); ours drops per row and divides rows",
    }
    for share, note in notes.items():
        maps = [
            torch.from_numpy(theirs([a[b : b + 1].clone() for a in A], share, "mean"))
            for b in range(len(A[0]))
        ]
        mine = bench.maps("rollout", discard=share)
        mine = mine / mine.amax((1, 2), keepdim=True)
        rows.append(row(f"rollout, discard {share:g}", "vit-explain", mine, torch.stack(maps), note))
    return rows


def against_grad_cam(bench: Bench) -> list[Row]:
    """GradCAM of the pip package grad-cam at the same layer."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def grid(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].reshape(len(tokens), 14, 14, -1).permute(0, 3, 1, 2)

    layer = bench.model.blocks[-1].norm1
    targets = [ClassifierOutputTarget(int(c)) for c in bench.classes]
    with GradCAM(model=bench.model, target_layers=[layer], reshape_transform=grid) as cam:
        shown = torch.from_numpy(cam(input_tensor=bench.images, targets=targets))
        seen = cam.activations_and_grads
        values = [t.detach().cpu().numpy() for t in (seen.activations[0], seen.gradients[0])]
        raw = torch.from_numpy(cam.get_cam_image(bench.images, layer, targets, *values, False))
    mine = bench.maps("gradcam", relu=False)
    rows = [row("gradcam, before the relu", "grad-cam", mine, raw, "the same definition at blocks[-1].norm1")]
    scaled = mine.clamp(min=0)
    scaled = scaled - scaled.amin((1, 2), keepdim=True)
    scaled = scaled / scaled.amax((1, 2), keepdim=True)
    large = F.interpolate(scaled[:, None], size=(224, 224), mode="bilinear", align_corners=False)[:, 0]
    note = "what it hands out: relu, min-max, bilinear to 224x224, done here to ours as well (raw maps are our output)"
    return [*rows, row("gradcam, as displayed", "grad-cam", large, shown, note)]


def against_captum(bench: Bench) -> list[Row]:
    """Integrated gradients by Captum called directly, and by the definition written out."""
    from captum.attr import IntegratedGradients

    def pooled(pixels: Tensor) -> Tensor:
        return F.avg_pool2d(pixels.sum(1, keepdim=True), 16)[:, 0] * 256

    steps = 8
    theirs = IntegratedGradients(bench.model).attribute(
        bench.images, baselines=torch.zeros_like(bench.images), target=bench.classes, n_steps=steps,
        internal_batch_size=len(bench.images),
    )  # fmt: skip
    note = (
        f"ours calls Captum; this shows the wiring (target, baseline, sum over a patch) with {steps} points"
    )
    mine = bench.maps("integrated-gradients", steps=steps)
    return [row("integrated-gradients", "captum", mine, pooled(theirs), note)]


class MeanOfTokens(nn.Module):
    """An open_clip tower read the way the LeGrad package reads every layer: mean of all tokens, norm, projection."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, images: Tensor) -> Tensor:
        t = self.tower
        x = t.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([t.class_embedding.expand(len(x), 1, -1), x], 1) + t.positional_embedding
        x = t.transformer(t.ln_pre(x).transpose(0, 1)).transpose(0, 1)
        return t.ln_post(x.mean(1)) @ t.proj


def against_legrad(bench: Bench) -> list[Row]:
    """LeGrad of the authors' package on a small random CLIP."""
    import open_clip
    from legrad import LeWrapper

    torch.manual_seed(0)
    vision = {"image_size": 64, "patch_size": 16, "width": 48, "layers": 3, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 50, "width": 48, "heads": 2, "layers": 1}
    clip = open_clip.CLIP(32, vision, text).eval()
    for name, parameter in clip.visual.named_parameters():
        if parameter.dim() > 1 and "embedding" not in name:
            nn.init.normal_(parameter, std=0.2)
    images, words = torch.randn(1, 3, 64, 64), F.normalize(torch.randn(1, 32), dim=-1)
    own = copy.deepcopy(clip.visual)
    agreement = vs.Custom(lambda features: (F.normalize(features, dim=-1) * words).sum(1))
    vit = vs.open_model(MeanOfTokens(own), image_size=64)
    mine = vs.explain(vit, images, "legrad", target=agreement, keep_pictures=False).maps
    wrapped = LeWrapper(clip, layer_index=0)
    theirs = wrapped.compute_legrad(image=images, text_embedding=words)[:, 0]
    large = F.interpolate(mine[:, None], scale_factor=16, mode="bilinear")[:, 0]
    large = (large - large.min()) / (large.max() - large.min())
    note = (
        "equal when the model is read as the package reads it: it takes the mean of all tokens at every layer, where "
        "vitscope takes the model's own pooling (CLIP's class token, as the paper's equation); min-max and bilinear "
        "done to ours as well"
    )
    return [row("legrad", "legrad-torch", large, theirs, note)]


def first_block_product(vit: vs.Vit, images: Tensor, target: int) -> Tensor:
    """Input times gradient at the first block, (B, N), by a hook and autograd under whatever rules are patched in."""
    kept: list[Tensor] = []

    def before(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        kept.append(args[0] if args else named["hidden_states"])

    block = vit.model.get_submodule(vit.anatomy.blocks[0].path)
    handle = block.register_forward_pre_hook(before, with_kwargs=True)
    with torch.enable_grad():
        output = vit.model(images.clone().requires_grad_())
    handle.remove()
    logits = output if isinstance(output, Tensor) else output.logits
    gradient = torch.autograd.grad(logits[:, target].sum(), kept[0])[0]
    return (kept[0] * gradient).sum(-1)


def against_lxt(bench: Bench) -> list[Row]:
    """CP-LRP on torchvision's ViT and AttnLRP on a Hugging Face ViT by the authors' package LXT.

    It rewrites classes of torch for the whole process, so it comes last."""
    import torchvision
    from lxt.efficient import monkey_patch
    from lxt.efficient.models.vit_torch import cp_LRP
    from lxt.efficient.patches import (
        layer_norm_forward,
        non_linear_forward,
        patch_method,
        wrap_attention_forward,
    )
    from transformers import ViTConfig, ViTForImageClassification
    from transformers.activations import GELUActivation
    from transformers.models.vit import modeling_vit

    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    config = ViTConfig(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=3, intermediate_size=96, image_size=64,
        patch_size=16, num_labels=7, attn_implementation="eager",
    )  # fmt: skip
    models = {
        "cp-lrp": torchvision.models.VisionTransformer(64, 16, 3, 3, 48, 96, num_classes=7),
        "attnlrp": ViTForImageClassification(config),
    }
    vits, mine = {}, {}
    for name, model in models.items():
        for key, parameter in model.named_parameters():
            if parameter.dim() > 1 and not key.endswith(("embedding", "embeddings", "token")):
                nn.init.normal_(parameter, std=0.15)
        vits[name] = vs.open_model(model.eval(), image_size=64)
        mine[name] = vs.explain(vits[name], images, name, target=2, keep_pictures=False).maps

    def halved(module: Any) -> bool:
        module.eager_attention_forward = wrap_attention_forward(module.eager_attention_forward)
        return True

    layer_norm = functools.partial(patch_method, layer_norm_forward)
    activation = functools.partial(patch_method, non_linear_forward, keep_original=True)
    maps = {nn.LayerNorm: layer_norm, GELUActivation: activation, modeling_vit: halved}
    notes = {
        "cp-lrp": "the package's own rules for torchvision's ViT; the same definition",
        "attnlrp": "the package's rules by a map written here, since it has none for this class; the same definition",
    }
    rows = []
    for name, rules in (("cp-lrp", cp_LRP), ("attnlrp", maps)):
        monkey_patch(models[name], rules)
        theirs = first_block_product(vits[name], images, 2)[:, 1:]
        rows.append(row(name, "lxt", mine[name], theirs, notes[name]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path, help="DeiT-Tiny weights; random without")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[])
    parser.add_argument("--chefer", type=Path, help="Transformer_MM_explainability_ViT.ipynb")
    parser.add_argument("--vit-explain", type=Path, help="vit_rollout.py")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    bench = Bench(given.weights, given.pictures)
    rows: list[Row] = []
    missing: dict[str, str] = {}
    peers: dict[str, Callable[[], list[Row]]] = {
        "grad-cam": lambda: against_grad_cam(bench),
        "captum": lambda: against_captum(bench),
        "legrad-torch": lambda: against_legrad(bench),
        "lxt": lambda: against_lxt(bench),
    }
    if given.vit_explain:
        peers = {"vit-explain": lambda: against_vit_explain(bench, given.vit_explain), **peers}
    if given.chefer:
        peers = {"Transformer-MM-Explainability": lambda: against_chefer(bench, given.chefer), **peers}
    for name, run in peers.items():
        try:
            found = run()
        except Exception as error:
            missing[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            sys.stdout.write(f"{name}: not run: {missing[name]}\n")
            continue
        rows += found
        for made in found:
            sys.stdout.write(
                f"{made['method']:28} {made['peer']:30} difference {made['max_relative_difference']:.2e}, rank "
                f"correlation {made['rank_correlation']:.4f}: {made['note']}\n"
            )
            sys.stdout.flush()
    versions = {"vitscope": vs.__version__, "torch": torch.__version__, "timm": timm.__version__}
    for package in ("grad-cam", "captum", "legrad-torch", "lxt", "transformers", "open-clip-torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    given.out.mkdir(parents=True, exist_ok=True)
    document = {
        "weights": given.weights.name if given.weights else "random",
        "pictures": [path.name for path in given.pictures],
        "versions": versions,
        "rows": rows,
        "not_run": missing,
    }
    (given.out / "parity.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
