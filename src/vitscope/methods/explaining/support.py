"""What each method would do with one model: whether it applies, and what it reads out of it."""

from __future__ import annotations

from dataclasses import dataclass

from vitscope.methods.daam import by_tokens
from vitscope.methods.method_info import MethodInfo
from vitscope.methods.registry import methods
from vitscope.models.anatomy import Anatomy

READOUTS = {
    "class": "the class token",
    "distillation": "the distillation token",
    "class+distillation": "the class and the distillation token, half each",
    "mean": "the patches, uniformly",
    "class+mean": "the class token and the patches, half each",
    "mean of all tokens": "all tokens, uniformly",
    "attention": "the pooling attention's own row",
    "other": "the tokens that the output's gradient reaches",
    "none": "what the target's gradient reaches",
}
"""The row from which attention is followed back, by the anatomy's pooling."""

_BY_FAMILY = {
    "control": "nothing of the model",
    "pixel-gradient": "the pixels",
    "black-box": "the score alone",
    "residual-stream": "every token of every block's input",
    "lrp": "every token of the patch embedding",
    "cam": "the tokens of one block",
}


@dataclass(frozen=True)
class Support:
    """One method on one model.

    reason: why it does not apply, None when it does. reads: what it reads out. blocks: which blocks it follows. cells:
    where the values of its map lie on the picture."""

    name: str
    reason: str | None
    reads: str
    blocks: str
    cells: str

    @property
    def applies(self) -> bool:
        """Whether the method serves this model."""
        return self.reason is None


def support(anatomy: Anatomy) -> list[Support]:
    """Every registered method on a model of this anatomy.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.methods.explaining.support import support
        >>> found = {each.name: each for each in support(vs.open_model("bundled/shapes").anatomy)}
        >>> found["rollout"].reads
        'the class token'
    """
    return [_support(info, anatomy) for info in methods()]


def describe_readout(anatomy: Anatomy) -> str:
    """What a class's score reads of the last block's tokens, in words."""
    names = READOUTS.get(anatomy.pooling)
    return names or " and ".join(
        READOUTS.get(part, f"the token '{part}'") for part in anatomy.pooling.split("+")
    )


def describe_chain(anatomy: Anatomy) -> str:
    """Which blocks are followed, first to last, in words."""
    if not anatomy.blocks:
        return "none"
    first, last = anatomy.blocks[0].path, anatomy.blocks[-1].path
    return first if first == last else f"{first} to {last} ({len(anatomy.blocks)})"


def describe_cells(anatomy: Anatomy) -> str:
    """Where the patches lie on the picture, in words."""
    layout, size = anatomy.layout, anatomy.image_size
    if layout is None or size is None:
        return "on no single grid" if size else "one per token"
    cells = layout.cells_at(size)
    height, width = (
        edges[len(edges) // 2] - edges[len(edges) // 2 - 1] for edges in (cells.rows, cells.columns)
    )
    unread = cells.describe_unread()
    return f"{layout.grid[0]}x{layout.grid[1]} of {height}x{width} pixels" + (f"; {unread}" if unread else "")


def _support(info: MethodInfo, anatomy: Anatomy) -> Support:
    reason = info.why_not(anatomy)
    if reason is not None:
        return Support(info.name, reason, "", "", "")
    reads = (
        describe_readout(anatomy)
        if info.follows_rows
        else _BY_FAMILY.get(info.family, "every block's tokens")
    )
    by_stage = anatomy.layout is None or (info.family == "flow" and not by_tokens(anatomy))
    if by_stage and info.family == "flow":
        reads = "the last feature map at each resolution"
    outside = info.family in ("control", "pixel-gradient", "black-box")
    blocks = "none" if outside else "stages" if by_stage else describe_chain(anatomy)
    cells = "of the finest stage shown" if by_stage and info.family == "flow" else describe_cells(anatomy)
    if anatomy.layout is None and outside and anatomy.image_size is not None:
        cells = "squares of 32 pixels"
    return Support(info.name, None, reads, blocks, cells)
