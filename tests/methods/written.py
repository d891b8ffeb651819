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


class WrittenDart:
    """Forward and backward of a timm DeiT by explicit formulas, one picture, no autograd at all."""

    def __init__(self, model: nn.Module, image: Tensor, direction: Tensor, kappa: float) -> None:
        self.H = model.blocks[0].attn.num_heads
        x = model._pos_embed(model.patch_embed(image[None]))[0]
        self.X, kept = [], []
        for block in model.blocks:
            self.X.append(x)
            n1, std1 = self.norm(x, block.norm1)
            q, k, v = (
                self.split(t) for t in (n1 @ block.attn.qkv.weight.T + block.attn.qkv.bias).chunk(3, -1)
            )
            A = ((q @ k.transpose(1, 2)) / q.shape[-1] ** 0.5).softmax(-1)
            T = A @ v
            y = x + self.join(T) @ block.attn.proj.weight.T + block.attn.proj.bias
            n2, std2 = self.norm(y, block.norm2)
            u = n2 @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
            gate = 0.5 * (1 + torch.erf(u / 2**0.5))
            x = y + (u * gate) @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
            kept.append((block, std1, std2, A, v, T, gate))
        _, std = self.norm(x, model.norm)
        dn = torch.zeros_like(x)
        dn[0] = direction @ model.head.weight
        g = self.norm_back(dn, model.norm, std)
        self.rho, self.gamma = [], []
        for (block, std1, std2, A, v, T, gate), X in zip(reversed(kept), reversed(self.X), strict=True):
            du = (kappa * g) @ block.mlp.fc2.weight * gate
            g = g + self.norm_back(du @ block.mlp.fc1.weight, block.norm2, std2)
            dT = self.split(g @ block.attn.proj.weight)
            dv = A.transpose(1, 2) @ dT
            gamma = torch.zeros(len(X), dtype=X.dtype)
            for h in range(self.H):
                for n in range(len(X)):
                    gamma[n] += v[h, n] @ dv[h, n]
                    for m in range(len(X)):
                        gamma[n] -= A[h, m, n] * (T[h, m] @ dT[h, m])
            width = X.shape[1]
            dn1 = self.join(dv) @ block.attn.qkv.weight[2 * width :]
            g = g + self.norm_back(dn1, block.norm1, std1)
            self.rho.insert(0, (X * g).sum(1))
            self.gamma.insert(0, gamma)

    def split(self, t: Tensor) -> Tensor:
        return t.unflatten(-1, (self.H, -1)).transpose(0, 1)

    @staticmethod
    def join(t: Tensor) -> Tensor:
        return t.transpose(0, 1).flatten(1)

    @staticmethod
    def norm(x: Tensor, module: nn.Module) -> tuple[Tensor, Tensor]:
        std = (x.var(1, unbiased=False, keepdim=True) + module.eps).sqrt()
        return (x - x.mean(1, keepdim=True)) / std * module.weight + module.bias, std

    @staticmethod
    def norm_back(gradient: Tensor, module: nn.Module, std: Tensor) -> Tensor:
        scaled = gradient * module.weight
        return (scaled - scaled.mean(1, keepdim=True)) / std


@torch.no_grad()
def written_dart(model: nn.Module, images: Tensor, classes: Tensor, kappa: float) -> list[WrittenDart]:
    """rho and gamma of every picture for a class each; the model has 7 classes."""
    return [
        WrittenDart(model, image, nn.functional.one_hot(c, 7).to(image.dtype), kappa)
        for image, c in zip(images, classes, strict=True)
    ]
