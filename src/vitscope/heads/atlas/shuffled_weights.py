"""The baseline of patterns: the same architecture with shuffled weights, placed in the same atlas."""

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
    """A copy of a module whose weight matrices have their entries shuffled: same scale, nothing learned.

    Vectors (norms, biases) are kept, because shuffling them would change scales. The original and the global random
    state are not changed.

    Args:
        module: Any module.
        seed: Seed of the shuffling.

    Returns:
        The shuffled copy.

    Example:
        >>> import torch
        >>> import vitscope as vs
        >>> layer = torch.nn.Linear(3, 2)
        >>> twin = vs.heads.shuffled_module(layer, seed=1)
        >>> twin.weight.flatten().sort().values.equal(layer.weight.flatten().sort().values)
        True
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
    """The maps of a model with shuffled weights, placed in the atlas of the trained one.

    Args:
        atlas: The atlas to place the maps in.
        vit: The opened model; a copy of it is shuffled.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        per_head: The largest number of maps of a head.
        batch_size: Pictures in a batch; it changes time and memory, not the result.
        seed: Seed of the shuffling and of the draw.
        checkpoint: A folder that keeps every finished part; a stopped run continues from it.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The maps placed in the atlas; its ``heads`` are the mixes of patterns that owe nothing to training.

    Raises:
        HeadsError: A model without a patch grid or without attention between patches.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(3, seed=1).images()
        >>> quick = vs.heads.AutoencoderOptions(epochs=1, width=1)
        >>> atlas = vs.heads.patterns(vit, pictures, per_head=2, k=2, repeats=0, display="pca", options=quick)
        >>> len(vs.heads.null_mixes(atlas, vit, pictures[:1], per_head=1).heads)
        24
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
