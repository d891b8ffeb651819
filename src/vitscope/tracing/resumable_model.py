"""An opened model that runs again from one of its blocks on, with what the earlier ones gave before."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vitscope.errors import TraceError
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.calls.calling import batch_of, select
from vitscope.tracing.changes.ablation import Ablation, as_list
from vitscope.tracing.changes.removal import TokenRemoval
from vitscope.tracing.opened_model import OpenedModel
from vitscope.tracing.passes.answers import require_numbers
from vitscope.tracing.passes.forward_pass import PassRecord, run_pass
from vitscope.tracing.passes.request import Capture, PassRequest
from vitscope.tracing.passes.resume import (
    BlockCache,
    can_resume,
    check_places,
    collect_outputs,
    later_only,
    no_blocks,
    shortcuts,
)


class ResumableModel(OpenedModel):
    """An opened model whose later blocks can be run alone, under other ablations or on other tokens."""

    @checked(TraceError)
    @unaffected
    def cache(self, images: Images) -> BlockCache:
        """Run one forward that keeps what every block returned, to ``resume`` from.

        Args:
            images: Pictures in any form, or the model's arguments by name.

        Returns:
            The inputs, the logits (B, C) and each block's output.

        Raises:
            PictureError: A picture cannot be read.
            TraceError: No block was found in the model.

        Example:
            >>> import vitscope as vs
            >>> vit = vs.open_model("bundled/shapes")
            >>> cache = vit.cache(vs.worlds.world("shapes").sample(2, seed=1).pictures)
            >>> tuple(cache.tokens(0).shape), vit.resume(cache, 3).allclose(cache.logits)
            ((2, 145, 128), True)
        """
        inputs = self.inputs(images)
        anatomy = self.probe_for(inputs).anatomy
        if not anatomy.blocks:
            raise no_blocks(anatomy)
        plain = PassRequest(precision=self.precision)
        record, outputs = collect_outputs(
            self.model, anatomy, lambda: run_pass(self.model, anatomy, inputs, plain)
        )
        require_numbers(self.source, record.logits)
        return BlockCache(inputs, record.logits.float(), tuple(outputs), anatomy.blocks)

    @checked(TraceError)
    @unaffected
    def resume(
        self,
        cache: BlockCache,
        block: int,
        *,
        ablation: Ablation | Sequence[Ablation] | None = None,
        removal: TokenRemoval | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Run the blocks from ``block`` on; earlier ones give what they gave in ``cache``.

        A model whose blocks cannot be short-cut (they share a module, or its residual additions are written outside
        them) runs whole and gives the same.

        Args:
            cache: From ``cache``.
            block: The first block that runs, from 0; the number of blocks runs none.
            ablation: Heads or single attention entries that are switched off in the blocks that run.
            removal: Patch tokens that are taken away.
            index: The cached picture that each item of the batch resumes from, (M,); None takes all once.

        Returns:
            Logits (M, C), float32.

        Raises:
            TraceError: The block or a picture of ``index`` does not exist, or an ablation does not fit the model.

        Example:
            >>> import torch, vitscope as vs
            >>> vit = vs.open_model("bundled/shapes")
            >>> cache = vit.cache(vs.worlds.world("shapes").sample(2, seed=1).pictures)
            >>> vit.resume(cache, 4, index=torch.tensor([1, 1, 0])).argmax(1).tolist()
            [4, 4, 7]
        """
        return self.resume_pass(cache, block, ablation=ablation, removal=removal, index=index).logits.float()

    @checked(TraceError)
    @unaffected
    def resume_pass(
        self,
        cache: BlockCache,
        block: int,
        *,
        ablation: Ablation | Sequence[Ablation] | None = None,
        removal: TokenRemoval | None = None,
        index: Tensor | None = None,
        capture: Capture | None = None,
        tokens: Tensor | None = None,
        gradient: bool = False,
    ) -> PassRecord:
        """Resume as ``resume`` does, and give the whole record of the pass.

        ``tokens`` replaces what the block before ``block`` returned, laid out as that block does; with ``gradient``
        the logits are differentiable with respect to them."""
        check_places(index, batch_of(cache.inputs))
        inputs = select(cache.inputs, index)
        anatomy = self.probe_for(cache.inputs).anatomy
        ablations = as_list(ablation)
        reason = can_resume(anatomy)
        whole = (
            reason is not None and tokens is None and removal is None and 0 <= block <= len(anatomy.blocks)
        )
        if whole:  # no way to short-cut, but a full run gives the same
            skip, ablations = {}, later_only(ablations, block)
        else:
            skip = shortcuts(anatomy, cache, block, index, tokens)
        request = PassRequest(
            precision=self.precision,
            gradient=gradient,
            capture=capture or Capture(),
            ablations=ablations,
            removal=removal,
            skip=skip,
        )
        return run_pass(self.model, anatomy, inputs, request)
