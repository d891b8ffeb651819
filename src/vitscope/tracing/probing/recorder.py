"""What a probing pass writes down: attention calls, module runs, grids made by convolutions, norms, the last linear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitscope.interruption import held
from vitscope.models.preparing.cells import Window
from vitscope.tracing.calls.blocks import first_tensor, is_tokens
from vitscope.tracing.calls.scope import own
from vitscope.tracing.changes.rulebook import LAYER_NORM, RMS_NORM
from vitscope.tracing.interception.attention_call import EagerInputs, FusedInputs
from vitscope.tracing.interception.provenance import Provenance, add_reads, bit_of, reads_of
from vitscope.tracing.passes.forward_pass import CONVOLUTION
from vitscope.tracing.probing.layout import GridSeen

POOLINGS: frozenset[Any] = frozenset((torch.max_pool2d, F.avg_pool2d))
"""Poolings over windows: they lie on the way from the pixels to the grid in some stems."""

OVER_FILMS: frozenset[Any] = frozenset((torch.conv3d, F.conv3d))
"""Convolutions over frames, rows and columns."""

Key = tuple[str, int]
"""One run of a module: its path, and which run of the module it was, counted from 0."""


@dataclass
class SiteSeen:
    """One attention call. ``dims`` are the axes of the queries or of the attention matrix as the model wrote them."""

    stack: tuple[Key, ...]
    leading: int
    heads: int
    head_width: int
    queries: int
    keys: int
    fused: bool
    dims: int
    grids: int
    node: Any = None
    """The autograd node of its output."""


@dataclass
class ModuleRun:
    """What went into a module and came out. ``nodes``: the autograd nodes of each input and of the output then,
    since a model may write into its tensors later; ``fixed`` likewise: which tokens of each input (..., N, D) were
    the same for both pictures of the probe, (N,) each. ``reads``: the sites that lie in what went in, as bits."""

    key: Key
    inputs: list[Tensor]
    input_nodes: list[Any]
    fixed: list[Tensor]
    reads: int = 0
    output: Tensor | None = None
    output_node: Any = None

    @property
    def keeps_tokens(self) -> bool:
        """True when tokens of one shape go in and come out."""
        return self.output is not None and any(t.shape == self.output.shape for t in self.inputs)


@dataclass
class Recorder:
    """Implements ``interception.Surgeon``: runs everything unchanged and writes down what it sees.

    The graph starts at the first convolution, linear layer or embedding, so that later questions about what
    depends on what can be answered."""

    stack: list[Key] = field(default_factory=list)
    sites: list[SiteSeen] = field(default_factory=list)
    runs: dict[Key, ModuleRun] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    grids: list[GridSeen] = field(default_factory=list)
    mixing: list[tuple[int, int, tuple[int, int]]] = field(default_factory=list)
    """Spatial convolutions after the first site: (sites seen, output tokens, kernel)."""
    convolutions: int = 0
    last_linear: tuple[Tensor, str] | None = None
    provenance: Provenance = field(default_factory=Provenance)
    normed: set[int] = field(default_factory=set)
    alive: list[Any] = field(default_factory=list)
    compared: dict[int, tuple[Tensor, int, Tensor]] = field(default_factory=dict)

    def fixed_of(self, tokens: Tensor) -> Tensor:
        """Which tokens do not depend on the picture, found once for a tensor that enters several modules."""
        known = self.compared.get(id(tokens))
        if known is None or known[0] is not tokens or known[1] != tokens._version:
            known = (tokens, tokens._version, _fixed(tokens))
            self.compared[id(tokens)] = known
        return known[2]

    def attention_logits(self, logits: Tensor) -> Tensor:
        return logits

    def fused(self, inputs: FusedInputs, run: Callable[[FusedInputs], Tensor]) -> Tensor:
        q, k = inputs.q, inputs.k
        dims = 3 if inputs.folded else q.dim()
        heads = 0 if inputs.folded else q.shape[1] if q.dim() > 4 else q.shape[-3]
        self._site(q.shape[0], heads, q.shape[-1], q.shape[-2], k.shape[-2], True, dims)
        return self._output(run(inputs))

    def eager(self, inputs: EagerInputs, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        a, v = inputs.attention, inputs.v
        heads = 0 if a.dim() < 4 else a.shape[1]
        self._site(a.shape[0], heads, v.shape[-1], a.shape[-2], a.shape[-1], False, a.dim())
        return self._output(run(a, v))

    def other(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Callable[..., Any]
    ) -> Any:
        result = call(*args, **kwargs)
        if not isinstance(result, Tensor):
            return result
        if func in CONVOLUTION or func in OVER_FILMS or func is F.linear or func is F.embedding:
            result = _start(result)
        if func in CONVOLUTION:
            self._convolution(args, kwargs, result)
        elif func in OVER_FILMS and result.dim() == 5:
            seen = _seen(result, None, args, _windows(_CONVOLVE, args, kwargs))
            self.grids.append(replace(seen, frames=int(result.shape[-3])))
        elif func is F.unfold and isinstance(args[0], Tensor):
            windows = _windows(_UNFOLD, args, kwargs)
            self.grids.append(_unfold_grid(windows, args[0]))
        elif func in POOLINGS and result.dim() == 4:
            self.grids.append(_seen(result, None, args, _windows(_POOL, args, kwargs)))
        elif func is F.pad and result.dim() == 4:
            self.grids.append(_seen(result, None, args, _margins(args, kwargs)))
        elif func is F.linear:
            self.last_linear = (result, self.stack[-1][0] if self.stack else "")
        elif func in LAYER_NORM or func in RMS_NORM:
            self.normed.add(id(result))
            self.alive.append(result)
        return result

    def _convolution(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
        weight = args[1] if len(args) > 1 else kwargs.get("weight")
        if result.dim() == 4:
            grid = (result.shape[-2], result.shape[-1])
            self.grids.append(_seen(result, self.convolutions, args, _windows(_CONVOLVE, args, kwargs)))
            if self.sites and isinstance(weight, Tensor) and weight.shape[-1] * weight.shape[-2] > 1:
                self.mixing.append((len(self.sites), grid[0] * grid[1], grid))
        self.convolutions += 1

    def _output(self, output: Tensor) -> Tensor:
        self.sites[-1].node = output.grad_fn
        bit = bit_of(len(self.sites) - 1)
        self.provenance.sites |= bit
        add_reads(output, bit)
        return output

    def _site(
        self, leading: int, heads: int, width: int, queries: int, keys: int, fused: bool, dims: int
    ) -> None:
        self.sites.append(
            SiteSeen(tuple(self.stack), leading, heads, width, queries, keys, fused, dims, len(self.grids))
        )


def _start(result: Tensor) -> Tensor:
    """The same tensor in a graph; a clone, so that the model may write into it."""
    started = result.requires_grad or not torch.is_grad_enabled()
    return result if started else result.detach().requires_grad_().clone()


def _fixed(tokens: Tensor) -> Tensor:
    """Which tokens of (2, N, D) or (N, 2, D) do not depend on the picture, (N,); none for other shapes."""
    with torch.no_grad():
        if tokens.dim() == 3 and 2 in tokens.shape[:2]:
            pair = tokens if tokens.shape[0] == 2 else tokens.transpose(0, 1)
            equal = (
                pair[0, :, 0] == pair[1, :, 0]
            )  # nearly always enough to tell that a token depends on the picture
            candidates = equal.nonzero()[:, 0]
            equal[candidates] = (pair[0, candidates] == pair[1, candidates]).all(-1)
            return equal
    return torch.zeros(0, dtype=torch.bool)


_CONVOLVE = ("input", "weight", "bias", "stride", "padding", "dilation")
_POOL = ("input", "kernel_size", "stride", "padding", "dilation")
_UNFOLD = ("input", "kernel_size", "dilation", "padding", "stride")


def _windows(
    names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Window, Window] | None:
    """What a convolution, pooling or unfolding reads along rows and columns; None where it cannot be told."""
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    weight = given.get("weight")
    kernel = tuple(weight.shape[-2:]) if isinstance(weight, Tensor) else _pair(given.get("kernel_size"))
    stride = _pair(given.get("stride") or (1 if names is not _POOL else kernel))
    dilation = _pair(given.get("dilation", 1) if not isinstance(given.get("dilation"), bool) else 1)
    padding = given.get("padding", 0)
    if padding == "same" and kernel is not None and dilation is not None:
        padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    around = _pair(0 if padding == "valid" else padding)
    if kernel is None or stride is None or around is None or dilation is None:
        return None
    first, second = (Window(kernel[i], stride[i], around[i], dilation[i]) for i in (0, 1))
    return first, second


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    if (
        isinstance(value, (tuple, list))
        and len(value) in (1, 2, 3)
        and all(isinstance(v, int) for v in value)
    ):
        return int(value[-2 if len(value) > 1 else 0]), int(value[-1])
    return None


def _margins(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Window, Window] | None:
    """Padding by hand as a window of one pixel: element i of the result is pixel i - left (or - top)."""
    margins = tuple(args[1] if len(args) > 1 else kwargs.get("pad", ()))
    if len(margins) not in (2, 4):
        return None
    return Window(1, 1, int(margins[2]) if len(margins) == 4 else 0), Window(1, 1, int(margins[0]))


def _seen(
    result: Tensor, call: int | None, args: tuple[Any, ...], windows: tuple[Window, Window] | None
) -> GridSeen:
    read = args[0] if args and isinstance(args[0], Tensor) else None
    return GridSeen(
        (int(result.shape[-2]), int(result.shape[-1])),
        call,
        windows,
        None if read is None else (int(read.shape[-2]), int(read.shape[-1])),
    )


def _unfold_grid(windows: tuple[Window, Window] | None, read: Tensor) -> GridSeen:
    if windows is None:
        return GridSeen((0, 0), None)
    size = (int(read.shape[-2]), int(read.shape[-1]))
    h, w = ((size[i] + 2 * windows[i].padding - windows[i].reach) // windows[i].stride + 1 for i in (0, 1))
    return GridSeen((h, w), None, windows, size)


@contextmanager
def watch_modules(model: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Keep the stack of running modules, and what goes in and out of each, for the length of the block."""
    handles = []

    def register(path: str, module: nn.Module) -> None:
        open_runs: list[ModuleRun] = []

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            key = (path, recorder.counts.get(path, 0))
            recorder.counts[path] = key[1] + 1
            recorder.stack.append(key)
            with held(), torch._C.DisableTorchFunction():  # looking is not part of the pass
                tensors = [t for t in (*args, *kwargs.values()) if is_tokens(t)]
                nodes, fixed = [t.grad_fn for t in tensors], [recorder.fixed_of(t) for t in tensors]
                open_runs.append(ModuleRun(key, tensors, nodes, fixed, reads_of((args, kwargs))))

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            recorder.stack.pop()
            run = open_runs.pop()
            with held(), torch._C.DisableTorchFunction():
                tokens = first_tensor(output)
                if tokens is not None and is_tokens(tokens):
                    run.output, run.output_node = tokens, tokens.grad_fn
            recorder.runs[run.key] = run

        handles.append(module.register_forward_pre_hook(own(before), with_kwargs=True))
        handles.append(module.register_forward_hook(own(after)))

    try:
        for path, module in model.named_modules():
            register(path, module)
        yield
    finally:
        for handle in handles:
            handle.remove()
