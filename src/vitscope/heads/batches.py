"""Pictures in, named batches out: at this border every loose form becomes (names, ready tensor)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import PictureError
from vitscope.heads.problems import HeadsError
from vitscope.models import find_pictures, read_picture
from vitscope.tracing import Vit

Progress = Callable[[str, int, int], None]
"""Called with (what is done, steps finished, steps in total)."""


@dataclass(frozen=True)
class Batch:
    """names and positions of the pictures (position in the whole input), and their tensor (B, 3, H, W)."""

    names: tuple[str, ...]
    positions: tuple[int, ...]
    pixels: Tensor


@dataclass
class PictureSource:
    """A re-iterable source of batches. Files are read batch by batch, so any number fits in memory.

    With `skip_bad` a file that cannot be read is remembered in `skipped` and left out; without, it raises.
    """

    items: Sequence[Any]
    names: tuple[str, ...]
    tensor: Tensor | None = None
    skip_bad: bool = False
    skipped: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names) - len(self.skipped)

    def batches(self, vit: Vit, size: int) -> Iterator[Batch]:
        """Batches of at most `size` pictures, in order."""
        for start in range(0, len(self.names), size):
            positions = [i for i in range(start, min(start + size, len(self.names))) if i not in self.skipped]
            if self.tensor is not None:
                yield self._batch(positions, vit.images(self.tensor[start : start + size]))
                continue
            good, pictures = [], []
            for position in positions:
                try:
                    item = self.items[position]
                    pictures.append(read_picture(item) if isinstance(item, (str, Path)) else item)
                    good.append(position)
                except PictureError as error:
                    if not self.skip_bad:
                        raise
                    self.skipped[position] = str(error)
            if good:
                yield self._batch(good, vit.images(pictures))
        if not len(self):
            raise PictureError(f"none of the {len(self.names)} pictures can be read; check the folder")

    def _batch(self, positions: Sequence[int], pixels: Tensor) -> Batch:
        return Batch(tuple(self.names[i] for i in positions), tuple(positions), pixels)


def picture_source(images: Any, *, skip_bad: bool = False) -> PictureSource:
    """From a folder, glob, path, list of paths / PIL pictures / arrays, or a ready tensor (n, 3, H, W)."""
    if isinstance(images, PictureSource):
        return images
    if isinstance(images, Tensor):
        pixels = images[None] if images.dim() == 3 else images
        if pixels.dim() != 4 or not len(pixels):
            raise HeadsError(
                f"expected at least one picture as a tensor (n, 3, H, W), got {tuple(images.shape)}; stack pictures"
            )
        return PictureSource((), tuple(str(i) for i in range(len(pixels))), pixels)
    if isinstance(images, (str, Path)):
        images = find_pictures([images])
    items = list(images) if isinstance(images, (list, tuple)) else [images]
    if not items:
        raise HeadsError("expected at least one picture, got none; give a folder with pictures")
    if all(isinstance(item, Tensor) for item in items):
        return picture_source(torch.stack(items))
    paths = all(isinstance(item, (str, Path)) for item in items)
    names = (
        _short_names([Path(item) for item in items]) if paths else tuple(str(i) for i in range(len(items)))
    )
    return PictureSource(items, names, skip_bad=skip_bad)


def _short_names(paths: list[Path]) -> tuple[str, ...]:
    """File names, with as many parent folders as it takes to tell them apart."""
    for depth in range(1, 6):
        names = tuple("/".join(path.parts[-depth:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    return tuple(str(path) for path in paths)


def quiet(_: str, __: int, ___: int) -> None:
    """The progress callback that says nothing."""
