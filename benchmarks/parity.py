"""Methods against public implementations of the same papers, in one run: largest differences, and where they differ.

    # in an environment of their own, with vitscope
    pip install grad-cam captum lxt legrad-torch daam-timm-vit torchcam "transformers<5"
    python benchmarks/parity.py --weights deit_tiny_patch16_224.safetensors --pictures photos/*.jpg \
        --chefer Transformer_MM_explainability_ViT.ipynb --vit-explain vit_rollout.py --out benchmarks/results

``--chefer`` and ``--vit-explain`` are files of public repositories (hila-chefer/Transformer-MM-Explainability,
jacobgil/vit-explain) that are no packages; their functions are run from where they lie. Attention and its gradient
for them are taken by hooks from a copy of the model with fused attention switched off, not from vitscope. A peer
that is missing or breaks on the installed versions is reported as not run, with its error.
"""

from __future__ import annotations

import argparse
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
from parity_bench import (
    Bench,
    MeanOfTokens,
    PooledTorchvision,
    Row,
    as_hugging_face,
    as_torchvision,
    first_block_product,
    functions_of,
    hooked_attention,
    notebook_cell,
    random_bert,
    row,
    unit,
)
from torch import Tensor, nn
from torch.nn import functional as F

import vitscope as vs


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


def against_daam(bench: Bench) -> list[Row]:
    """DAAM by an independent package: the whole flow on the classifier, and the self-supervised form without one."""
    from daam import DAAM

    with DAAM(copy.deepcopy(bench.model)) as peer:
        theirs = peer(bench.images, target=bench.classes).maps
    found = vs.explain(bench.vit, bench.images, "daam", target=bench.classes, keep_pictures=False)
    assert found.flow is not None
    rows = [row("daam, flow over all blocks", "daam-timm-vit", found.flow, theirs, "the same definition")]
    headless = copy.deepcopy(bench.model)
    headless.reset_classifier(0)
    with DAAM(copy.deepcopy(headless)) as peer:
        theirs = peer(bench.images).maps
    mine = vs.explain(vs.open_model(headless, image_size=224), bench.images, "daam-self", keep_pictures=False)
    assert mine.flow is not None
    note = (
        "differs by definition: theirs keeps the relu on the channel gradient and weighs with w = f^ * f^ as it is, "
        "ours has no relu there and scales w to [0, 1], as the paper's section says"
    )
    return [*rows, row("daam-self, no memory bank", "daam-timm-vit", mine.flow, theirs, note)]


def against_torchcam(bench: Bench) -> list[Row]:
    """torchcam's LeGrad on DeiT-Tiny in torchvision's class: read by the class token, and as it reads by itself."""
    from torchcam.methods import LeGrad

    model = as_torchvision(bench.model)
    rows = []
    for title, pooled, projection in (
        ("legrad, class token", model, lambda tokens: model.heads(model.encoder.ln(tokens)[:, 0])),
        ("legrad, mean of tokens", PooledTorchvision(model), None),
    ):
        own = vs.open_model(copy.deepcopy(pooled), image_size=224)
        mine = vs.explain(own, bench.images, "legrad", target=bench.classes, keep_pictures=False).maps
        with LeGrad(model, list(model.encoder.layers), score_projection=projection) as peer:
            scores = model(bench.images)
            theirs = peer(bench.classes.tolist(), scores, normalized=False)[0]
        note = (
            "the same definition where both read the model alike"
            if projection
            else ("its own reading, the mean of all tokens at every layer, against a model that is read so")
        )
        rows.append(row(title, "torchcam", mine, theirs, note))
    return rows


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
        "daam-timm-vit": lambda: against_daam(bench),
        "torchcam": lambda: against_torchcam(bench),
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
    for package in (
        *("grad-cam", "captum", "legrad-torch", "daam-timm-vit", "torchcam", "lxt", "transformers"),
        *("torchvision", "open-clip-torch"),
    ):
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
