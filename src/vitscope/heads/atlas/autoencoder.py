"""A convolutional autoencoder for canonical attention maps, in plain PyTorch.

Li et al. 2023 summarise the patterns of all heads by an autoencoder's codes. Here the input is the square root of a
canonical map, so the mean squared error is a squared Hellinger distance, and PCA (`principal.py`) minimises the same
thing linearly: the two are comparable on held-out pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from vitscope.heads.errors import HeadsError
from vitscope.options.bounds import BatchSize, Range, Seed
from vitscope.options.door import check_fields


@dataclass(frozen=True)
class AutoencoderOptions:
    """How the autoencoder of attention maps is built and trained, with early stopping on held-out maps.

    Args:
        latent: Numbers in a code; None takes 24, or fewer where there are few maps.
        width: Channels of the first convolution.
        epochs: The largest number of epochs.
        patience: Epochs without a better held-out error before training stops.
        batch_size: Maps in a training step.
        learning_rate: The largest learning rate, which falls along a cosine.
        seed: Of the initial weights, the order of maps and the split.

    Raises:
        HeadsError: A number out of bounds.

    Example:
        >>> import vitscope as vs
        >>> options = vs.heads.AutoencoderOptions(epochs=20)
        >>> options.code_size(maps=40), options.code_size(maps=5000)
        (10, 24)
    """

    latent: Annotated[int, Range(1, 4096)] | None = None
    width: Annotated[int, Range(1, 4096)] = 16
    epochs: Annotated[int, Range(1, 100_000)] = 60
    patience: Annotated[int, Range(0, 100_000)] = 6
    batch_size: BatchSize = 128
    learning_rate: Annotated[float, Range(0, 10, above=True)] = 2e-3
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, HeadsError)

    def code_size(self, maps: int) -> int:
        """How many numbers a code has that is learned from a number of maps."""
        return min(24, max(2, maps // 4)) if self.latent is None else self.latent


class MapAutoencoder(nn.Module):
    """(n, side, side) root maps -> (n, latent) codes -> (n, side, side) root maps.

    Works on the difference from the training maps' mean, as PCA does: untrained it is as good as the mean map.
    """

    mean: Tensor

    def __init__(self, side: int, latent: int, width: int) -> None:
        super().__init__()
        sizes = [side]
        for _ in range(3):
            sizes.append((sizes[-1] + 1) // 2)
        self.side, self.latent, self.width = side, latent, width
        self.register_buffer("mean", torch.zeros(side, side))
        channels = (1, width, 2 * width, 3 * width)
        self.small = (channels[-1], sizes[-1], sizes[-1])
        flat = math.prod(self.small)
        self.encoder = nn.Sequential(
            *(
                layer
                for i in range(3)
                for layer in (nn.Conv2d(channels[i], channels[i + 1], 3, stride=2, padding=1), nn.GELU())
            )
        )
        self.to_code = nn.Linear(flat, latent)
        self.from_code = nn.Linear(latent, flat)
        decoder: list[nn.Module] = []
        for i in (3, 2, 1):
            extra = sizes[i - 1] - (2 * sizes[i] - 1)
            out = channels[i - 1]
            decoder.append(nn.ConvTranspose2d(channels[i], out, 3, stride=2, padding=1, output_padding=extra))
            if i > 1:
                decoder.append(nn.GELU())
        self.decoder = nn.Sequential(*decoder)
        final = decoder[-1]
        assert isinstance(final, nn.ConvTranspose2d) and final.bias is not None
        with torch.no_grad():
            final.weight.mul_(0.1)
            final.bias.zero_()

    def encode(self, maps: Tensor) -> Tensor:
        """(n, side, side) -> (n, latent). Maps are scaled so that their mean square is about one."""
        codes: Tensor = self.to_code(
            self.encoder((maps - self.mean)[:, None] * math.sqrt(self.side)).flatten(1)
        )
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """(n, latent) -> (n, side, side)."""
        hidden = nn.functional.gelu(self.from_code(codes)).unflatten(1, self.small)
        residual: Tensor = self.decoder(hidden).squeeze(1)
        return self.mean + residual / math.sqrt(self.side)

    def forward(self, maps: Tensor) -> Tensor:
        return self.decode(self.encode(maps))


def squared_error(maps: Tensor, rebuilt: Tensor) -> Tensor:
    """(n,): squared Euclidean distance of root maps, summed over cells."""
    return (maps - rebuilt).square().flatten(1).sum(1)


def _batches(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


@torch.no_grad()
def encode(model: MapAutoencoder, maps: Tensor, batch_size: int = 512) -> Tensor:
    """Codes (n, latent) of root maps (n, side, side), any float dtype, batch by batch."""
    return torch.cat([model.encode(maps[part].float()) for part in _batches(len(maps), batch_size)])


@torch.no_grad()
def decode(model: MapAutoencoder, codes: Tensor, batch_size: int = 512) -> Tensor:
    """Root maps (n, side, side) of codes, clamped at zero."""
    parts = [model.decode(codes[part].float()) for part in _batches(len(codes), batch_size)]
    return torch.cat(parts).clamp_min(0)


@torch.no_grad()
def mean_error(model: MapAutoencoder, maps: Tensor, batch_size: int = 512) -> float:
    """Mean over maps of the squared error."""
    total = sum(
        float(squared_error(maps[part].float(), model(maps[part].float())).sum())
        for part in _batches(len(maps), batch_size)
    )
    return total / max(1, len(maps))


def autoencoder_from(sizes: Mapping[str, int], arrays: Mapping[str, Tensor]) -> MapAutoencoder:
    """The autoencoder of these sizes with these weights. Raises ValueError when they do not fit together."""
    own = "autoencoder."
    state = {name.removeprefix(own): value for name, value in arrays.items() if name.startswith(own)}
    # Without memory first: sizes that a file claims may be of any size.
    with torch.device("meta"):
        model = MapAutoencoder(int(sizes["side"]), int(sizes["latent"]), int(sizes["width"]))
    if {name: value.shape for name, value in model.state_dict().items()} != {
        n: v.shape for n, v in state.items()
    }:
        raise ValueError("its autoencoder is not of the size that it says")
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)
