"""How many channels a model's pictures have, and a preparation of pictures that has as many."""

from __future__ import annotations

import dataclasses

from torch import nn

from vitscope.errors import ModelError
from vitscope.models.preparing.preprocessor import Preprocessor

MOST_STATED = 64
"""A first convolution that reads more channels than this reads features, not pictures."""


def channels_of(module: nn.Module) -> int | None:
    """Channels of the pictures that a model takes: as its configuration says, else as its first convolution reads.

    None where neither tells."""
    stated = getattr(getattr(module, "config", None), "num_channels", None)
    if isinstance(stated, int) and stated > 0:
        return stated
    embedding = getattr(getattr(module, "patch_embed", None), "proj", None)
    kinds = (nn.Conv2d, nn.Conv3d)
    first = embedding if isinstance(embedding, kinds) else None
    if first is None:
        first = next((part for part in module.modules() if isinstance(part, kinds)), None)
    if first is None or first.groups != 1 or first.in_channels > MOST_STATED:
        return None
    return first.in_channels


def fitted(recipe: Preprocessor, channels: int | None) -> Preprocessor | None:
    """The recipe with one mean and deviation for each channel of the model; None where those cannot be known.

    One mean for all channels is the mean of each, whatever their number; those of red, green and blue are nothing that
    other channels have."""
    if channels is None or recipe.channels == channels:
        return recipe
    if len(set(recipe.mean)) > 1 or len(set(recipe.std)) > 1:
        return None
    return dataclasses.replace(recipe, mean=recipe.mean[:1] * channels, std=recipe.std[:1] * channels)


def require_fitted(recipe: Preprocessor, channels: int | None) -> Preprocessor:
    """As ``fitted``; raises ModelError, with a recipe that would do, where the numbers of other channels were given."""
    found = fitted(recipe, channels)
    if found is None:
        assert channels is not None
        raise ModelError(
            f"preprocess= has means and deviations of {recipe.channels} channels, and the model takes pictures of "
            f"{channels}; give those that it was trained with, one for each channel or one for all: "
            f'preprocess={{"size": {list(recipe.size)}, "mean": 0.5, "std": 0.5}}'
        )
    return found
