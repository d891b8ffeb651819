"""A copy of the model whose weights are drawn anew from the top down, for the parameter randomisation tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from vitscope.interruption import held
from vitscope.tracing import Vit


class Cascade:
    """Levels of re-initialisation: the classifier, then each block from the last to the first, then all the rest.

    The user's model is never touched: everything happens in one copy. ``levels()`` yields the opened copy with one
    level more randomised at each step; the weights of level i depend on ``seed`` and i only, so every batch and
    every shard sees the same randomised models.
    """

    def __init__(self, vit: Vit, seed: int) -> None:
        self._seed = seed
        module = copy.deepcopy(vit.model)
        self._vit = type(vit)(
            replace(vit.loaded, module=module), precision=vit.precision, overrides=vit.overrides
        )
        # Weights are drawn on the CPU, so that every device sees the same ones.
        self._drawn = copy.deepcopy(vit.model).cpu()
        self._trained = {name: value.clone() for name, value in self._drawn.state_dict().items()}
        anatomy = vit.anatomy
        paths = [anatomy.classifier] if anatomy.classifier else []
        paths += [block.path for block in reversed(anatomy.blocks)]
        self._parts = [_parameters_under(self._vit.model, path) for path in paths]
        named = {name for part in self._parts for name in part}
        rest = [name for name, _ in self._vit.model.named_parameters() if name not in named]
        self._parts.append(rest)
        self.names = (*paths, "rest")

    def levels(self) -> Iterator[Vit]:
        """The opened copy after each level; restored when the loop ends or is left."""
        try:
            for level, part in enumerate(self._parts):
                _randomise(self._drawn, set(part), self._seed * 1000 + level)
                self._vit.model.load_state_dict(self._drawn.state_dict())
                yield self._vit
        finally:
            self._restore()

    def last(self) -> Iterator[Vit]:
        """The opened copy with every weight drawn anew, once."""
        try:
            for level, part in enumerate(self._parts):
                _randomise(self._drawn, set(part), self._seed * 1000 + level)
            self._vit.model.load_state_dict(self._drawn.state_dict())
            yield self._vit
        finally:
            self._restore()

    def _restore(self) -> None:
        self._drawn.load_state_dict(self._trained)
        self._vit.model.load_state_dict(self._trained)


def _parameters_under(model: nn.Module, path: str) -> list[str]:
    return [name for name, _ in model.named_parameters() if name == path or name.startswith(f"{path}.")]


def _randomise(model: nn.Module, names: set[str], seed: int) -> None:
    """Draw the named parameters anew: by the module's own initialisation where it has one (weights and biases),
    else by shuffling their entries, which keeps their distribution. Global random state is put back."""
    with held(), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for path, module in model.named_modules():
            own = {n for n, _ in module.named_parameters(recurse=False)}
            wanted = {n for n in own if (f"{path}.{n}" if path else n) in names}
            if not wanted:
                continue
            kept = {n: getattr(module, n).clone() for n in own - wanted}
            reset = getattr(module, "reset_parameters", None)
            if callable(reset) and not _is_norm(module):
                reset()
                for name, value in kept.items():
                    getattr(module, name).copy_(value)
                continue
            for name in sorted(wanted):
                parameter = getattr(module, name)
                order = torch.randperm(parameter.numel()).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))


def _is_norm(module: nn.Module) -> bool:
    # A norm's own initialisation is ones and zeros, no draw at all: its learnt values are shuffled instead.
    return "norm" in type(module).__name__.lower()
