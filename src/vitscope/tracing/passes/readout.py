"""Which tokens a score reads: from where its gradient enters the residual stream, picture by picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy
from vitscope.models.token_layout import TokenLayout
from vitscope.tracing.calls.calling import Inputs, batch_of
from vitscope.tracing.passes.backward import Gradients
from vitscope.tracing.site import AttentionSite
from vitscope.tracing.targets.target import Target

FAINT = 1e-5
"""Tokens with less than this share of the largest gradient count as not read: rounding, not reading."""


@dataclass(frozen=True)
class Readout:
    """What one score reads: the tokens that left ``block``, each with its weight, (B, N); rows add up to one, or are
    zero for a picture whose score has no gradient at all."""

    block: int
    weights: Tensor

    def describe(self, anatomy: Anatomy, layout: TokenLayout) -> str | None:
        """What is read in words; None when it is just what the classifier reads."""
        own = anatomy.readout
        last = self.block == len(anatomy.blocks) - 1
        if last and own is not None and bool(((self.weights > 0).cpu() == (torch.tensor(own) > 0)).all()):
            return None
        single = bool((self.weights.amax(1) == 1).all()) and len(set(self.weights.argmax(1).tolist())) == 1
        tokens = f"{int((self.weights > 0).sum(1).max())} of the {layout.tokens} tokens"
        if single:
            index = int(self.weights[0].argmax()) - layout.prefix_count
            row, column = divmod(index, layout.grid[1])
            tokens = f"the patch in row {row}, column {column}"
            if layout.frames is not None:
                frame, row = divmod(row, layout.grid[0])
                tokens = f"the patch in frame {frame}, row {row}, column {column}"
            if index < 0:
                tokens = f"the token '{layout.prefix[index + layout.prefix_count]}'"
        return f"the score reads {tokens}" + ("" if last else f" after block {self.block}")


@dataclass(eq=False)
class TokensRead:
    """Which tokens a traced score reads, worked out when it is first asked for.

    target: what is explained, None when nothing was. gradients: of its backward, None without one. streams: whether
    they hold those along the residual stream. pool: the model's attention pooling, None without one."""

    anatomy: Anatomy
    inputs: Inputs
    target: Target | None
    gradients: Gradients | None
    streams: bool
    pool: AttentionSite | None
    device: torch.device
    _found: Readout | None = None

    def of_target(self) -> Readout | None:
        """What the target itself reads, where that may be something else than what the classifier reads.

        Raises TraceError when only a gradient could tell and the trace has none."""
        if not reads_for_itself(self.target, self.inputs):
            return None
        pool, known = self.anatomy.pool_site, self.gradients
        if pool is not None and known is not None and bool(known.sites.get(pool, torch.zeros(())).any()):
            return None  # it reads through the model's own attention pooling
        if known is None or not self.streams:
            if self.target is None or self.target.needs_classifier:
                return None
            raise TraceError(
                "which tokens this target reads shows only in its gradient along the stream; take the trace with "
                "gradient=True and capture=Capture(streams=True)"
            )
        if self._found is None:
            self._found = readout_of_score(self.anatomy, _layout(self.anatomy), known)
        return self._found

    def weights(self) -> Tensor:
        """The weight of each token, (B, N): what the target reads, the classifier's where its score has no gradient."""
        found = self.of_target()
        if found is None:
            return self._classifiers()
        silent = found.weights.sum(1, keepdim=True) == 0
        return torch.where(silent, self._classifiers(), found.weights) if silent.any() else found.weights

    def _classifiers(self) -> Tensor:
        layout = _layout(self.anatomy)
        if self.pool is not None:
            row = self.pool.attention().mean((1, 2))
            if row.shape[-1] == layout.patches and row.shape[-1] != layout.tokens:
                row = torch.nn.functional.pad(row, (layout.prefix_count, 0))
            return row
        if self.anatomy.readout is None:
            raise TraceError(
                f"what '{self.anatomy.source}' reads out of its tokens was not found; pass pooling= to open_model"
            )
        weights = torch.tensor(self.anatomy.readout, device=self.device)
        return weights.expand(batch_of(self.inputs), layout.tokens)


