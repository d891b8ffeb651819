"""DAAM of a model without classifier: a memory bank stands for the class.

    python examples/self_supervised_daam.py

From a shell: vitscope bank build FOLDER --model MODEL --out bank.safetensors, then
vitscope explain photo.jpg --model MODEL --method daam-self --bank bank.safetensors
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import timm
import torch

import vitscope as vs
from vitscope.methods.memory_bank import MemoryBank, build_bank
from vitscope.worlds import world


def main() -> None:
    """Build a bank of 60 pictures, save and open it again, explain three others with and without it."""
    torch.manual_seed(0)
    backbone = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=96,
        patch_size=12,
        embed_dim=64,
        depth=4,
        num_heads=4,
        num_classes=0,  # features, no class scores
    )
    vit = vs.open_model(backbone.eval())
    kept = world("shapes").sample(60, seed=1)
    pictures = torch.tensor(kept.pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    bank = build_bank(vit, pictures, labels=kept.labels.tolist(), label_names=kept.classes)

    fresh = torch.tensor(world("shapes").sample(3, seed=2).pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    similarity, rows = bank.nearest(vit.forward(fresh), k=3)
    for index in range(len(fresh)):
        near = ", ".join(
            f"{kept.classes[kept.labels[row]]} {value:.3f}"
            for row, value in zip(rows[index].tolist(), similarity[index].tolist(), strict=True)
        )
        print(f"picture {index}: nearest in the bank {near}")

    with tempfile.TemporaryDirectory() as folder:
        path = bank.save(Path(folder) / "bank.safetensors")
        with_bank = vs.explain(vit, fresh, method="daam-self", bank=MemoryBank.load(path), k=10)
    alone = vs.explain(vit, fresh, method="daam-self")
    assert with_bank.flow is not None
    print(f"flow {tuple(with_bank.flow.shape)}: {with_bank.metadata['notes'][0]}")
    print(f"without a bank: {alone.metadata['notes'][0]}")


if __name__ == "__main__":
    main()
