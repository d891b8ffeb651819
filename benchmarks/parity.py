"""Methods against public implementations of the same papers, in one run: largest differences, and where they differ.

    pip install grad-cam captum lxt legrad-torch "transformers<5"     # in an environment of their own, with vitscope
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
import re
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


def unit(maps: Tensor) -> Tensor:
    """Each map's minimum to 0, its maximum to 1."""
    lifted = maps - maps.amin((1, 2), keepdim=True)
    return lifted / lifted.amax((1, 2), keepdim=True)


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
    large = F.interpolate(
        unit(mine.clamp(min=0))[:, None], size=(224, 224), mode="bilinear", align_corners=False
    )[:, 0]
    large = unit(large)
    note = "what it hands out: relu, min-max, bilinear to 224x224, min-max again; done here to our raw maps"
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


def first_block_product(model: nn.Module, trace: vs.Trace, classes: Tensor) -> Tensor:
    """Input times gradient at the first block, (B, N), by a hook and autograd under whatever rules are patched in."""
    kept: list[Tensor] = []

    def before(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        tokens = args[0] if args else named["hidden_states"]
        kept.append(tokens.detach().requires_grad_())
        return ((kept[0], *args[1:]), named) if args else (args, {**named, "hidden_states": kept[0]})

    block = model.get_submodule(trace.anatomy.blocks[0].path)
    handle = block.register_forward_pre_hook(before, with_kwargs=True)
    with torch.enable_grad():
        inputs = trace.inputs
        output = model(inputs) if isinstance(inputs, Tensor) else model(**inputs)
    handle.remove()
    logits = output if isinstance(output, Tensor) else output.logits
    gradient = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), kept[0])[0]
    return (kept[0] * gradient).sum(-1)


def renamed(model: nn.Module, names: dict[str, str], split: bool) -> dict[str, Tensor]:
    """A timm ViT's weights under other names; ``split``: its joint q, k, v apart."""
    found: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        for old, new in names.items():
            name = re.sub(old, new, name)
        if split and ".qkv." in name:
            for part, values in zip(("query", "key", "value"), value.chunk(3), strict=True):
                found[name.replace("qkv", part)] = values
        else:
            found[name] = value
    return found


def as_torchvision(model: nn.Module) -> nn.Module:
    """The same DeiT-Tiny as torchvision's VisionTransformer."""
    import torchvision

    names = {
        r"^cls_token$": "class_token", r"^pos_embed$": "encoder.pos_embedding", r"^patch_embed\.proj": "conv_proj",
        r"^norm\.": "encoder.ln.", r"^head\.": "heads.head.", r"^blocks\.(\d+)": r"encoder.layers.encoder_layer_\1",
        r"norm([12])": r"ln_\1", r"attn\.qkv\.": "self_attention.in_proj_", r"attn\.proj": "self_attention.out_proj",
        r"mlp\.fc1": "mlp.0", r"mlp\.fc2": "mlp.3",
    }  # fmt: skip
    other = torchvision.models.VisionTransformer(224, 16, 12, 3, 192, 768)
    other.load_state_dict(renamed(model, names, split=False))
    return other.eval()


def as_hugging_face(model: nn.Module) -> nn.Module:
    """The same DeiT-Tiny as Hugging Face's ViTForImageClassification."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768, num_labels=1000,
        layer_norm_eps=1e-6, attn_implementation="eager",
    )  # fmt: skip
    names = {
        r"^cls_token$": "vit.embeddings.cls_token", r"^pos_embed$": "vit.embeddings.position_embeddings",
        r"^patch_embed\.proj": "vit.embeddings.patch_embeddings.projection", r"^norm\.": "vit.layernorm.",
        r"^head\.": "classifier.", r"^blocks\.": "vit.encoder.layer.", r"norm1": "layernorm_before",
        r"norm2": "layernorm_after", r"attn\.qkv": "attention.attention.qkv", r"attn\.proj": "attention.output.dense",
        r"mlp\.fc1": "intermediate.dense", r"mlp\.fc2": "output.dense",
    }  # fmt: skip
    other = ViTForImageClassification(config)
    other.load_state_dict(renamed(model, names, split=True))
    return other.eval()


def random_bert() -> tuple[nn.Module, dict[str, Tensor]]:
    """A small random BERT classifier and two sentences, none padded."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=50, hidden_size=48, num_hidden_layers=3, num_attention_heads=3, intermediate_size=96,
        num_labels=1000, attn_implementation="eager",
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "embeddings" not in name:
            nn.init.normal_(parameter, std=0.15)
    return model, {"input_ids": torch.randint(3, 50, (2, 9))}


def against_lxt(bench: Bench) -> list[Row]:
    """CP-LRP and AttnLRP by the authors' package LXT, on the same DeiT-Tiny in other libraries and on a BERT.

    It rewrites classes of torch for the whole process, so it comes last and all of vitscope's maps come first."""
    from lxt.efficient import monkey_patch
    from lxt.efficient.models.bert import attnLRP as bert_rules
    from lxt.efficient.models.vit_torch import cp_LRP
    from lxt.efficient.patches import (
        layer_norm_forward,
        non_linear_forward,
        patch_method,
        wrap_attention_forward,
    )
    from transformers.activations import GELUActivation
    from transformers.models.bert import modeling_bert
    from transformers.models.vit import modeling_vit

    torch.manual_seed(0)

    def halved(module: Any) -> bool:
        module.eager_attention_forward = wrap_attention_forward(module.eager_attention_forward)
        return True

    own_map = {
        nn.LayerNorm: functools.partial(patch_method, layer_norm_forward),
        GELUActivation: functools.partial(patch_method, non_linear_forward, keep_original=True),
        modeling_vit: halved,
    }
    bert, sentences = random_bert()
    cases = [
        ("cp-lrp", "torchvision ViT", as_torchvision(bench.model), bench.images, None, cp_LRP, "its own rules"),
        ("attnlrp", "Hugging Face ViT", as_hugging_face(bench.model), bench.images, None, own_map,
         "its rules by a map written here, since it has none for this class"),
        ("attnlrp", "Hugging Face BERT, random", bert, sentences, modeling_bert, bert_rules, "its own rules"),
    ]  # fmt: skip
    ready = []
    for method, where, model, inputs, module, rules, note in cases:
        vit = vs.open_model(model, image_size=224 if isinstance(inputs, Tensor) else None)
        classes = vit.predict(inputs).argmax(1)
        mine = vs.explain(vit, inputs, method, target=classes.tolist(), keep_pictures=False)
        trace = vit.trace(inputs, gradient=False)
        ready.append((method, where, vit, trace, classes, module or model, rules, note, mine))
    rows = []
    for method, where, vit, trace, classes, module, rules, note, mine in ready:
        monkey_patch(module, rules)
        model = vit.model
        if module is modeling_bert:  # the package puts classes of its own into that file's place
            model = modeling_bert.BertForSequenceClassification(model.config).eval()
            model.load_state_dict(vit.model.state_dict())
        theirs = first_block_product(model, trace, classes)[:, trace.layout.prefix_count :]
        rows.append(row(f"{method}, {where}", "lxt", mine.maps, theirs, f"{note}; the same definition"))
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
