"""A ViT forward written out slowly, with explicit attention, head masks, removed keys and changed entries.

It reads the weights of a timm ``VisionTransformer`` and shares no code with the library."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def literal_forward(
    model: Any,
    images: Tensor,
    *,
    keep_heads: Tensor | None = None,
    keep_patches: Tensor | None = None,
    zero: dict[int, Tensor] | None = None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """(logits, attention of every block before head ablation, T of every block). ``keep_heads`` (B, L, H),
    ``keep_patches`` (B, P) bool, ``zero`` {block: (H, N, N) bool}."""
    x = model.patch_embed.proj(images).flatten(2).transpose(1, 2)
    B, P, D = x.shape
    prefix = 0
    if model.no_embed_class:
        x = x + model.pos_embed
    if model.cls_token is not None:
        x = torch.cat([model.cls_token.expand(B, -1, -1), x], 1)
        prefix = 1
    if not model.no_embed_class:
        x = x + model.pos_embed
    keys = torch.ones(B, prefix + P, dtype=torch.bool)
    if keep_patches is not None:
        keys[:, prefix:] = keep_patches
    matrices, outputs = [], []
    for l, block in enumerate(model.blocks):
        H = block.attn.num_heads
        y = block.norm1(x)
        q, k, v = block.attn.qkv(y).reshape(B, -1, 3, H, D // H).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("bhid,bhjd->bhij", q, k) / (D // H) ** 0.5
        scores = scores.masked_fill(~keys[:, None, None], float("-inf"))
        A = scores.exp() / scores.exp().sum(-1, keepdim=True)
        if zero is not None and l in zero:
            A = A * (~zero[l])
        T = torch.einsum("bhij,bhjd->bhid", A, v)
        if T.requires_grad:
            A.retain_grad()
            T.retain_grad()
        matrices.append(A)
        outputs.append(T)
        if keep_heads is not None:
            T = T * keep_heads[:, l, :, None, None]
        x = x + block.ls1(block.attn.proj(T.transpose(1, 2).reshape(B, -1, D)))
        x = x + block.ls2(block.mlp(block.norm2(x)))
    if model.global_pool == "avg":
        patches = x[:, prefix:]
        weights = keys[:, prefix:, None].to(x)
        pooled = (patches * weights).sum(1) / weights.sum(1)
        return model.head(model.fc_norm(pooled)), matrices, outputs
    return model.head(model.norm(x)[:, 0]), matrices, outputs
