"""Situations that people who explain ViTs meet, each with one tiny model: what works, what is refused, and why.

``SITUATIONS`` names them. ``scripts/describe_support.py`` runs them all and writes docs/supported.md; a test holds the
page against what happens now."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import timm
import torch
import transformers
from torch import Tensor, nn

METHODS = ("rollout", "gae", "daam", "dart", "saliency")
SMALL: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
PICTURES: dict[str, Any] = {**SMALL, "image_size": 32, "patch_size": 8}


@dataclass(frozen=True)
class Situation:
    """What somebody has in hand: a model, how it is opened, what it is given, and what is asked."""

    says: str
    make: Callable[[], nn.Module]
    given: Callable[[], Any]
    target: Any = 1
    options: dict[str, Any] = field(default_factory=dict)


def pictures(*shape: int) -> Tensor:
    """Random pictures, the same every time; two of 3x32x32 without a shape."""
    return torch.randn(*(shape or (2, 3, 32, 32)), generator=torch.Generator().manual_seed(1))


def vit(seed: int = 0, **options: Any) -> nn.Module:
    """A ViT of two blocks on patches of 8 pixels."""
    torch.manual_seed(seed)
    settings = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 2,
        "num_classes": 3,
    }
    model = timm.models.vision_transformer.VisionTransformer(**{**settings, **options})
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def hugging(kind: str, **options: Any) -> nn.Module:
    """A tiny model of transformers by the name of its class."""
    torch.manual_seed(0)
    build = getattr(transformers, kind)
    made = build(build.config_class(**options)).eval()
    for parameter in made.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return made


class Written(nn.Module):
    """Parts with a forward of one line."""

    def __init__(self, forward: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.parts, self.written = nn.ModuleList(parts), forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.written(*self.parts, *args, **kwargs)


def _taught(student: nn.Module, teacher: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        teacher(x)
    return student(x)


def _half_frozen(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = model.blocks[0](model._pos_embed(model.patch_embed(x)))
    return model.forward_head(model.norm(model.blocks[1](x)))


def _mirrored(model: nn.Module, x: Tensor) -> Tensor:
    tokens = model._pos_embed(model.patch_embed(x))
    turned = tokens[:, 1:].unflatten(1, (4, 4)).flip(2).flatten(1, 2)
    return model.forward_head(model.norm(model.blocks(torch.cat([tokens[:, :1], turned], 1))))


def _features_and_logits(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    tokens = model.forward_features(x)
    return tokens[:, 0], model.forward_head(tokens)


def _with_states(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    first = model.blocks[0](model._pos_embed(model.patch_embed(x)))
    last = model.blocks[1](first)
    return {"logits": model.forward_head(model.norm(last)), "first": first, "last": last}


def _nan() -> nn.Module:
    model = vit()
    model.blocks[1].attn.qkv.weight.data[0, 0] = float("nan")
    return model


def _checkpointing() -> nn.Module:
    model = vit()
    model.set_grad_checkpointing(True)
    return model


def _int8() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(copy.deepcopy(vit()), {nn.Linear}, dtype=torch.qint8)


def _plain(says: str, make: Callable[[], nn.Module], **more: Any) -> Situation:
    return Situation(says, make, more.pop("given", pictures), **more)


TOWERS = {"image_size": 32, "classes": 3}

SITUATIONS: dict[str, list[Situation]] = {
    "Read-outs": [
        _plain("a class token", vit),
        _plain("class and distillation token", lambda: _distilled()),
        _plain("mean over the patches, no class token", lambda: vit(class_token=False, global_pool="avg")),
        _plain("mean over the patches, and a class token that nobody reads", lambda: vit(global_pool="avg")),
        _plain("attention pooling", lambda: vit(class_token=False, global_pool="map")),
        _plain(
            "class token and mean together (DINOv2)",
            lambda: hugging(
                "Dinov2ForImageClassification",
                hidden_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                mlp_ratio=2,
                image_size=32,
                patch_size=8,
                num_labels=3,
            ),
        ),
        _plain(
            "a target on one patch token",
            lambda: Written(_with_states, vit()),
            target=lambda o: o["last"][:, 7].sum(1),
        ),
        _plain(
            "a target on a hidden state",
            lambda: Written(_with_states, vit()),
            target=lambda o: o["first"][:, 7].sum(1),
        ),
        _plain(
            "a target on the tokens after two blocks",
            lambda: Written(_with_states, vit()),
            target=lambda o: o["first"][:, 7].sum(1) + o["last"][:, 7].sum(1),
        ),
    ],
    "Order of the tokens": [
        _plain(
            "a masked autoencoder that drops three quarters of its tokens",
            lambda: hugging("ViTMAEModel", **PICTURES),
            target=lambda o: o.last_hidden_state[:, 0].sum(1),
        ),
        _plain("tokens mirrored before the blocks", lambda: Written(_mirrored, vit()), options=TOWERS),
        _plain("patches by a linear layer (the grid is guessed)", lambda: _linear_patches(), options=TOWERS),
    ],
    "Chains": [
        _plain(
            "an ensemble of two", lambda: Written(lambda a, b, x: a(x) + b(x), vit(), vit(1)), options=TOWERS
        ),
        _plain(
            "an ensemble, one tower named with blocks=",
            lambda: Written(lambda a, b, x: a(x) + b(x), vit(), vit(1)),
            options={**TOWERS, "blocks": ["parts.0.blocks.0", "parts.0.blocks.1"]},
        ),
        _plain("a teacher beside its student", lambda: Written(_taught, vit(), vit(1)), options=TOWERS),
        _plain(
            "a mirrored second pass",
            lambda: Written(lambda a, x: a(x) + a(x.flip(-1)), vit()),
            options=TOWERS,
        ),
        _plain(
            "two pictures through one ViT",
            lambda: Written(lambda a, one, two: (a(one) * a(two)).sum(1, True), vit()),
            given=lambda: {"one": pictures(), "two": pictures().flip(0)},
            target=lambda o: o[:, 0],
        ),
        _plain(
            "a CLIP model given whole, with texts",
            lambda: _clip(),
            target=lambda o: o.logits_per_image[:, 0],
            given=lambda: {"pixel_values": pictures(), "input_ids": torch.tensor([[1, 5, 2], [1, 7, 2]])},
        ),
        _plain(
            "a CLIP model given whole, pictures alone",
            lambda: _clip(),
            target=lambda o: o.logits_per_image[:, 0],
        ),
    ],
    "Layouts": [
        _plain(
            "a hybrid with feature maps (B, D, h, w)",
            lambda: _timm("edgenext_xx_small"),
            given=lambda: pictures(1, 3, 64, 64),
        ),
        _plain("inner and outer blocks (TNT)", lambda: _timm("tnt_s_patch16_224", img_size=32, depth=2)),
        _plain(
            "windows (Swin)",
            lambda: _timm("swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(1, 1, 1, 1)),
            given=lambda: pictures(1, 3, 64, 64),
        ),
        _plain(
            "products that need their strides (LeViT with convolutions)",
            lambda: _timm("levit_conv_128s"),
            given=lambda: pictures(1, 3, 224, 224),
        ),
        _plain(
            "a picture that the patches do not divide",
            lambda: hugging(
                "Dinov2ForImageClassification",
                hidden_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                mlp_ratio=2,
                image_size=28,
                patch_size=14,
                num_labels=3,
            ),
            given=lambda: pictures(1, 3, 40, 45),
        ),
    ],
    "Way back": [
        _plain("int8 layers", _int8, options=TOWERS),
        _plain("a block under no_grad", lambda: Written(_half_frozen, vit()), options=TOWERS),
        _plain("gradient checkpointing left on", _checkpointing),
        _plain("weights that answer NaN", _nan),
    ],
    "Outputs and probabilities": [
        _plain(
            "a nested output and a callable",
            lambda: Written(lambda a, x: {"head": {"cls": a(x)}}, vit()),
            target=lambda o: o["head"]["cls"][:, 1],
            options={"image_size": 32},
        ),
        _plain(
            "features and logits, output=1",
            lambda: Written(_features_and_logits, vit()),
            options={**TOWERS, "output": 1},
        ),
        _plain(
            "features and logits, classes=5 of 3",
            lambda: Written(_features_and_logits, vit()),
            options={"image_size": 32, "classes": 5},
        ),
        _plain(
            "an object and a callable",
            lambda: Written(lambda a, x: SimpleNamespace(score=a(x)[:, 1]), vit()),
            target=lambda o: o.score,
            options={"image_size": 32},
        ),
        _plain("a detector's default target", lambda: _yolos(), target=None),
        _plain(
            "a detector and a callable on one query", lambda: _yolos(), target=lambda o: o.logits[:, 2, 1]
        ),
        _plain(
            "one logit, its probability",
            lambda: hugging("ViTForImageClassification", **PICTURES, num_labels=1),
            target="class:0:probability",
        ),
        _plain(
            "several labels a picture",
            lambda: hugging(
                "ViTForImageClassification",
                **PICTURES,
                num_labels=3,
                problem_type="multi_label_classification",
            ),
            target="class:1:probability",
        ),
    ],
    "Inputs": [
        _plain(
            "what an image processor returns",
            lambda: hugging("ViTForImageClassification", **PICTURES, num_labels=3),
            given=lambda: {"pixel_values": pictures()},
        ),
        _plain(
            "a picture and other data",
            lambda: Written(lambda a, scan, age: a(scan) * age[:, None], vit()),
            given=lambda: {"scan": pictures(), "age": torch.tensor([1.0, 2.0])},
            options=TOWERS,
        ),
        _plain("one channel", lambda: vit(in_chans=1), given=lambda: pictures(2, 1, 32, 32)),
        _plain("twelve channels", lambda: vit(in_chans=12), given=lambda: pictures(2, 12, 32, 32)),
        _plain(
            "a grey picture repeated inside the model",
            lambda: Written(lambda a, x: a(x.repeat(1, 3, 1, 1)), vit()),
            given=lambda: pictures(2, 1, 32, 32),
            options=TOWERS,
        ),
    ],
}


def _distilled() -> nn.Module:
    torch.manual_seed(0)
    model = timm.models.deit.VisionTransformerDistilled(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=3
    )
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def _linear_patches() -> nn.Module:
    model = vit()
    unfold = nn.Linear(3 * 64, 24)

    def forward(linear: nn.Module, a: nn.Module, x: Tensor) -> Tensor:
        cut = x.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        tokens = torch.cat([a.cls_token.expand(len(x), -1, -1), linear(cut)], 1) + a.pos_embed
        return a.forward_head(a.norm(a.blocks(tokens)))

    return Written(forward, unfold, model).eval()


def _timm(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=3, **options).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def _clip() -> nn.Module:
    texts = {
        **SMALL,
        "vocab_size": 100,
        "max_position_embeddings": 16,
        "eos_token_id": 2,
        "bos_token_id": 1,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=texts, vision_config=PICTURES, projection_dim=16)
    return transformers.CLIPModel(config).eval()


def _yolos() -> nn.Module:
    options = {**PICTURES, "image_size": [32, 32], "num_detection_tokens": 5, "num_labels": 3}
    return hugging("YolosForObjectDetection", **options)
