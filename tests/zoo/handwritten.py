"""Vision transformers as people write them by hand: every way to spell attention that is met in the wild."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head self-attention; ``product`` names how the softmax and its product with v are written."""

    def __init__(self, width: int, heads: int, product: str, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads, self.product = heads, product
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(heads, 1, 1))
        self.slope = nn.Parameter(torch.ones(heads, 1, 1) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        B, N, D = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scale = q.shape[-1] ** -0.5
        distance = (torch.arange(N)[:, None] - torch.arange(N)[None]).abs().to(x) / N
        bias = self.bias - self.slope * distance
        y = getattr(self, f"_{self.product}")(q, k, v, scale, bias)
        return self.out(y.reshape(B, N, D))

    def _matmul(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        attention = self.dropout(((q @ k.transpose(-2, -1)) * scale + bias).softmax(dim=-1))
        return torch.matmul(attention, v).transpose(1, 2)

    def _bmm(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        B, H, N, d = q.shape
        q, k, v = (t.reshape(B * H, N, d) for t in (q, k, v))
        scores = torch.baddbmm(bias.expand(-1, N, N).repeat(B, 1, 1), q, k.transpose(1, 2), alpha=scale)
        attention = self.dropout(F.softmax(scores, dim=2))
        return torch.bmm(attention, v).reshape(B, H, N, d).transpose(1, 2)

    def _einsum(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        scores = torch.einsum("bhid,bhjd->bhij", q, k) * scale + bias
        attention = torch.softmax(scores, -1, dtype=torch.float32).to(v.dtype)
        return torch.einsum("b h i j, b h j d -> b i h d", self.dropout(attention), v)

    def _einsum_reversed(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        attention = (torch.einsum("bhqd,bhkd->bhqk", q, k) * scale + bias).softmax(-1)
        return torch.einsum("bhkd,bhqk->bqhd", v, attention)

    def _einsum_ellipsis(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        attention = torch.softmax(torch.einsum("...qd,...kd->...qk", q, k) * scale + bias, dim=-1)
        return torch.einsum("...qk,...kd->...qd", attention, v).transpose(1, 2)

    def _transposed(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        attention = F.softmax(q @ k.mT * scale + bias, dim=-1)
        return (v.transpose(-2, -1) @ attention.transpose(-2, -1)).permute(0, 3, 1, 2)

    def _columns(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        attention = F.softmax(k @ q.mT * scale + bias.mT, dim=-2)  # keys are rows
        return (attention.mT @ v).transpose(1, 2)

    def _by_hand(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        attention = nn.Softmax(dim=-1)((q * scale) @ k.transpose(-1, -2) + bias)
        return (attention @ v).transpose(1, 2).contiguous()

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        mask = bias.expand(-1, q.shape[2], -1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2)

    def _fused_folded(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        B, H, N, d = q.shape
        folded = F.scaled_dot_product_attention(*(t.reshape(B * H, N, d) for t in (q, k, v)))
        return folded.reshape(B, H, N, d).transpose(1, 2)

    def _causal(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, None, 0.0, True).transpose(1, 2)

    def _grouped(self, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor) -> Tensor:
        k, v = k[:, :1], v[:, :1]
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2)


class Block(nn.Module):
    """Pre-norm block with a plain MLP."""

    def __init__(self, width: int, heads: int, product: str) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, product)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.mlp(self.second(x))


class HandVit(nn.Module):
    """A class token, a linear patch embedding, blocks, a head; or no class token and a mean."""

    def __init__(
        self, product: str = "matmul", width: int = 48, class_token: bool = True, linear: bool = False
    ) -> None:
        super().__init__()
        self.linear = linear
        self.patch = nn.Linear(3 * 16 * 16, width) if linear else nn.Conv2d(3, width, 16, 16)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        self.positions = nn.Parameter(torch.zeros(1, 16 + class_token, width))
        self.layers = nn.ModuleList(Block(width, 3, product) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        if self.linear:  # cut into patches by reshaping only: no convolution, no unfold
            B, C, H, W = images.shape
            x = (
                images.reshape(B, C, H // 16, 16, W // 16, 16)
                .permute(0, 2, 4, 1, 3, 5)
                .reshape(B, -1, C * 256)
            )
            x = self.patch(x)
        else:
            x = self.patch(images).flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        x = x + self.positions
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        return self.head(x[:, 0] if self.cls_token is not None else x.mean(1))


class EncoderVit(nn.Module):
    """The tutorial's ViT: ``nn.TransformerEncoder`` between a patch embedding and a head."""

    def __init__(self, norm_first: bool, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.patch = nn.Conv2d(3, 48, 16, 16)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 48))
        self.position = nn.Parameter(torch.zeros(1, 17, 48))
        layer = nn.TransformerEncoderLayer(
            48, 3, 96, activation="gelu", batch_first=batch_first, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(48, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.position
        x = self.encoder(x) if self.batch_first else self.encoder(x.transpose(0, 1)).transpose(0, 1)
        return self.head(x[:, 0])


class WeightsBlock(nn.Module):
    """A block that asks ``nn.MultiheadAttention`` for its weights and keeps them, as many tutorials do."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(48)
        self.attention = nn.MultiheadAttention(48, 3, dropout=0.1, batch_first=batch_first)
        self.norm2 = nn.LayerNorm(48)
        self.mlp = nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 48))
        self.batch_first = batch_first
        self.weights: Any = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x) if self.batch_first else self.norm(x).transpose(0, 1)
        y, self.weights = self.attention(y, y, y)
        x = x + (y if self.batch_first else y.transpose(0, 1))
        return x + self.mlp(self.norm2(x))


class WeightsVit(HandVit):
    """``HandVit`` with ``nn.MultiheadAttention``."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(WeightsBlock(batch_first) for _ in range(2))


class TokensToTokens(nn.Module):
    """As T2T-ViT: soft splits by unfold with a one-head transformer between them, then a plain backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(27)
        self.qkv = nn.Linear(27, 3 * 16)
        self.project = nn.Linear(16, 16)
        self.merge = nn.Linear(16 * 9, 48)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 48))
        self.positions = nn.Parameter(torch.zeros(1, 17, 48))
        self.blocks = nn.ModuleList(Block(48, 3, "matmul") for _ in range(2))
        self.head = nn.Linear(48, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.unfold(images, 3, stride=2, padding=1).transpose(1, 2)  # (B, 256, 27) of 32x32 pictures
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        attention = (q @ k.transpose(-2, -1) * 16**-0.5).softmax(-1)
        x = v + self.project(attention @ v)
        x = x.transpose(1, 2).reshape(len(x), 16, 16, 16)
        x = self.merge(F.unfold(x, kernel_size=3, stride=4, padding=1).transpose(1, 2))
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


class FunctionalVit(HandVit):
    """Blocks that are no modules: ``x = attention(x) + x; x = mlp(x) + x`` in a loop, as in vit-pytorch."""

    def __init__(self, norm_outside: bool) -> None:
        super().__init__()
        self.norm_outside = norm_outside
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.LayerNorm(48),
                    Attention(48, 3, "fused"),
                    nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48)),
                ]
            )
            for _ in range(2)
        )
        if not norm_outside:
            for layer in self.layers:
                layer[1] = nn.Sequential(layer[0], layer[1])

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.positions
        for norm, attention, mlp in self.layers:
            x = (attention(norm(x)) if self.norm_outside else attention(x)) + x
            x = mlp(x) + x
        return self.head(self.norm(x)[:, 0])


class SharedVit(HandVit):
    """One block run three times (weight sharing, as ALBERT)."""

    def __init__(self) -> None:
        super().__init__("fused")
        self.layers = nn.ModuleList([self.layers[0]] * 3)


class InPlaceVit(HandVit):
    """Residual additions done in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(InPlaceBlock(48, 3, "fused") for _ in range(2))


class InPlaceBlock(Block):
    """A block that adds the stream into its branches."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.attention(self.first(x))
        y += x
        z = self.mlp(self.second(y))
        z.add_(y)
        return z
