"""Which pixels of the model's input belong to which cell of its patch grid: one geometry for all that needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from vitscope.errors import ModelError


@dataclass(frozen=True)
class Window:
    """One convolution, unfolding or pooling along one axis, in pixels of what it reads."""

    kernel: int
    stride: int
    padding: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        """How many pixels lie between the first and the last one that is read, both counted."""
        return self.dilation * (self.kernel - 1) + 1


@dataclass(frozen=True)
class Cells:
    """The cells of a patch grid on the model's input.

    size: (H, W) of the input in pixels. rows, columns: the edges of the cells in pixels, h + 1 and w + 1 of them,
    rising: cell (i, j) holds the pixels rows[i]…rows[i + 1] - 1 and columns[j]…columns[j + 1] - 1. Pixels above the
    first edge or from the last edge on are read by no patch and belong to no cell: a patch of 14 pixels leaves a
    strip at the right and lower border of a picture that 14 does not divide.
    """

    size: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __post_init__(self) -> None:
        for edges, length in zip((self.rows, self.columns), self.size, strict=True):
            rising = all(first < second for first, second in pairwise(edges))
            if len(edges) < 2 or not rising or edges[0] < 0 or edges[-1] > length:
                raise ModelError(
                    f"expected at least two edges that rise from 0 to at most {length}, got {tuple(edges)[:6]}"
                )

    @classmethod
    def even(cls, grid: tuple[int, int], size: tuple[int, int]) -> Cells:
        """The whole input cut into h by w cells of nearly equal size, larger ones where it does not come out even.

        Example:
            >>> Cells.even((2, 2), (4, 5)).columns
            (0, 3, 5)
        """
        rows, columns = (
            tuple(-(-index * length // cells) for index in range(cells + 1))
            for cells, length in zip(grid, size, strict=True)
        )
        return cls(size, rows, columns)

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patch grid."""
        return len(self.rows) - 1, len(self.columns) - 1

    @property
    def whole(self) -> bool:
        """True when every pixel belongs to a cell."""
        return self.extent == (0.0, 0.0, 1.0, 1.0)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The part of the input that the cells cover: top, left, bottom, right as shares of its height and width."""
        height, width = self.size
        return (
            self.rows[0] / height,
            self.columns[0] / width,
            self.rows[-1] / height,
            self.columns[-1] / width,
        )

    def describe_unread(self) -> str:
        """Which pixels no patch reads, in words; '' when there are none.

        Example:
            >>> Cells((10, 12), (0, 5, 10), (0, 5, 10)).describe_unread()
            'the last 2 columns of pixels belong to no cell'
        """
        height, width = self.size
        strips = [
            (self.rows[0], "first", "rows"), (height - self.rows[-1], "last", "rows"),
            (self.columns[0], "first", "columns"), (width - self.columns[-1], "last", "columns"),
        ]  # fmt: skip
        words = [f"the {end} {count} {what} of pixels" for count, end, what in strips if count]
        return f"{' and '.join(words)} belong to no cell" if words else ""

    def index(self, device: torch.device | str = "cpu") -> Tensor:
        """The number of each pixel's cell in row-major order, (H, W) int64; -1 where no patch reads."""
        row, column = (
            self._axis(self.rows, self.size[0], device),
            self._axis(self.columns, self.size[1], device),
        )
        cell = row[:, None] * self.grid[1] + column[None, :]
        return torch.where((row >= 0)[:, None] & (column >= 0)[None, :], cell, -1)

    def kept(self, keep: Tensor) -> Tensor:
        """Patches (M, P) bool at the size of the input, (M, 1, H, W): True where the pixel's patch is kept.

        Pixels that no patch reads are kept: taking them away would change nothing."""
        return self.lay(keep, True).unsqueeze(1)

    def lay(self, values: Tensor, outside: float | bool) -> Tensor:
        """One value per patch (M, P) given to all pixels of its cell, (M, H, W); ``outside`` where no patch reads."""
        padded = functional.pad(values, (0, 1), value=outside)  # index -1 picks the last entry
        return padded[:, self.index(values.device)]

    def sums(self, values: Tensor) -> Tensor:
        """Values of pixels added up per cell: (B, H, W) -> (B, h, w) float32; pixels of no cell are left out."""
        index = self.index(values.device).flatten()
        flat = values.float().flatten(1)
        total = flat.new_zeros(flat.shape[0], self.grid[0] * self.grid[1] + 1)
        total.index_add_(1, index.where(index >= 0, total.shape[1] - 1), flat)
        return total[:, :-1].reshape(-1, *self.grid)

    def means(self, values: Tensor) -> Tensor:
        """Mean of the pixels of each cell: (B, H, W) -> (B, h, w) float32."""
        area = self.sums(torch.ones(1, *self.size, device=values.device))
        return self.sums(values) / area

    def spread(self, maps: Tensor, mode: str = "nearest") -> Tensor:
        """Maps (B, h, w) at the size of the input, (B, H, W) float32.

        mode: ``nearest`` gives each pixel the value of its cell, ``bilinear`` interpolates between the centres of the
        cells. Pixels of no cell get the map's smallest value, so that they never rank above a cell."""
        maps = maps.float()
        lowest = maps.flatten(1).amin(1)[:, None, None]
        index = self.index(maps.device)
        if mode == "nearest":
            spread = maps.flatten(1)[:, index.clamp_min(0)]
        else:
            covered = (self.rows[-1] - self.rows[0], self.columns[-1] - self.columns[0])
            inner = functional.interpolate(maps[:, None], size=covered, mode=mode, align_corners=False)[:, 0]
            height, width = self.size
            margins = (
                self.columns[0], width - self.columns[-1],
                self.rows[0], height - self.rows[-1],
            )  # fmt: skip
            spread = functional.pad(inner, margins)
        return torch.where(index >= 0, spread, lowest)

    @staticmethod
    def _axis(edges: tuple[int, ...], length: int, device: torch.device | str) -> Tensor:
        """The cell of each pixel along one axis, -1 outside."""
        bounds = torch.tensor(edges, device=device)
        place = torch.bucketize(torch.arange(length, device=device), bounds, right=True) - 1
        return place.where(place < len(edges) - 1, -1)


def edges_of(windows: Sequence[Window], cells: int, length: int) -> tuple[int, ...] | None:
    """The edges of ``cells`` cells along one axis of a picture ``length`` pixels long.

    windows: what leads from the pixels to the grid, in the order of the forward pass. A cell is the strip one stride
    long around the centre of what its patch reads; the first and the last one reach as far as any patch reads. None
    where the strips do not lie in the picture, so that the windows cannot be what made this grid.
    """
    scale, centre = 1.0, 0.5  # centre of pixel i of a level: scale * i + centre, in pixels of the picture
    low, high, step = (
        0,
        0,
        1,
    )  # first and last pixel that element 0 reads, and the distance to the next element
    for window in windows:
        middle = (window.reach - 1) / 2 - window.padding
        centre, scale = centre + scale * middle, scale * window.stride
        low = low - step * window.padding
        high = high + step * (window.reach - 1 - window.padding)
        step *= window.stride
    first, last = max(0, low), min(length, high + step * (cells - 1) + 1)
    inner = [int(centre + scale * (index - 0.5) + 0.5) for index in range(1, cells)]
    edges = (first, *inner, last)
    return edges if all(a < b for a, b in pairwise(edges)) else None
