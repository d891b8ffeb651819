"""Find the patch grid and the names of the prefix tokens from what a probe saw."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from vitscope.errors import ModelError
from vitscope.models.preparing.cells import Cells, Window, edges_of
from vitscope.models.token_layout import TokenLayout

MOST_PREFIX_TOKENS = 64

_NAMES: tuple[tuple[str, str], ...] = (
    (r"(?:cls|class)_?(?:token|embedding|embed|emb)?s?", "class"),
    (r"(?:dist|distillation)_?tokens?", "distillation"),
    (r"(?:reg|register|registers|storage)_?tokens?", "register"),
)


@dataclass(frozen=True)
class GridSeen:
    """A (h, w) grid that a convolution, a pooling or an unfold gave.

    call: which convolution call it was, None for the others. windows: what it read along rows and columns, and
    read: the (h, w) that it read from, both None where they are not known. frames: how many such grids in time a
    convolution over films gave, None for pictures."""

    size: tuple[int, int]
    call: int | None
    windows: tuple[Window, Window] | None = None
    read: tuple[int, int] | None = None
    frames: int | None = None

    @property
    def patches(self) -> int:
        """Number of places of the grid, over all frames."""
        return self.size[0] * self.size[1] * (self.frames or 1)


def prefix_names(model: nn.Module) -> tuple[str, ...]:
    """Prefix tokens that the model's own parameters name, class first, then distillation, then registers."""
    counts: dict[str, int] = {}
    for path, parameter in [*model.named_parameters(), *model.named_buffers()]:
        leaf = path.rsplit(".", 1)[-1]
        for pattern, name in _NAMES:
            if re.fullmatch(pattern, leaf) and parameter.dim() <= 4:
                count = parameter.shape[-2] if parameter.dim() >= 2 else 1
                counts[name] = max(counts.get(name, 0), int(count))
    names: list[str] = []
    for name in ("class", "distillation", "register"):
        count = counts.get(name, 0)
        names += [name] if count == 1 and name != "register" else [f"{name}_{i + 1}" for i in range(count)]
    return tuple(names)


