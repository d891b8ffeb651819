"""The null: what the same architecture does with random weights, seen through the same atlas."""

from __future__ import annotations

import copy

import torch
from torch import nn

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.atlas.mapping import PatternMapping
from vitscope.heads.errors import HeadsError
from vitscope.options.bounds import BatchSize, Count, Folder, Seed
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.progress import Progress
from vitscope.tracing import Vit, open_model


@checked(HeadsError)
def shuffled_module(module: nn.Module, seed: Seed = 0) -> nn.Module:
    """A copy whose weight matrices have their entries shuffled: same scale and architecture, nothing learned.

    Vectors (norms, biases) are kept: shuffling them would change scales that no random start has.
    The original is not touched; neither is the caller's random state.
    """
    generator = torch.Generator().manual_seed(seed)
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.dim() >= 2:
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return twin


@checked(HeadsError)
def null_mixes(
    atlas: PatternAtlas,
    vit: Vit,
    images: Images,
    *,
    per_head: Count = 100,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> PatternMapping:
    """The pictures' maps by the model with shuffled weights, placed in the atlas of the trained one.

    Its ``heads`` are the mixes of patterns that owe nothing to learning; see `PatternAtlas.with_null`.
    """
    twin = open_model(shuffled_module(vit.model, seed), preprocess=vit.preprocessor, device=str(vit.device))
    return atlas.map_pictures(
        twin,
        images,
        per_head=per_head,
        batch_size=batch_size,
        seed=seed,
        name="shuffled weights",
        checkpoint=checkpoint,
        progress=progress,
    )
