"""Explain one box of a detector: a callable target on a ViT with detection tokens, as in YOLOS.

    python examples/detection_target.py

Any detector whose backbone is a ViT is explained like this: a target is a function from the model's raw output to one
number per picture. Here it is the logit of one class at the detection token that is surest of it. Its methods are
those that follow the score's gradient wherever it is read; rollout and its kin start at a class token's row, which a
detector has not got.
"""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from vitscope.worlds import world

BOXES, CLASSES, CLASS = 5, 10, 3


class Detector(nn.Module):
    """Detection tokens before the patches, each read as a class and a box: (B, 3, 96, 96) -> a dict of both."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            "vit_tiny_patch16_224",
            img_size=96,
            patch_size=12,
            embed_dim=64,
            depth=4,
            num_heads=4,
            num_classes=0,
            class_token=False,
            reg_tokens=BOXES,
            global_pool="avg",
        )
        self.classes = nn.Linear(64, CLASSES + 1)  # the last one is "no object"
        self.boxes = nn.Linear(64, 4)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        tokens = self.backbone.forward_features(pictures)[:, :BOXES]
        return {"logits": self.classes(tokens), "boxes": self.boxes(tokens).sigmoid()}


def surest_box(output: dict[str, Tensor]) -> Tensor:
    """Logit of ``CLASS`` at the detection token that gives it the highest probability, (B,)."""
    logits = output["logits"]  # (B, boxes, classes + 1)
    box = logits.softmax(-1)[..., CLASS].argmax(1)
    return logits[torch.arange(len(logits)), box, CLASS]


def main() -> None:
    """Explain the surest box of two pictures."""
    torch.manual_seed(0)
    vit = vs.open_model(Detector().eval(), image_size=96)
    print(vit.anatomy.layout.describe() if vit.anatomy.layout else "no grid")
    pictures = torch.tensor(world("shapes").sample(2, seed=1).pictures).permute(0, 3, 1, 2) / 127.5 - 1
    found = vs.explain(vit, pictures.float(), method=["dart", "attnlrp", "gradcam"], target=surest_box)
    for name, explanation in found.items():
        place = divmod(int(explanation.maps[0].argmax()), 8)
        print(f"{name}: map {tuple(explanation.maps.shape)}, first picture's strongest patch {place}")


if __name__ == "__main__":
    main()
