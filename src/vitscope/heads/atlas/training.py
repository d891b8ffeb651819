"""Train the autoencoder, stop early on held-out maps, and go on after an interruption."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import DamagedError
from vitscope.heads.atlas.autoencoder import AutoencoderOptions, MapAutoencoder, mean_error, squared_error
from vitscope.heads.errors import HeadsError
from vitscope.interruption import held
from vitscope.progress import CountedStage, Progress
from vitscope.storage import tensors
from vitscope.storage.notes import decoding
from vitscope.storage.recipe import digest_of

KIND = "training of an autoencoder"


@dataclass(frozen=True)
class Epoch:
    """One epoch of training; errors are mean squared errors per map (summed over cells)."""

    number: int
    train_error: float
    held_out_error: float
    best_error: float
    seconds: float


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
