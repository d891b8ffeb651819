"""Explain a mask: a callable target on a ViT backbone with a linear segmentation head.

    python examples/segmentation_target.py

The number that is explained is the mean logit of one class over the pixels that the model gives to that class: "why
did these pixels become this class?". The map shows which patches those pixels looked at, themselves included.
"""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from vitscope.worlds import world

CLASS = 2


class Segmenter(nn.Module):
    """ViT patches -> class logits per patch -> bilinear to pixels: (B, 3, 96, 96) -> (B, classes, 96, 96)."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            "vit_tiny_patch16_224",
            img_size=96,
            patch_size=12,
            embed_dim=64,
            depth=4,
            num_heads=4,
            num_classes=0,
        )
        self.head = nn.Linear(64, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.backbone.forward_features(pictures)[:, 1:]
        logits = self.head(patches).transpose(1, 2).unflatten(2, (8, 8))
        return nn.functional.interpolate(logits, size=pictures.shape[-2:], mode="bilinear")


def mean_logit_of_its_pixels(output: Tensor) -> Tensor:
    """Mean logit of ``CLASS`` over the pixels where it wins (over all pixels where it wins nowhere), (B,)."""
    won = (output.argmax(1) == CLASS).to(output.dtype)
    area = torch.where(won.sum((1, 2), keepdim=True) > 0, won, torch.ones_like(won)).detach()
    return (output[:, CLASS] * area).sum((1, 2)) / area.sum((1, 2))


def logit_at(row: int, column: int) -> vs.Custom:
    """Another question: the logit of ``CLASS`` at one pixel."""
    return vs.Custom(lambda output: output[:, CLASS, row, column], f"class {CLASS} at ({row}, {column})")


def main() -> None:
    """Two questions about two pictures."""
    torch.manual_seed(0)
    vit = vs.open_model(Segmenter().eval(), image_size=96)
    pictures = torch.tensor(world("shapes").sample(2, seed=1).pictures).permute(0, 3, 1, 2) / 127.5 - 1
    for target in (mean_logit_of_its_pixels, logit_at(20, 70)):
        found = vs.explain(vit, pictures.float(), method=["attcat", "gradcam"], target=target)
        for name, explanation in found.items():
            place = divmod(int(explanation.maps[0].argmax()), 8)
            print(
                f"{explanation.target}: {name} map {tuple(explanation.maps.shape)}, strongest patch {place}"
            )


if __name__ == "__main__":
    main()
