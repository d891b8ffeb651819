"""Checks before explaining: the output must be finite numbers, and the gradient must reach the attention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from vitscope.errors import AnswerError
from vitscope.tracing.site import AttentionSite

FLAT = (
    "the score is flat at some pictures (a saturated probability, a hinge): its gradient is exactly zero there, and "
    "their maps say nothing; explain a logit"
)


def require_numbers(source: str, logits: Tensor | None, scores: Tensor | None = None) -> None:
    """Raise AnswerError, naming the pictures, where logits (B, ...) or explained scores (B,) are no finite numbers.

    Single classes at minus infinity stay allowed: so models say that a class cannot be."""
    bad: Tensor | None = None
    if logits is not None:
        flat = logits.detach().flatten(1)
        bad = flat.new_zeros(len(flat), dtype=torch.bool)
    if logits is not None and logits.numel():
        bad = flat.isnan().any(1) | (flat == torch.inf).any(1) | (flat == -torch.inf).all(1)
    if scores is not None:
        wrong = ~scores.detach().isfinite()
        bad = wrong if bad is None else bad | wrong
    if bad is None or not bool(bad.any()):
        return
    nan = any(values is not None and bool(values.isnan().any()) for values in (logits, scores))
    raise AnswerError(
        f"'{source}' answers {'NaN' if nan else 'infinity'} for",
        _places(bad),
        ", so there is nothing to explain; check its weights, or open it with precision='float32' if numbers overflow",
    )


def require_finite_maps(method: str, maps: Tensor, precision: str) -> None:
    """Raise AnswerError, naming the pictures, where maps (B, h, w) are no finite numbers."""
    bad = ~maps.flatten(1).isfinite().all(1)
    if bool(bad.any()):
        remedy = "take precision='float32'" if precision != "float32" else "take another method"
        raise AnswerError(
            f"the map of '{method}' is NaN or infinite for",
            _places(bad),
            f": numbers overflow on the way back; {remedy}",
        )


def require_nonzero_maps(method: str, maps: Tensor, why: str) -> None:
    """Raise AnswerError, naming the pictures, where maps (B, h, w) of a way back that is cut are zero everywhere."""
    empty = ~maps.flatten(1).any(1)
    if bool(empty.any()):
        raise AnswerError(
            f"the map of '{method}' is zero everywhere for",
            _places(empty),
            f": {why}; take a method without gradient",
        )


def require_way_back(
    source: str, score: str, sites: Sequence[AttentionSite], batch: int, at_output: Tensor | None
) -> str | None:
    """Raise AnswerError, naming the pictures, where the gradient of the score reaches no attention call.

    at_output: its gradient at the model's answer (B, ...), None when that is not known. Where it is zero there
    already, the score is flat at that picture and zero is its gradient: that is noted, as are whole blocks that get
    none although others do. Gives the note, None when there is nothing to say."""
    by_block: dict[int, Tensor] = {}
    for site in sites:
        gradient = site.raw_gradient
        if gradient is None or site.info.block is None:
            continue
        pictures = batch if gradient.shape[0] % batch == 0 else 1
        reached = (
            gradient[..., :1, :].reshape(pictures, -1).any(1).expand(batch)
        )  # one query tells of nearly all
        if not bool(reached.all()):
            reached = gradient.reshape(pictures, -1).any(1).expand(batch)
        block = site.info.block
        by_block[block] = by_block[block] | reached if block in by_block else reached
    if not by_block:
        return None
    blocks = sorted(by_block)
    reached = torch.stack([by_block[block] for block in blocks]).cpu()  # (L, B)
    nowhere = ~reached.any(0)
    if at_output is not None:
        cut = nowhere & at_output.flatten(1).any(1).cpu()
    else:
        cut = nowhere if bool(nowhere.all()) else torch.zeros_like(nowhere)
    if bool(cut.any()):
        raise AnswerError(
            f"no gradient of '{score}' comes back to any block of '{source}' for",
            _places(cut),
            ": the way is cut (integer layers, torch.no_grad, a detach); explain the float model, or take a method "
            "without gradient",
        )
    if bool(nowhere.any()):
        return FLAT
    empty = [block for block, row in zip(blocks, reached, strict=True) if not bool(row.any())]
    if not empty:
        return None
    last = max(block for block, row in zip(blocks, reached, strict=True) if bool(row.any()))
    if min(empty) > last:
        verb = "has" if len(empty) == 1 else "have"
        return f"the score reads no block after block {last}, so {_span(empty)} {verb} no gradient"
    return (
        f"no gradient comes back to {_span(empty)} (integer layers, torch.no_grad or a detach cut the way), so their "
        "part is missing"
    )


def _places(mask: Tensor) -> tuple[int, ...]:
    """The positions where a mask (B,) is True."""
    return tuple(int(index) for index in mask.nonzero()[:, 0])


def _span(blocks: Iterable[int]) -> str:
    found = list(blocks)
    if found == list(range(found[0], found[-1] + 1)) and len(found) > 2:
        return f"blocks {found[0]} to {found[-1]}"
    return f"block{'s' * (len(found) > 1)} {', '.join(map(str, found))}"