def find_layout(
    grids: Sequence[GridSeen],
    main: tuple[int, int] | None,
    size: tuple[int, int] | None,
    named: tuple[str, ...],
    grid: tuple[int, int] | None,
    prefix: tuple[str, ...] | None,
    notes: list[str],
    film: bool = False,
) -> tuple[TokenLayout | None, int | None]:
    """The token layout and the convolution call that made the grid, from the main sequence's length N.

    The grid is the last one seen before the sequence's attention that leaves at most a few prefix tokens; only
    when none was seen is it guessed from N and the picture's shape, and a note says so."""

    def with_cells(prefix: tuple[str, ...], grid: tuple[int, int], frames: int | None = None) -> TokenLayout:
        return TokenLayout(prefix, grid, None if size is None else cells_of(grids, grid, size), frames)

    if grid is not None and size is not None and (grid[0] > size[0] or grid[1] > size[1]):
        raise ModelError(f"grid={grid} has more cells than the picture has pixels, {size[0]}x{size[1]}")
    if main is None:
        return (with_cells(prefix or (), grid), None) if grid is not None else (None, None)
    N, seen_before = main
    most = min(MOST_PREFIX_TOKENS, N // 2)
    usable = [g for g in grids if (g.frames is not None) == film and 0 <= N - g.patches <= most]
    exact = [g for g in usable if N - g.patches == len(named)]
    before = [g for g in grids[:seen_before] if g in (exact or usable)]
    found = before or exact or usable
    if grid is not None and film:
        names = prefix if prefix is not None else named
        frames, rest = divmod(N - len(names), grid[0] * grid[1])
        if rest or frames < 1:
            raise ModelError(
                f"the model's {N} tokens are no whole number of frames of grid={grid} and {len(names)} prefix tokens; "
                "give grid=(h, w) of one frame and one name per prefix token"
            )
        return with_cells(names, grid, frames), None
    if grid is not None:
        count = N - grid[0] * grid[1]
        if count < 0 or (prefix is not None and len(prefix) != count):
            raise ModelError(
                f"grid={grid} with prefix={prefix or '?'} does not make the model's {N} tokens; "
                "give grid=(h, w) and one name per prefix token"
            )
        if exact and grid not in [g.size for g in usable]:
            raise ModelError(
                f"grid={grid} was given, but the model's patches are made as {found[-1].size} of {N} tokens; "
                "leave grid= out"
            )
        if not exact and count > min(MOST_PREFIX_TOKENS, N // 2):
            raise ModelError(
                f"grid={grid} leaves {count} of the model's {N} tokens without a place; give the whole grid"
            )
        return with_cells(prefix or _names(count, named), grid), _call(grids, grid)
    if size is None:
        if prefix is not None and len(prefix) >= N:
            raise ModelError(f"prefix= names {len(prefix)} tokens, but the model has {N} in all; name fewer")
        return TokenLayout(prefix or (), (1, N - len(prefix or ()))), None
    if found and prefix is not None and len(prefix) != N - found[-1].size[0] * found[-1].size[1]:
        h, w = found[-1].size
        raise ModelError(
            f"prefix= names {len(prefix)} tokens, but {h}x{w} patches leave {N - h * w} of the model's {N}; name each"
        )
    if found:
        chosen = found[-1]
        names = prefix or _names(N - chosen.patches, named)
        return with_cells(names, chosen.size, chosen.frames), chosen.call
    if film:
        notes.append(f"no grid of frames, rows and columns was seen for {N} tokens")
        return None, None
    guess = _guess(N, size, len(prefix) if prefix is not None else None, len(named))
    if guess is None:
        notes.append(f"no patch grid was seen for {N} tokens; pass grid=(h, w)")
        return None, None
    notes.append(f"patch grid {guess[0]}x{guess[1]} guessed from {N} tokens; pass grid=(h, w) if it is wrong")
    return with_cells(prefix or _names(N - guess[0] * guess[1], named), guess), None


def name_prefix(layout: TokenLayout, readout: tuple[float, ...] | None, *, text: bool = False) -> TokenLayout:
    """Call an unnamed single token ``class`` when it is what the classifier reads; in a text the first token is."""
    if text and not layout.prefix and readout is not None and readout[0] > 0.99:
        return TokenLayout(("class",), (1, layout.patches - 1))
    if layout.prefix and layout.prefix[0] == "prefix_1" and readout is not None and readout[0] > 0.4:
        return replace(layout, prefix=("class", *layout.prefix[1:]))
    return layout


def cells_of(grids: Sequence[GridSeen], grid: tuple[int, int], size: tuple[int, int]) -> Cells:
    """The pixels that each cell of ``grid`` was made from, in pictures of ``size``.

    Followed from the last window that gave this grid back to the pixels; where that way is not seen (an embedding
    without convolutions, a picture that was resized or padded inside the model) the cells are even."""
    last = next((index for index in reversed(range(len(grids))) if grids[index].size == grid), None)
    chain: list[tuple[Window, Window]] = []
    while last is not None and (windows := grids[last].windows) is not None:
        chain.insert(0, windows)
        read = grids[last].read
        if read == size:
            rows, columns = (
                edges_of([pair[axis] for pair in chain], grid[axis], size[axis]) for axis in (0, 1)
            )
            return Cells(size, rows, columns) if rows and columns else Cells.even(grid, size)
        last = next((index for index in reversed(range(last)) if grids[index].size == read), None)
    return Cells.even(grid, size)


def _names(count: int, named: tuple[str, ...]) -> tuple[str, ...]:
    if count == len(named):
        return named
    if 0 < count < len(named):
        return named[:count]
    return tuple(f"prefix_{i + 1}" for i in range(count))


def _call(grids: Sequence[GridSeen], grid: tuple[int, int]) -> int | None:
    return next((g.call for g in reversed(grids) if g.size == grid), None)


def _guess(N: int, size: tuple[int, int], prefix: int | None, named: int) -> tuple[int, int] | None:
    counts = [prefix] if prefix is not None else [named, *range(9)]
    for count in counts:
        patches = N - count
        for h in range(1, patches + 1):
            if patches % h == 0 and h * size[1] == (patches // h) * size[0]:
                return h, patches // h
    return None
