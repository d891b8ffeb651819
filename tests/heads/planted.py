"""A hand-made ViT whose heads are known: two blocks of four heads of width 8 on a 6 x 6 grid with a class token.

Pictures: 48 x 48, patches of 8 x 8. A patch whose red channel is on carries the class in its green channel (class 0)
or blue channel (class 1). In block 1, head DECIDES lets the class token read the marked patches and writes what it
read into the class token; nothing else reaches the classifier. In both blocks the other heads attend as named, but
write only into dimensions that nobody reads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID, PATCH, WIDTH, HEADS, BLOCKS = 6, 8, 64, 4, 2
HEAD_WIDTH = 8
SELF, LEFT, UNIFORM, DECIDES = 0, 1, 2, 3
DECIDING = (1, DECIDES)
RED, GREEN, BLUE, CLASS, READ, JUNK = 0, 1, 2, 3, 4, 6
POSITION = 8  # first of 8 + 8 dimensions: one-hot row and one-hot column


class Attention(nn.Module):
    """Plain attention with a projection; q and k are given by matrices that are set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(WIDTH, HEADS * 16, bias=False)
        self.k = nn.Linear(WIDTH, HEADS * 16, bias=False)
        self.v = nn.Linear(WIDTH, HEADS * HEAD_WIDTH, bias=False)
        self.proj = nn.Linear(HEADS * HEAD_WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        B, N, _ = x.shape
        q, k = (layer(x).view(B, N, HEADS, 16).transpose(1, 2) for layer in (self.q, self.k))
        v = self.v(x).view(B, N, HEADS, HEAD_WIDTH).transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return self.proj(out.transpose(1, 2).reshape(B, N, -1))


class Block(nn.Module):
    """x + attention(x): no norm and no MLP, so that everything can be followed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = Attention()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attn(x)


class PlantedVit(nn.Module):
    """Logits (B, 2) for pictures (B, 3, 48, 48)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID * GRID, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.head = nn.Linear(WIDTH, 2)
        with torch.no_grad():
            self._plant()

    def _plant(self) -> None:
        for parameter in self.parameters():
            parameter.zero_()
        for channel in (RED, GREEN, BLUE):
            self.patch_embed.weight[channel, channel] = 1 / PATCH**2
        self.cls_token[..., CLASS] = 1
        for row in range(GRID):
            for column in range(GRID):
                token = self.pos_embed[0, 1 + row * GRID + column]
                token[POSITION + row], token[POSITION + 8 + column] = 1, 1
        sharp = 6.0
        for index, block in enumerate(self.blocks):
            q, k, v, proj = (
                block.attn.q.weight,
                block.attn.k.weight,
                block.attn.v.weight,
                block.attn.proj.weight,
            )
            for place in range(8):
                for axis in (0, 8):
                    for head in (SELF, LEFT):
                        k[head * 16 + axis + place, POSITION + axis + place] = 1
                    q[SELF * 16 + axis + place, POSITION + axis + place] = sharp
                q[LEFT * 16 + place, POSITION + place] = sharp
                # The query of column c asks for keys of column c - 1; column 0 asks for itself.
                q[LEFT * 16 + 8 + max(0, place - 1), POSITION + 8 + place] += sharp
            for head in (SELF, LEFT, UNIFORM):
                v[head * HEAD_WIDTH, RED] = 0.1
                proj[JUNK, head * HEAD_WIDTH] = 0.05
            if index == DECIDING[0]:
                # The class token (and every patch, through its bias-like red share) asks for red patches.
                q[DECIDES * 16, CLASS] = sharp
                for row in range(8):
                    q[DECIDES * 16, POSITION + row] = sharp
                k[DECIDES * 16, RED] = 1
                v[DECIDES * HEAD_WIDTH, GREEN], v[DECIDES * HEAD_WIDTH + 1, BLUE] = 1, 1
                proj[READ, DECIDES * HEAD_WIDTH], proj[READ + 1, DECIDES * HEAD_WIDTH + 1] = 1, 1
        self.head.weight[0, READ], self.head.weight[1, READ + 1] = 8, 8

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patch_embed(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


def planted_pictures(count: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(count, 3, 48, 48) and labels: two marked patches at random places, the rest weak noise in green and blue."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.zeros(count, 3, GRID, GRID)
    pictures[:, 1:] = 0.1 * torch.rand(count, 2, GRID, GRID, generator=generator)
    labels = torch.randint(0, 2, (count,), generator=generator)
    for i in range(count):
        for place in torch.randperm(GRID * GRID, generator=generator)[:2].tolist():
            pictures[i, :, place // GRID, place % GRID] = 0
            pictures[i, 0, place // GRID, place % GRID] = 1
            pictures[i, 1 + int(labels[i]), place // GRID, place % GRID] = 1
    return pictures.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3), labels
