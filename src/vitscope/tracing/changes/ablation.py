"""Switch heads, or single entries of their attention, off while the model runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy
from vitscope.options.door import check_fields


@dataclass(frozen=True)
class HeadAblation:
    """Whole heads that are switched off: T_lh <- keep * T_lh + (1 - keep) * replacement.

    Args:
        keep: (B or 1, L, H) for L blocks and H heads: 1 leaves a head as it is, 0 takes it away; one row per picture of
            the batch, so that many ablations are one batch.
        replacement: What a head gives instead: None means zero; (L, H, d) one vector for all queries, or (L, H, Nq, d)
            one per query (mean ablation).

    Raises:
        TraceError: ``keep`` of another shape; when it is used, one that does not fit the model.

    Example:
        >>> import torch, vitscope as vs
        >>> keep = torch.ones(1, 6, 4)
        >>> keep[0, 2, 1] = 0  # head 1 of block 2
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).pictures
        >>> tuple(vit.forward(pictures, ablation=vs.HeadAblation(keep)).shape)
        (2, 10)
    """

    keep: Tensor
    replacement: Tensor | None = None

    def __post_init__(self) -> None:
        check_fields(self, TraceError)
        if self.keep.dim() != 3:
            raise TraceError(f"HeadAblation expects keep of shape (B, L, H), got {tuple(self.keep.shape)}")

    @classmethod
    def of(
        cls, anatomy: Anatomy, heads: Iterable[tuple[int, int]], replacement: Tensor | None = None
    ) -> HeadAblation:
        """Switch some heads off, the same ones for every picture.

        Args:
            anatomy: Of the model, ``vit.anatomy``.
            heads: (block, head) of each, both from 0.
            replacement: What they give instead, as above.

        Returns:
            The ablation.

        Raises:
            TraceError: There is no such head.

        Example:
            >>> import vitscope as vs
            >>> vit = vs.open_model("bundled/shapes")
            >>> off = vs.HeadAblation.of(vit.anatomy, [(2, 1)])  # head 1 of block 2
            >>> float(off.keep.sum()), off.heads
            (23.0, ((2, 1),))
        """
        keep = torch.ones(1, len(anatomy.blocks), anatomy.heads)
        for block, head in heads:
            if not (0 <= block < len(anatomy.blocks) and 0 <= head < anatomy.blocks[block].heads):
                raise TraceError(
                    f"there is no head {block}.{head} in {anatomy.source}: blocks go from 0 to "
                    f"{len(anatomy.blocks) - 1}, heads from 0 to {anatomy.heads - 1}; choose one of them"
                )
            keep[0, block, head] = 0
        return cls(keep, replacement)

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """(block, head) of every head that is changed for some picture, in their order."""
        return tuple((int(block), int(head)) for block, head in (self.keep != 1).any(0).nonzero())

    def check(self, anatomy: Anatomy) -> None:
        """Raise TraceError unless the mask fits the model. H: heads of the widest block."""
        wanted = (len(anatomy.blocks), anatomy.heads)
        if tuple(self.keep.shape[1:]) != wanted:
            raise TraceError(
                f"HeadAblation expects keep (B or 1, L, H) with L = {wanted[0]} blocks and H = {wanted[1]} heads, "
                f"got {_shape(self.keep)}"
            )
        value = self.replacement
        if value is not None and (value.dim() not in (3, 4) or tuple(value.shape[:2]) != wanted):
            raise TraceError(
                f"HeadAblation expects a replacement (L, H, d) or (L, H, Nq, d), got {_shape(value)}"
            )

    def apply(self, output: Tensor, block: int) -> Tensor:
        """``output`` (B, H, Nq, d) of ``block`` with its heads ablated; the same tensor when none is."""
        heads = output.shape[1]
        keep = self.keep[:, block, :heads].to(output.device)
        if keep.shape[0] not in (1, output.shape[0]):
            raise TraceError(
                f"HeadAblation expects keep for 1 or {output.shape[0]} pictures, got {_shape(self.keep)}"
            )
        if bool((keep == 1).all()):
            return output
        keep = keep.to(output.dtype)[:, :, None, None]
        kept = output * keep
        if self.replacement is None:
            return kept
        value = self.replacement[block][:heads].to(output)
        if value.dim() == 2:
            value = value[:, None, :]
        if value.shape[-1] != output.shape[-1] or value.shape[1] not in (1, output.shape[2]):
            raise TraceError(
                f"HeadAblation's replacement {_shape(self.replacement)} does not fit block {block}, whose heads give "
                f"(Nq, d) = {tuple(output.shape[2:])}"
            )
        return kept + (1 - keep) * value


@dataclass(frozen=True)
class EntryAblation:
    """Single entries of one block's attention that become 0 after the softmax.

    Args:
        block: The block, from 0.
        head: The head in it, from 0; None means every head.
        zero: Boolean (Nq, Nk) or (B, Nq, Nk), True where an entry is taken away; axes of length 1 stand for all.
        renormalise: Whether rows that lost entries sum to one again.

    Raises:
        TraceError: ``zero`` is not boolean or of another shape; when it is used, block or head do not exist.

    Example:
        >>> import torch, vitscope as vs
        >>> zero = torch.zeros(145, 145, dtype=torch.bool)
        >>> zero[0, 1:] = True  # the class token attends to no patch
        >>> trace = vs.open_model("bundled/shapes").trace(
        ...     vs.worlds.world("shapes").sample(2, seed=1).pictures, ablation=vs.EntryAblation(5, None, zero)
        ... )
        >>> float(trace.sites[5].cls_attention()[:, :, 1:].sum())
        0.0
    """

    block: int
    head: int | None
    zero: Tensor
    renormalise: bool = False

    def __post_init__(self) -> None:
        check_fields(self, TraceError)
        if self.zero.dtype != torch.bool or self.zero.dim() not in (2, 3):
            raise TraceError(
                "EntryAblation expects a boolean zero (Nq, Nk) or (B, Nq, Nk), "
                f"got {self.zero.dtype} {_shape(self.zero)}"
            )

    def check(self, anatomy: Anatomy) -> None:
        """Raise TraceError unless block, head and mask fit the model."""
        if not 0 <= self.block < len(anatomy.blocks):
            raise TraceError(
                f"EntryAblation expects a block from 0 to {len(anatomy.blocks) - 1}, got {self.block}"
            )
        heads = anatomy.blocks[self.block].heads
        if self.head is not None and not 0 <= self.head < heads:
            raise TraceError(f"EntryAblation expects a head from 0 to {heads - 1} (or None), got {self.head}")
        site = anatomy.sites[anatomy.blocks[self.block].sites[0]]
        given, wanted = tuple(self.zero.shape[-2:]), (site.queries, site.keys)
        if any(g not in (1, w) for g, w in zip(given, wanted, strict=True)):
            raise TraceError(f"EntryAblation expects zero (B, Nq, Nk) with (Nq, Nk) = {wanted}, got {given}")

    def apply(self, attention: Tensor, queries: slice | None = None) -> Tensor:
        """``attention`` (B, H, Nq, Nk), or the chosen query rows of it, without the chosen entries."""
        zero = self.zero.to(attention.device)
        zero = zero[None] if zero.dim() == 2 else zero
        if zero.shape[0] not in (1, attention.shape[0]):
            pictures = attention.shape[0]
            raise TraceError(
                f"EntryAblation expects zero for 1 or {pictures} pictures, got {_shape(self.zero)}"
            )
        zero = zero[:, None].expand(-1, attention.shape[1], -1, -1)
        if queries is not None and zero.shape[2] != 1:
            zero = zero[:, :, queries]
        if self.head is not None:
            chosen = torch.zeros(attention.shape[1], dtype=torch.bool, device=attention.device)
            chosen[self.head] = True
            zero = zero & chosen[None, :, None, None]
        left = attention.masked_fill(zero, 0.0)
        if not self.renormalise:
            return left
        total = left.sum(-1, keepdim=True)
        changed = zero.any(-1, keepdim=True) & (total > 0)
        return torch.where(changed, left / total.clamp_min(torch.finfo(left.dtype).tiny), left)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


Ablation = HeadAblation | EntryAblation


def as_list(ablation: Ablation | Sequence[Ablation] | None) -> list[Ablation]:
    """One, several or no ablations as a list."""
    if ablation is None:
        return []
    if isinstance(ablation, (HeadAblation, EntryAblation)):
        return [ablation]
    return list(ablation)


def keep_without_each(heads: Sequence[tuple[int, int]], blocks: int, width: int) -> Tensor:
    """``keep`` (len(heads), L, H) of as many ablations: row i takes head i away and leaves all others."""
    keep = torch.ones(len(heads), blocks, width)
    for row, (block, head) in enumerate(heads):
        keep[row, block, head] = 0
    return keep
