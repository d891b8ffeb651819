"""The zoo: tiny random models of every anatomy, with facts about each written down by hand.

``ZOO`` names them all; ``TOKENS`` those that token methods apply to, ``ROWS`` those that methods chaining attention
rows apply to, ``REFUSED`` those that are opened, described and refused with a reason. ``build(name)`` gives the
module and ``open_zoo(name)`` the open ``Vit``, both cached: leave them as they were."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import vitscope as vs
from tests.zoo.entry import Entry
from tests.zoo.other_models import OTHERS, REFUSED
from tests.zoo.timm_models import TIMM
from tests.zoo.transformers_models import TRANSFORMERS
from vitscope.tracing import Vit
from vitscope.tracing.calls.outputs import choose, leaves, scores_of

ZOO: dict[str, Entry] = {**TIMM, **TRANSFORMERS, **OTHERS, **REFUSED}
TOKENS = [name for name, entry in ZOO.items() if entry.refused is None]
ROWS = [name for name in TOKENS if ZOO[name].row_refused is None]
PICTURES = [name for name in ROWS if not ZOO[name].text]

__all__ = [
    "PICTURES", "REFUSED", "ROWS", "TOKENS", "ZOO", "Entry", "build", "fresh", "open_zoo", "pictures", "scores_in",
]  # fmt: skip


def fresh(name: str) -> nn.Module:
    """A new model in evaluation mode with the same random weights every time; torch's random state is kept."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(sum(map(ord, name)))
        model = ZOO[name].make().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                flat = parameter.numel() < 2 or float(parameter.std()) < 1e-3
                if flat:  # constants, zeros and LayerScale's 1e-5 would hide mistakes
                    mean = float(parameter.mean())
                    parameter.copy_((1.0 if mean > 0.5 else 0.3) * torch.randn_like(parameter) * 0.5 + mean)
    return model


@cache
def build(name: str) -> nn.Module:
    """The model, built once per process."""
    return fresh(name)


@cache
def open_zoo(name: str) -> Vit:
    """The model under the microscope, opened once per process."""
    return vs.open_model(build(name), image_size=None if ZOO[name].text else ZOO[name].size)


def pictures(name: str, batch: int = 2, seed: int = 0, size: tuple[int, int] | None = None) -> Tensor:
    """Random normalised pictures (B, 3, H, W) that the model takes; for a text model see ``inputs``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, *(size or ZOO[name].size), generator=generator)


def inputs(name: str, batch: int = 2, seed: int = 0) -> Tensor | Mapping[str, Tensor]:
    """What the model takes: pictures, or token ids with the last two of the first text padded."""
    if not ZOO[name].text:
        return pictures(name, batch, seed)
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(batch, 7, dtype=torch.long)
    mask[0, 5:] = 0
    return {"input_ids": torch.randint(3, 50, (batch, 7), generator=generator), "attention_mask": mask}


def scores_in(output: Any) -> Tensor:
    """The scores or the feature of each picture in what a model of the zoo returns, (B, C)."""
    batch = next(tensor.shape[0] for _, tensor in leaves(output))
    return scores_of(output, choose(output, batch, None, None).path, batch)
