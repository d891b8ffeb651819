"""What the parity run compares on: the model, its pictures, the same weights in other libraries' classes."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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


def unit(maps: Tensor) -> Tensor:
    """Each map's minimum to 0, its maximum to 1."""
    lifted = maps - maps.amin((1, 2), keepdim=True)
    return lifted / lifted.amax((1, 2), keepdim=True)


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


class PooledTorchvision(nn.Module):
    """A torchvision ViT read by the mean of all its tokens instead of its class token."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.vit = model

    def forward(self, images: Tensor) -> Tensor:
        x = self.vit._process_input(images)
        x = torch.cat([self.vit.class_token.expand(len(x), -1, -1), x], 1) + self.vit.encoder.pos_embedding
        for layer in self.vit.encoder.layers:
            x = layer(x)
        return self.vit.heads(self.vit.encoder.ln(x.mean(1)))


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


def figures(document: dict[str, Any]) -> str:
    """The table of docs/parity.md from what a run found."""
    lines = ["| method | peer | difference | rank correlation |", "| --- | --- | --- | --- |"]
    for found in document["rows"]:
        version = document["versions"].get(found["peer"], "")
        difference = re.sub(r"e([+-])0*(\d)", r"e\1\2", f"{found['max_relative_difference']:.1e}").replace(
            "e+", "e"
        )
        other = " (other definition)" if found["note"].startswith("differs") else ""
        lines.append(
            f"| {found['method']} | {found['peer']} {version} | {difference}{other} | "
            f"{found['rank_correlation']:.4f} |".replace("  ", " ")
        )
    return "\n".join(lines)
