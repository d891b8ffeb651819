"""Tiny random models of films (B, T, C, H, W), each with what is true of it, written down by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SIZES: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "patch_size": 16,
    "num_frames": 6, "num_labels": 3,
}  # fmt: skip


@dataclass(frozen=True)
class Film:
    """shape: grids in time, rows, columns; None where methods over tokens do not apply, for the reason ``refused``."""

    model: str
    options: dict[str, Any]
    shape: tuple[int, int, int] | None
    prefix: tuple[str, ...] = ()
    pooling: str = "mean"
    refused: str = ""


FILMS = {
    # 6 frames, two in a tube, of 32 x 48 pixels where every version of the model takes pictures that are no squares
    "videomae": Film("VideoMAE", {"image_size": (32, 48), "tubelet_size": 2}, (3, 2, 3)),
    "vivit": Film("Vivit", {"image_size": 32, "tubelet_size": [2, 16, 8]}, (3, 2, 4), ("class",), "class"),
    "timesformer": Film("Timesformer", {"image_size": 32}, None, refused="reads time and space apart"),
    "timesformer-joint": Film(
        "Timesformer",
        {"image_size": 32, "attention_type": "joint_space_time"},
        None,
        refused="no grid of frames",
    ),
}


def build(name: str, attention: str = "sdpa") -> nn.Module:
    """A model with the same random weights every time, in evaluation mode."""
    import transformers  # seconds long

    film = FILMS[name]
    config = getattr(transformers, f"{film.model}Config")(**{**SIZES, **film.options})
    kind = getattr(transformers, f"{film.model}ForVideoClassification")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        known = {} if film.model == "Timesformer" else {"attn_implementation": attention}
        model: nn.Module = kind._from_config(config, **known).eval()
        for parameter in model.parameters():
            if float(parameter.detach().abs().max()) < 0.5:  # small weights would hide mistakes
                nn.init.normal_(parameter, std=0.2)
    return model


def films(name: str, batch: int = 2) -> Tensor:
    """Random normalised films (B, T, C, H, W)."""
    size = FILMS[name].options["image_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return torch.randn(batch, 6, 3, height, width, generator=torch.Generator().manual_seed(1))
