"""A convolutional autoencoder for canonical attention maps, in plain PyTorch.

Li et al. 2023 summarise the patterns of all heads by an autoencoder's codes. Here the input is the square root of a
canonical map, so the mean squared error is a squared Hellinger distance, and PCA (`codes.py`) minimises the same
thing linearly: the two are comparable on held-out pictures.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from vitscope.errors import DamagedError
from vitscope.heads.errors import HeadsError
from vitscope.interruption import held
from vitscope.options.bounds import BatchSize, Range, Seed
from vitscope.options.door import check_fields
from vitscope.progress import CountedStage, Progress
from vitscope.storage import tensors
from vitscope.storage.notes import decoding
from vitscope.storage.recipe import digest_of

KIND = "training of an autoencoder"


@dataclass(frozen=True)
class AutoencoderOptions:
    """How the autoencoder is built and trained. Early stopping watches the held-out error.

    latent: numbers in a code; None takes 24, and fewer where there are few maps."""

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
        """Numbers in a code learned from so many maps."""
        return min(24, max(2, maps // 4)) if self.latent is None else self.latent


@dataclass(frozen=True)
class Epoch:
    """One epoch of training; errors are mean squared errors per map (summed over cells)."""

    number: int
    train_error: float
    held_out_error: float
    best_error: float
    seconds: float


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


def train_autoencoder(
    train: Tensor,
    held_out: Tensor,
    options: AutoencoderOptions | None = None,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    what: str = "training the autoencoder",
) -> tuple[MapAutoencoder, list[Epoch]]:
    """Train on root maps (n, side, side), stop early on the held-out ones; the best weights are returned.

    With `checkpoint` (a .safetensors file) the whole state is written after every epoch; a run that was interrupted
    goes on from there and ends bit-equal to one that was not. A damaged one is as if it were not there; one made with
    other options or data, and a file of another kind, are refused.
    ``progress`` is told of every epoch, as the stage ``what``; those that early stopping saves count as done.
    The caller's random state is not touched.
    """
    options = options or AutoencoderOptions()
    options = replace(options, latent=options.code_size(len(train)))
    if len(train) < 2 or len(held_out) < 1:
        raise HeadsError(
            f"expected at least 2 training maps and 1 held-out map, got {len(train)} and {len(held_out)}; "
            "give more pictures"
        )
    side = int(train.shape[-1])
    with held(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = MapAutoencoder(side, options.code_size(len(train)), options.width)
    model.mean.copy_(torch.stack([part.float().sum(0) for part in train.split(4096)]).sum(0) / len(train))
    # Few maps still get some sixteen steps an epoch.
    batch_size = min(options.batch_size, max(16, len(train) // 16))
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=1e-4)
    order = torch.Generator().manual_seed(options.seed)
    run = _Run(
        model, optimiser, order, {**asdict(options), "maps": _digest(train), "held_out": _digest(held_out)}
    )
    checkpoint = None if checkpoint is None else tensors.with_ending(checkpoint)
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint)
    steps = math.ceil(len(train) / batch_size)
    stage = CountedStage(progress, what, options.epochs, unit="epochs", checkpoint=checkpoint)
    stage.begin(run.epoch)
    # An epoch's cosine step depends on its number only, so that a resumed run takes the same steps.
    while run.epoch < options.epochs and run.epoch - run.best_epoch <= options.patience:
        stage.check()
        started = time.monotonic()
        rate = options.learning_rate * 0.5 * (1 + math.cos(math.pi * run.epoch / options.epochs))
        for group in optimiser.param_groups:
            group["lr"] = rate
        permutation = torch.randperm(len(train), generator=order)
        total = 0.0
        for step in range(steps):
            chosen = permutation[step * batch_size : (step + 1) * batch_size]
            batch = train[chosen].float()
            with torch.enable_grad():
                loss = squared_error(batch, model(batch)).mean()
                optimiser.zero_grad()
                loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(chosen)
        run.finish_epoch(total / len(train), mean_error(model, held_out), time.monotonic() - started)
        if checkpoint is not None:
            run.save(checkpoint)
        stage.advance()
    stage.reach(options.epochs)
    model.load_state_dict(run.best_state)
    model.eval().requires_grad_(False)
    return model, run.history


class _Run:
    """The state of a training run: everything that a checkpoint must hold."""

    def __init__(
        self,
        model: MapAutoencoder,
        optimiser: torch.optim.Optimizer,
        order: torch.Generator,
        settings: dict[str, float | str],
    ) -> None:
        self.model, self.optimiser, self.order, self.settings = model, optimiser, order, settings
        self.epoch, self.best_epoch, self.best_error = 0, 0, math.inf
        self.best_state = {name: value.clone() for name, value in model.state_dict().items()}
        self.history: list[Epoch] = []

    def finish_epoch(self, train: float, held_out: float, seconds: float) -> None:
        self.epoch += 1
        if held_out < self.best_error:
            self.best_error, self.best_epoch = held_out, self.epoch
            self.best_state = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.history.append(Epoch(self.epoch, train, held_out, self.best_error, seconds))

    def save(self, path: Path) -> None:
        """Write the whole state to one file. Raises OutputError."""
        optimiser = self.optimiser.state_dict()
        arrays = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        arrays |= {f"best.{name}": value for name, value in self.best_state.items()}
        arrays |= {
            f"optimiser.{index}.{name}": value
            for index, state in optimiser["state"].items()
            for name, value in state.items()
        }
        arrays["order"] = self.order.get_state()
        note = {
            "settings": self.settings,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_error": self.best_error,
            "groups": optimiser["param_groups"],
            "history": [asdict(entry) for entry in self.history],
        }
        tensors.save(path, KIND, arrays, note)

    def load(self, path: Path) -> None:
        """Go on from a file that `save` wrote; a damaged one is as if it were not there.

        Raises HeadsError for another run's, StorageError for a file of another kind: neither is written over."""
        try:
            arrays, note = tensors.load(path, KIND)
            with decoding(path, KIND):
                settings = dict(note["settings"])
                if settings == self.settings:
                    self._take(arrays, note)
        except DamagedError:
            return
        if settings != self.settings:
            raise HeadsError(
                f"expected a checkpoint made with the same options on the same maps in {path}, got another run's; "
                "delete it or choose another path"
            )

    def _take(self, arrays: dict[str, Tensor], note: dict[str, Any]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimiser": {}, "order": {}}
        for name, value in arrays.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["optimiser"].items():
            index, _, rest = name.partition(".")
            state.setdefault(int(index), {})[rest] = value
        history = [Epoch(**entry) for entry in note["history"]]
        numbers = int(note["epoch"]), int(note["best_epoch"]), float(note["best_error"])
        self.model.load_state_dict(parts["model"])
        self.optimiser.load_state_dict({"state": state, "param_groups": note["groups"]})
        self.order.set_state(arrays["order"])
        self.best_state, self.history = parts["best"], history
        self.epoch, self.best_epoch, self.best_error = numbers


def training_file(train: Tensor, held_out: Tensor, options: AutoencoderOptions) -> str:
    """The name of the file for the state of this training: another for other maps or options."""
    return f"autoencoder-{digest_of([options, _digest(train), _digest(held_out)])[:16]}.safetensors"


def _digest(maps: Tensor) -> str:
    """Short hash of maps: a checkpoint belongs to the maps that it was trained on."""
    digest = hashlib.sha256(repr((tuple(maps.shape), str(maps.dtype))).encode())
    for part in maps.split(4096):
        digest.update(part.contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def with_seed(options: AutoencoderOptions, seed: int) -> AutoencoderOptions:
    """The same options under another seed."""
    return replace(options, seed=seed)
