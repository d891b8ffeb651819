"""Does token i show patch i? A change of one patch's pixels must move that patch's token first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vitscope.models.anatomy import Anatomy
from vitscope.models.preparing.cells import Cells
from vitscope.models.token_layout import TokenLayout
from vitscope.tracing.calls.blocks import get_module, is_tokens
from vitscope.tracing.calls.calling import Inputs, call_model, with_pictures
from vitscope.tracing.calls.guard import quiet
from vitscope.tracing.calls.scope import own
from vitscope.tracing.passes.forward_pass import compose_tokens

SHUFFLES = (
    "its tokens come in another order each time or some are dropped, so no token is known to show a certain patch; a "
    "masked autoencoder does that: set its model.config.mask_ratio = 0, and its tokens are kept in order, or load its "
    "encoder as a plain ViT"
)
ELSEWHERE = (
    "its tokens are not in the order of the patches (a change of the patch in {place} of the "
    "{grid} grid moved {where} most); pass the picture in the order it wants, or grid= and prefix= if they are wrong"
)


class _Enough(Exception):
    """Ends a forward when its first block is reached."""


def why_out_of_order(model: nn.Module, anatomy: Anatomy, pictures: Tensor, inputs: Inputs) -> str | None:
    """The reason why tokens cannot be taken for patches; None when a few patches over the grid are in their places.

    pictures: two different ones, (2, C, H, W), or films (2, T, C, H, W), of which a patch has some frames. inputs: what
    the model is given, with these pictures in it. Two passes up to the first block, with six pictures and with one;
    models whose first block does not take one token for each patch are not checked."""
    layout = anatomy.layout
    if layout is None or layout.cells is None or not anatomy.blocks:
        return None
    patches = _spread(layout)
    batch = _changed(pictures, layout, layout.cells, patches)
    first = torch.zeros(len(batch), dtype=torch.long)
    with quiet(model, gradient=False), torch.random.fork_rng(devices=[]):
        entering = _first_tokens(model, anatomy, with_pictures(inputs, batch, first))
        again = _first_tokens(model, anatomy, with_pictures(inputs, batch[:1], first[:1]))
    if entering is None or again is None or len(entering) != len(batch):
        return None  # windows or patches of pixels lie in the first axis there, no pictures
    tokens = entering.float()
    if tokens.shape[1] not in (layout.tokens, layout.patches):
        return None
    scale = tokens[0].abs().max().clamp_min(1e-12)
    for other in (tokens[1], again[0].float()):
        if other.shape != tokens[0].shape or float((other - tokens[0]).abs().max()) > 1e-3 * float(scale):
            return SHUFFLES
    moved = (tokens[2:] - tokens[0]).norm(dim=-1)
    if moved.shape[1] == layout.tokens:
        moved = moved[:, layout.patch_slice]
    return _misplaced(moved, patches, layout)


def _misplaced(moved: Tensor, patches: list[int], layout: TokenLayout) -> str | None:
    """moved: how far each patch's token went when one patch was changed, (patches, P)."""
    size = "x".join(map(str, layout.shape))
    for change, patch in zip(moved, patches, strict=True):
        place, found = _place(patch, layout), _place(int(change.argmax()), layout)
        if float(change.max()) == 0:
            return ELSEWHERE.format(place=_words(place, layout), grid=size, where="no token")
        # where patches overlap, a neighbour may move a little more than the patch's own token
        several = int((change > 1e-3 * change.max()).sum()) > 1
        if max(abs(a - b) for a, b in zip(place, found, strict=True)) > (1 if several else 0):
            where = f"the token of {_words(found, layout)}"
            return ELSEWHERE.format(place=_words(place, layout), grid=size, where=where)
    return None


def _place(patch: int, layout: TokenLayout) -> tuple[int, int, int]:
    """Frame, row and column of a patch; frame 0 in pictures."""
    frame, place = divmod(patch, layout.grid[0] * layout.grid[1])
    return (frame, *divmod(place, layout.grid[1]))


def _words(place: tuple[int, int, int], layout: TokenLayout) -> str:
    frame, row, column = place
    return f"{'' if layout.frames is None else f'frame {frame}, '}row {row}, column {column}"


def _spread(layout: TokenLayout) -> list[int]:
    """Four patches that no shift, mirroring or turning of the grid leaves in their places all at once."""
    (h, w), t = layout.grid, layout.frames or 1
    places = [(0, 0, w - 1), (t - 1, h - 1, 0), (t // 2, h // 2, w // 2), (t // 3, h // 3, (2 * w) // 3)]
    return [(frame * h + row) * w + column for frame, row, column in dict.fromkeys(places)]


def _changed(pictures: Tensor, layout: TokenLayout, cells: Cells, patches: list[int]) -> Tensor:
    """The first picture twice, then once for each patch with the second picture's pixels in it."""
    first, second = pictures[0], pictures[1]
    keep = torch.ones(len(patches), layout.patches, dtype=torch.bool, device=pictures.device)
    keep[torch.arange(len(patches)), torch.tensor(patches)] = False
    if layout.frames is None:
        kept = cells.kept(keep)
    else:  # the grids in time share the film's frames in equal parts
        kept = cells.kept(keep.flatten(0, 1).reshape(-1, layout.grid[0] * layout.grid[1]))
        kept = kept.reshape(len(patches), layout.frames, *kept.shape[1:])
        frame = torch.arange(first.shape[0], device=pictures.device) * layout.frames // first.shape[0]
        kept = kept[:, frame]
    return torch.cat([first[None], first[None], torch.where(kept, first, second)])


def _first_tokens(model: nn.Module, anatomy: Anatomy, inputs: Inputs) -> Tensor | None:
    """What enters the first block, (B, N, D)."""
    block = anatomy.blocks[0]
    held: list[Tensor] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        held.extend(t.detach() for t in (*args, *kwargs.values()) if is_tokens(t, block.width))
        raise _Enough

    handle = get_module(model, block.path).register_forward_pre_hook(own(before), with_kwargs=True)
    try:
        call_model(model, inputs)
    except _Enough:
        return compose_tokens(held, anatomy.layout, block) if held else None
    finally:
        handle.remove()
    return None
