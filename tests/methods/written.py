"""A small timm ViT and its blocks written out with plain matrix code, for the literal twins."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn


def small_vit(**changes: object) -> nn.Module:
    """A random ViT whose weights are large enough that attention is not flat: 3 blocks, 3 heads, 3x4 patches."""
    torch.manual_seed(3)
    settings = {
        "img_size": (48, 64),
        "embed_dim": 24,
        "depth": 3,
        "num_heads": 3,
        "num_classes": 7,
        **changes,
    }
    model = timm.create_model("vit_tiny_patch16_224", **settings).eval()
    for name, parameter in model.named_parameters():
        if "bias" not in name:
            nn.init.normal_(parameter, std=0.25)
    return model


class Written:
    """Every block's input X, first norm, A, pre-softmax scores, V, T, output Z and their gradients."""

    def __init__(
        self, model: nn.Module, images: Tensor, classes: Tensor, detach_blocks: bool = False
    ) -> None:
        names = ("X", "normed", "scores", "A", "V", "T", "Z")
        self.values: dict[str, list[Tensor]] = {name: [] for name in names}
        x = model._pos_embed(model.patch_embed(images))
        local = 0
        for block in model.blocks:
            if detach_blocks:
                x = x.detach().requires_grad_()
            entered = x
            normed = block.norm1(x)
            batch, N, D = normed.shape
            H = block.attn.num_heads
            qkv = block.attn.qkv(normed).reshape(batch, N, 3, H, D // H).permute(2, 0, 3, 1, 4)
            scores = qkv[0] @ qkv[1].transpose(-2, -1) * (D // H) ** -0.5
            A = scores.softmax(-1)
            T = A @ qkv[2]
            x = x + block.ls1(block.attn.proj(T.transpose(1, 2).reshape(batch, N, D)))
            x = x + block.ls2(block.mlp(block.norm2(x)))
            for name, value in zip(names, (entered, normed, scores, A, qkv[2], T, x), strict=True):
                value.retain_grad()
                self.values[name].append(value)
            if detach_blocks:
                local = local + model.forward_head(model.norm(x)).gather(1, classes[:, None]).sum()
        self.logits = model.forward_head(model.norm(x))
        (local if detach_blocks else self.logits.gather(1, classes[:, None]).sum()).backward()
        model.zero_grad(set_to_none=True)

    def __getattr__(self, name: str) -> list[Tensor]:
        if name.startswith("d") and name[1:] in self.values:
            return [value.grad for value in self.values[name[1:]]]
        return [value.detach() for value in self.values[name]]


def close(mine: Tensor, theirs: Tensor, relative: float = 1e-4) -> None:
    """Assert a largest difference below ``relative`` of the largest value."""
    size = theirs.detach().abs().max()
    assert size > 0, "the twin is all zero and proves nothing"
    error = (mine - theirs.detach()).abs().max() / size
    assert error < relative, float(error)
