"""The clean run of a batch: one full forward that keeps what its changed copies start from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitscope.models.anatomy import Anatomy
from vitscope.tracing.calls.blocks import first_tensor, is_tokens
from vitscope.tracing.calls.guard import exclusive
from vitscope.tracing.calls.scope import own
from vitscope.tracing.copies.shortening import Reached, Watching
from vitscope.tracing.passes.answers import require_numbers
from vitscope.tracing.passes.forward_pass import run_pass
from vitscope.tracing.passes.request import Capture, PassRequest
from vitscope.tracing.passes.resume import BlockCache, collect_outputs, no_blocks
from vitscope.tracing.sharing import shares
from vitscope.tracing.site import AttentionSite
from vitscope.tracing.trace import Trace
from vitscope.tracing.vit import Vit


@dataclass(frozen=True)
class Clean:
    """The full run of one batch.

    labels: one class index per picture, or None. entering[block]: the tokens that entered it, as it lays them out.
    attended[block]: its attention output (B, H, Nq, d), for blocks with one attention. embedding: for each convolution
    that ran once before the first block, by path, a forward that gives what it gave for the first picture."""

    cache: BlockCache
    anatomy: Anatomy
    labels: Tensor | None
    entering: dict[int, Tensor]
    attended: dict[int, Tensor]
    embedding: dict[str, Callable[..., Any]]

    @property
    def pictures(self) -> int:
        return int(self.cache.logits.shape[0])

    @property
    def size(self) -> tuple[int, ...]:
        """(H, W) of the pictures."""
        assert isinstance(self.cache.inputs, Tensor)
        return tuple(self.cache.inputs.shape[-2:])


def run_clean(vit: Vit, pixels: Tensor, labels: Tensor | None = None) -> Clean:
    """One full forward that keeps what changed copies need. Raises TraceError for a model without blocks."""
    anatomy = vit.anatomy_for((int(pixels.shape[-2]), int(pixels.shape[-1])))
    if not anatomy.blocks:
        raise no_blocks(anatomy)
    if shares(vit, pixels):
        read = _read_off(
            vit, anatomy, vit.trace(pixels, gradient=False, capture=Capture(streams=True)), labels
        )
        if read is not None:
            return read
    watching = Watching(torch.ones(1, len(anatomy.blocks), anatomy.heads))
    watched = PassRequest(precision=vit.precision, ablations=[watching])
    with exclusive(vit.model), _Beginning(vit.model, anatomy) as beginning:
        record, outputs = collect_outputs(
            vit.model,
            anatomy,
            lambda: run_pass(vit.model, anatomy, pixels, watched),
        )
    require_numbers(vit.source, record.logits)
    cache = BlockCache(pixels, record.logits.float(), tuple(outputs), anatomy.blocks)
    entering = {block + 1: first_tensor(output) for block, output in enumerate(outputs[:-1])}
    entering[0] = beginning.tokens
    attended = {
        block.index: watching.seen[block.index]
        for block in anatomy.blocks
        if len(block.sites) == 1 and block.index in watching.seen
    }
    return Clean(
        cache,
        anatomy,
        labels,
        {block: tokens for block, tokens in entering.items() if tokens is not None},
        attended,
        beginning.convolutions,
    )


def _read_off(vit: Vit, anatomy: Anatomy, trace: Trace, labels: Tensor | None) -> Clean | None:
    """The clean run as a shared trace shows it; None where a block was not seen to return tokens.

    The convolutions before the first block run once more, for the first picture alone."""
    seen = trace.raw_blocks()
    if seen is None:
        return None
    outputs, entering = seen
    stop = {anatomy.blocks[0].path: _stop}
    with exclusive(vit.model), _Beginning(vit.model, anatomy) as beginning, suppress(Reached):
        run_pass(vit.model, anatomy, trace.images[:1], PassRequest(precision=vit.precision, skip=stop))
    pixels = trace.images
    tokens = {block + 1: first_tensor(output) for block, output in enumerate(outputs[:-1])}
    tokens[0] = entering
    attended = {
        block.index: _by_heads(site)
        for block in anatomy.blocks
        if len(block.sites) == 1 and (site := trace.site_of_call(block.sites[0])) is not None
    }
    return Clean(
        BlockCache(pixels, trace.logits, outputs, anatomy.blocks),
        anatomy,
        labels,
        {block: given for block, given in tokens.items() if given is not None},
        attended,
        beginning.convolutions,
    )


def _by_heads(site: AttentionSite) -> Tensor:
    """What the call gave, heads on an axis of their own as an ablation meets it."""
    given = site.with_graph().detach()
    return given if given.dim() == 4 else given.reshape(-1, site.info.heads, *given.shape[-2:])


def _stop(*_: Any, **__: Any) -> Any:
    raise Reached(torch.empty(0))


class _Beginning:
    """Watches a run up to its first block: the tokens that enter it and the convolutions that ran before."""

    def __init__(self, model: nn.Module, anatomy: Anatomy) -> None:
        self.tokens: Tensor | None = None
        self.convolutions: dict[str, Callable[..., Any]] = {}
        self._model, self._first = model, anatomy.blocks[0]
        self._over = False
        self._handles: list[Any] = []

    def __enter__(self) -> _Beginning:
        for path, module in self._model.named_modules():
            if isinstance(module, nn.Conv2d):
                self._handles.append(module.register_forward_hook(own(self._keep(path))))
        first = self._model.get_submodule(self._first.path)
        self._handles.append(first.register_forward_pre_hook(own(self._enter), with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, path: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            if not self._over:
                kept = output[:1].detach().clone()
                self.convolutions[path] = lambda *args, **kwargs: kept.clone()

        return hook

    def _enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._over:
            given = [a for a in (*args, *kwargs.values()) if is_tokens(a, self._first.width)]
            self.tokens = given[0].detach().clone() if len(given) == 1 else None
            self._over = True