def _layout(anatomy: Anatomy) -> TokenLayout:
    if anatomy.layout is None:
        raise TraceError(f"'{anatomy.source}': {anatomy.why_no_tokens()}")
    return anatomy.layout


def reads_for_itself(target: Target | None, inputs: Inputs) -> bool:
    """Whether what is read may differ from what the probe saw the classifier read: a target that is no class, or inputs
    that bring masks of their own (padding belongs to the picture)."""
    return target is not None and (not target.needs_classifier or not isinstance(inputs, Tensor))


def readout_of_score(anatomy: Anatomy, layout: TokenLayout, gradients: Gradients) -> Readout | None:
    """The tokens that a score reads, found where its gradient enters the stream other than through a later block.

    One token gets weight 1. When all that is read are the tokens that the model's own pooling reads, the weights are
    the pooling's; a mean over the patches that a picture has (others are padding) is uniform over them; else each
    token counts by the length of its gradient. None where the stream's gradients do not tell.

    Raises TraceError for a score that reads tokens after several blocks: no one row belongs to it."""
    direct = _direct(anatomy, gradients)
    sizes = {block: float(values.norm()) for block, values in direct.items()}
    largest = max(sizes.values(), default=0.0)
    read = [block for block, size in sizes.items() if size > FAINT * largest]
    if not read or largest == 0:
        return None
    if len(read) > 1:
        raise TraceError(
            f"the score reads the tokens after several blocks ({', '.join(map(str, read))}), so no one row of "
            "attention belongs to it; explain what it reads after each block alone"
        )
    block = read[0]
    length = direct[block].float().norm(dim=-1)
    if length.shape[1] == layout.patches != layout.tokens:
        length = torch.nn.functional.pad(length, (layout.prefix_count, 0))
    if length.shape[1] != layout.tokens:
        return None
    support = length > FAINT * length.amax(1, keepdim=True).clamp_min(1e-30)
    return Readout(block, _weights(length, support, anatomy, layout, block))


def _weights(length: Tensor, support: Tensor, anatomy: Anatomy, layout: TokenLayout, block: int) -> Tensor:
    """A row per picture, each from that picture alone; zeros where its score has no gradient at all."""
    kept = length * support
    weights = kept / kept.sum(1, keepdim=True).clamp_min(1e-30)
    if "mean" in anatomy.pooling:
        patches = support[:, layout.patch_slice]
        pooled = ~support[:, : layout.prefix_count].any(1) & (patches.sum(1) > 1)
        uniform = support / support.sum(1, keepdim=True).clamp_min(1)
        weights = torch.where(pooled[:, None], uniform, weights)
    if anatomy.readout is not None and anatomy.pooling != "other" and block == len(anatomy.blocks) - 1:
        own = torch.tensor(anatomy.readout, device=length.device)
        same = (support == (own > 0)).all(1)
        weights = torch.where(same[:, None], own, weights)
    return weights


def _direct(anatomy: Anatomy, gradients: Gradients) -> dict[int, Tensor]:
    """For each block the part of its output's gradient that does not come back through the next block, (B, N, D)."""
    found: dict[int, Tensor] = {}
    for block in anatomy.blocks:
        out = gradients.block_outputs.get(block.index)
        if out is None:
            continue
        following = gradients.block_inputs.get(block.index + 1, [])
        through = next((value for value in following if value.shape == out.shape), None)
        if through is None and block.index + 1 < len(anatomy.blocks):
            continue  # the next block takes its tokens in another form; what is read on the way cannot be told
        alone = out.float() if through is None else out.float() - through.float()
        if through is not None and float(alone.norm()) <= 1e-3 * float(out.float().norm()):
            continue  # the two differ by rounding
        found[block.index] = block.as_sequence(alone)
    return found
