"""A model's probes, one for each size of input, run when they are first asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vitscope.errors import ModelError
from vitscope.tracing.calls.calling import Inputs, pictures_of, select, with_pictures
from vitscope.tracing.calls.failed_forward import DoesNotRunError
from vitscope.tracing.calls.guard import quiet
from vitscope.tracing.passes.stages import Stage, find_stages
from vitscope.tracing.probing.conclusion import Probe
from vitscope.tracing.probing.overrides import Overrides
from vitscope.tracing.probing.probe import probe

GUESSED_SIZES = (224, 256, 384, 96, 64, 32, 336, 448, 512, 128, 48, 28)


class Probes:
    """What was learned of one model, by the size of its inputs."""

    def __init__(self, model: nn.Module, source: str, family: str, overrides: Overrides) -> None:
        self.model, self.source, self.family, self.overrides = model, source, family, overrides
        self._probes: dict[tuple[Any, ...], Probe] = {}
        self._stages: dict[tuple[int, int], tuple[Stage, ...]] = {}
        self._channels: int | None = None

    def at(self, inputs: Inputs) -> Probe:
        """The probe at the size of these inputs."""
        if isinstance(inputs, Tensor):
            key: tuple[Any, ...] = tuple(inputs.shape[1:])
        else:
            key = tuple(
                (name, tuple(value.shape[1:]) if isinstance(value, Tensor) else repr(value))
                for name, value in inputs.items()
            )
        if key not in self._probes:
            pictures = pictures_of(inputs)
            sample = select(inputs, torch.tensor([0, 0]))
            if pictures is not None:
                sample = with_pictures(sample, self._blank_like(pictures))
            self._probes[key] = probe(
                self.model, sample, source=self.source, family=self.family, overrides=self.overrides
            )
            self._channels = self._channels if pictures is None else int(pictures.shape[-3])
        return self._probes[key]

    def at_size(self, size: tuple[int, int]) -> Probe:
        """The probe at pictures of (H, W), with as many channels as the model takes.

        Raises ModelError when it runs on none of them."""
        failed: ModelError | None = None
        frames = getattr(getattr(self.model, "config", None), "num_frames", None)
        films = [frames] if isinstance(frames, int) and frames > 0 else []
        for channels in self._candidates():
            try:
                return self.at(self._blank(size, *films, channels))
            except ModelError as error:
                failed = failed or error
        assert failed is not None
        raise failed

    def stages_at(self, inputs: Inputs) -> tuple[Stage, ...]:
        """The feature maps at each resolution for the size of these inputs; none for a text model."""
        pictures = pictures_of(inputs)
        if not isinstance(inputs, Tensor) or pictures is None or pictures.dim() != 4:
            return ()
        key = (inputs.shape[-2], inputs.shape[-1])
        if key not in self._stages:
            with quiet(self.model, gradient=False):
                self._stages[key] = find_stages(self.model, self._blank(key, inputs.shape[1]))
        return self._stages[key]

    def guess_size(self) -> tuple[int, int]:
        """An input size that the model runs on. Raises ModelError when it runs on none of the usual ones."""
        for size in GUESSED_SIZES:
            try:
                self.at_size((size, size))
            except DoesNotRunError as error:
                if not error.by_size:
                    raise
                continue
            return (size, size)
        raise ModelError(
            f"'{self.source}' ran on none of the usual picture sizes; give its own with image_size="
        )

    def _blank(self, size: tuple[int, int], *leading: int) -> Tensor:
        """Two different random pictures (leading: C) or films (T, C) of that size, the same every time."""
        return self._blank_like(torch.empty(1, *leading, *size, device="meta"))

    def _blank_like(self, pictures: Tensor) -> Tensor:
        """Two different random pictures (or films) of the same shape, the same every time."""
        generator = torch.Generator().manual_seed(0)
        first = next(self.model.parameters(), None)
        floating = next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)
        device = first.device if first is not None else torch.device("cpu")
        with torch.inference_mode(False):
            return torch.randn(2, *pictures.shape[1:], generator=generator).to(device, floating)

    def _candidates(self) -> list[int]:
        """How many channels pictures may have: what was seen, else what the first convolution takes, else 3 or 1."""
        if self._channels is not None:
            return [self._channels]
        first = next((m for m in self.model.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))), None)
        declared = [first.in_channels] if first is not None and first.groups == 1 else []
        return list(dict.fromkeys((*declared, 3, 1)))
