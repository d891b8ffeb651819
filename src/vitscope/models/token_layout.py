"""Where the tokens of a model lie: prefix tokens, then the patch grid, and the pixels of each patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vitscope.errors import ModelError
from vitscope.models.preparing.cells import Cells


@dataclass(frozen=True)
class TokenLayout:
    """Where each token of the sequence lies: named prefix tokens, then the patch grid in row-major order.

    Args:
        prefix: The names of the tokens before the patches, such as ``class``, ``distillation``, ``register``.
        grid: Rows and columns (h, w) of the patches.
        cells: Which pixels of the model's input each patch covers; None for texts, and where no picture size is known.
        frames: In films, how many such grids follow each other in time (a patch may span several frames of the film);
            None for pictures.

    Example:
        >>> from vitscope.models import TokenLayout
        >>> layout = TokenLayout(("class",), (14, 14))
        >>> layout.describe(), layout.patch_slice
        ('class + 14x14 patches = 197 tokens', slice(1, 197, None))
    """

    prefix: tuple[str, ...]
    grid: tuple[int, int]
    cells: Cells | None = field(default=None, compare=False)
    frames: int | None = None

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> TokenLayout:
        """What ``dataclasses.asdict`` made of a layout, back; raises KeyError or ValueError for anything else."""
        height, width = (int(size) for size in record["grid"])
        cells, frames = record["cells"], record["frames"]
        if cells is not None:
            rows, columns = (int(size) for size in cells["size"])
            cells = Cells((rows, columns), tuple(cells["rows"]), tuple(cells["columns"]))
        prefix = tuple(str(name) for name in record["prefix"])
        return TokenLayout(prefix, (height, width), cells, None if frames is None else int(frames))

    @property
    def prefix_count(self) -> int:
        """Number of tokens before the patches."""
        return len(self.prefix)

    @property
    def patches(self) -> int:
        """Number of patch tokens, h * w, in films t * h * w."""
        return self.grid[0] * self.grid[1] * (self.frames or 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """The form of a map: (h, w), in films (t, h, w)."""
        return self.grid if self.frames is None else (self.frames, *self.grid)

    @property
    def tokens(self) -> int:
        """Length N of the whole sequence."""
        return self.prefix_count + self.patches

    @property
    def patch_slice(self) -> slice:
        """Slice of the patch tokens in the sequence."""
        return slice(self.prefix_count, self.tokens)

    @property
    def class_index(self) -> int | None:
        """Position of the class token, None when the model has none."""
        return self.prefix.index("class") if "class" in self.prefix else None

    def to_grid(self, values: Tensor) -> Tensor:
        """Fold the last axis into the grid; prefix tokens are left out.

        Args:
            values: (..., N) for all tokens or (..., P) for the patches.

        Returns:
            (..., h, w), of films (..., t, h, w).

        Raises:
            ModelError: The last axis is of neither length.

        Example:
            >>> import torch
            >>> from vitscope.models import TokenLayout
            >>> TokenLayout(("class",), (1, 2)).to_grid(torch.tensor([9.0, 1.0, 2.0])).tolist()
            [[1.0, 2.0]]
        """
        if values.shape[-1] == self.tokens and self.prefix_count:
            values = values[..., self.patch_slice]
        if values.shape[-1] != self.patches:
            raise ModelError(
                f"expected {self.tokens} tokens or {self.patches} patches on the last axis, "
                f"got {values.shape[-1]}; pass grid=(h, w) and prefix= to open_model if the layout is wrong"
            )
        return values.reshape(*values.shape[:-1], *self.shape)

    def cells_at(self, size: tuple[int, int]) -> Cells:
        """The cells on pictures of ``size`` (H, W): as they were seen, even ones for a size that was not."""
        if self.cells is not None and self.cells.size == tuple(size):
            return self.cells
        return Cells.even(self.grid, (int(size[0]), int(size[1])))

    def describe(self) -> str:
        """One line: ``class + 14x14 patches = 197 tokens``."""
        head = " + ".join(self.prefix)
        grid = f"{'x'.join(map(str, self.shape))} patches"
        return f"{head} + {grid} = {self.tokens} tokens" if head else f"{grid} = {self.tokens} tokens"
