"""Learn a model's anatomy by watching one small pass. Nothing is configured; every part can be overridden."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitscope.errors import ModelError, TargetError
from vitscope.models.anatomy import Anatomy, BlockInfo, SiteInfo, SiteKind, TokenLayout
from vitscope.tracing.blocks import first_tensor, get_module, is_tokens
from vitscope.tracing.forward_pass import CONVOLUTION, Inputs, batch_of, call_model
from vitscope.tracing.guard import quiet
from vitscope.tracing.interception import Interceptor
from vitscope.tracing.layout import GridSeen, find_layout, name_prefix, prefix_names
from vitscope.tracing.pooling_rule import pooling_of
from vitscope.tracing.rulebook import LAYER_NORM, RMS_NORM
from vitscope.tracing.site import EagerInputs, FusedInputs
from vitscope.tracing.targets import output_tensor


@dataclass(frozen=True)
class Overrides:
    """Parts of the anatomy that the user knows better."""

    blocks: tuple[str, ...] | None = None
    grid: tuple[int, int] | None = None
    prefix: tuple[str, ...] | None = None
    pooling: str | None = None
    classes: int | None = None


@dataclass(frozen=True)
class Probe:
    """What a probe learned: the anatomy, and which convolution call made the patch embedding."""

    anatomy: Anatomy
    embedding_call: int | None


@dataclass
class _SiteSeen:
    stack: tuple[str, ...]
    leading: int
    heads: int
    head_width: int
    queries: int
    keys: int
    fused: bool
    dims: int
    grids: int


@dataclass
class _ModuleRun:
    path: str
    inputs: list[Tensor]
    output: Tensor | None = None
    structure: str = ""


@dataclass
class _Recorder:
    """Implements ``interception.Surgeon``: runs everything unchanged and writes down what it sees."""

    stack: list[str] = field(default_factory=list)
    sites: list[_SiteSeen] = field(default_factory=list)
    runs: list[_ModuleRun] = field(default_factory=list)
    grids: list[GridSeen] = field(default_factory=list)
    convolutions: int = 0
    last_linear: tuple[Tensor, str] | None = None
    normed: set[int] = field(default_factory=set)
    alive: list[Any] = field(default_factory=list)

    def scores(self, scores: Tensor) -> Tensor:
        return scores

    def fused(self, inputs: FusedInputs, run: Callable[[FusedInputs], Tensor]) -> Tensor:
        q, k = inputs.q, inputs.k
        self._site(q.shape[0], q.shape[-3], q.shape[-1], q.shape[-2], k.shape[-2], True, q.dim())
        return self._start(run(inputs))

    def eager(self, inputs: EagerInputs, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        a, v = inputs.attention, inputs.v
        heads = a.shape[-3] if a.dim() >= 4 else 0
        self._site(a.shape[0], heads, v.shape[-1], a.shape[-2], a.shape[-1], False, a.dim())
        return self._start(run(a, v))

    def other(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Callable[..., Any]) -> Any:
        result = call(*args, **kwargs)
        if not isinstance(result, Tensor):
            return result
        if func in CONVOLUTION:
            if result.dim() == 4:
                self.grids.append(GridSeen((result.shape[-2], result.shape[-1]), self.convolutions, result.shape[1]))
            self.convolutions += 1
        elif func is F.unfold and isinstance(args[0], Tensor):
            self.grids.append(GridSeen(_unfold_grid(args, kwargs, result), None, 0))
        elif func is F.linear:
            self.last_linear = (result, self.stack[-1] if self.stack else "")
        elif func in LAYER_NORM or func in RMS_NORM:
            self.normed.add(id(result))
            self.alive.append(result)
        return result

    def _site(self, leading: int, heads: int, width: int, queries: int, keys: int, fused: bool, dims: int) -> None:
        self.sites.append(_SiteSeen(tuple(self.stack), leading, heads, width, queries, keys, fused, dims, len(self.grids)))

    @staticmethod
    def _start(output: Tensor) -> Tensor:
        return output if output.requires_grad or not torch.is_grad_enabled() else output.detach().requires_grad_()


def _unfold_grid(args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> tuple[int, int]:
    names = ("input", "kernel_size", "dilation", "padding", "stride")
    given = {**dict(zip(names, args, strict=False)), **kwargs}

    def pair(value: Any) -> tuple[int, int]:
        return (value, value) if isinstance(value, int) else tuple(value)

    kernel, stride = pair(given["kernel_size"]), pair(given.get("stride", 1))
    padding, dilation = pair(given.get("padding", 0)), pair(given.get("dilation", 1))
    size = given["input"].shape[-2:]
    h, w = ((size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in (0, 1))
    return (int(h), int(w))


@contextmanager
def _watch_modules(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Keep the stack of running modules, and what goes in and out of each, for the length of the block."""
    handles = []

    def register(path: str, module: nn.Module) -> None:
        open_runs: list[_ModuleRun] = []

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            recorder.stack.append(path)
            tensors = [t for t in (*args, *kwargs.values()) if is_tokens(t)]
            open_runs.append(_ModuleRun(path, tensors))

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            recorder.stack.pop()
            run = open_runs.pop()
            tokens = first_tensor(output)
            run.output = tokens if is_tokens(tokens) else None
            recorder.runs.append(run)

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after))

    try:
        for path, module in model.named_modules():
            register(path, module)
        yield
    finally:
        for handle in handles:
            handle.remove()


def probe(model: nn.Module, inputs: Inputs, *, source: str, family: str, overrides: Overrides | None = None) -> Probe:
    """Anatomy of ``model`` for inputs of this size. The pass runs on a batch of two so that batch and tokens cannot
    be mistaken for each other; no global random state is used and nothing stays on the model."""
    overrides = overrides or Overrides()
    recorder = _Recorder()
    can_differentiate = not any(p.is_inference() for p in model.parameters())
    with quiet(model, gradient=can_differentiate), _watch_modules(model, recorder), Interceptor(recorder):
        try:
            output = call_model(model, inputs)
        except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
            raise _does_not_run(source, inputs, error) from error
    return _conclude(model, inputs, output, recorder, source, family, overrides)


def _does_not_run(source: str, inputs: Inputs, error: Exception) -> ModelError:
    what = f"pictures of {inputs.shape[-2]}x{inputs.shape[-1]}" if isinstance(inputs, Tensor) else "these inputs"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(f"'{source}' does not run on {what}: {reason}; give the size it wants with image_size=")


def _conclude(
    model: nn.Module, inputs: Inputs, output: Any, recorder: _Recorder, source: str, family: str, overrides: Overrides
) -> Probe:
    B = batch_of(inputs)
    size = (int(inputs.shape[-2]), int(inputs.shape[-1])) if isinstance(inputs, Tensor) else None
    parameters = sum(p.numel() for p in model.parameters())
    notes: list[str] = []
    logits: Tensor | None
    try:
        logits = output_tensor(output)
    except TargetError:
        logits = None
        notes.append(f"output {type(output).__name__} has no (B, C) tensor; pass target=callable")
    classes, classifier = _classifier(model, output, logits, recorder, overrides)
    owners = _owners(model, recorder, overrides)
    block_paths = list(dict.fromkeys(path for path in owners if path is not None))
    runs = {run.path: run for run in recorder.runs}
    main = _main_length(recorder, B, size, inputs)
    layout, embedding_call = find_layout(
        recorder.grids, main, size, prefix_names(model), overrides.grid, overrides.prefix, notes
    )
    sites: list[SiteInfo] = []
    for index, (seen, owner) in enumerate(zip(recorder.sites, owners, strict=True)):
        run = runs.get(owner) if owner is not None else None
        kind = _kind(seen, B, layout, owner is not None, run)
        heads = seen.heads if seen.heads else max(1, seen.leading // B)
        block = block_paths.index(owner) if owner is not None else None
        sites.append(
            SiteInfo(index, seen.stack[-1] if seen.stack else "", kind, block, heads, seen.head_width, seen.queries, seen.keys, seen.fused)
        )
    blocks = []
    for index, path in enumerate(block_paths):
        own = tuple(site.index for site in sites if site.block == index)
        first = sites[own[0]]
        out = runs[path].output
        width = out.shape[-1] if out is not None else first.heads * first.head_width
        tokens = max(t.shape[1:-1].numel() for t in [*runs[path].inputs, out] if t is not None) if out is not None else first.keys
        blocks.append(BlockInfo(index, path, first.kind, own, first.heads, width, tokens))
    pool = next((site.index for site in reversed(sites) if site.kind == "pool"), None)
    pooling, readout = "none", None
    if blocks and layout is not None and logits is not None:
        last = runs[blocks[-1].path].output
        pooling, readout = pooling_of(logits, last, blocks[-1].kind, layout, pool is not None, overrides.pooling)
        if overrides.prefix is None:
            layout = name_prefix(layout, readout)
    last_out = runs[block_paths[-1]].output if block_paths else None
    anatomy = Anatomy(
        family=family,
        source=source,
        image_size=size,
        layout=layout,
        blocks=tuple(blocks),
        sites=tuple(sites),
        pooling=overrides.pooling or pooling,
        pool_site=pool,
        classifier=classifier,
        classes=classes,
        parameters=parameters,
        readout=readout,
        post_norm=last_out is not None and id(last_out) in recorder.normed,
        output_width=int(logits.shape[-1]) if logits is not None else None,
        notes=tuple(notes),
    )
    return Probe(anatomy, embedding_call)


def _classifier(
    model: nn.Module, output: Any, logits: Tensor | None, recorder: _Recorder, overrides: Overrides
) -> tuple[int | None, str | None]:
    """Number of classes and the classifier's path; None when the output is a feature and not class scores."""
    if logits is None:
        return overrides.classes, None
    last, path = recorder.last_linear or (None, None)
    is_last = last is not None and (last is logits or last is output or last.shape == logits.shape)
    named = getattr(output, "logits", None) is not None or (isinstance(output, dict) and "logits" in output)
    own = getattr(model, "num_classes", None)
    if overrides.classes is not None:
        return overrides.classes, path if is_last else None
    if named:
        return int(logits.shape[-1]), path
    if isinstance(own, int):
        return (own, path) if own > 0 and own == logits.shape[-1] else (None, None)
    feature = hasattr(output, "_fields") or (isinstance(output, dict))
    if last is not None and (last is output) and not feature:
        return int(logits.shape[-1]), path
    return None, None


def _owners(model: nn.Module, recorder: _Recorder, overrides: Overrides) -> list[str | None]:
    """The block of each site: the outermost module that holds no other site and returns what entered in shape.

    A site without such a module (attention pooling) belongs to no block."""
    owners: list[str | None] = []
    by_path: dict[str, list[_ModuleRun]] = {}
    for run in recorder.runs:
        by_path.setdefault(run.path, []).append(run)
    if overrides.blocks is not None:
        known = {name for name, _ in model.named_modules()}
        missing = [path for path in overrides.blocks if path not in known]
        if missing:
            raise ModelError(f"blocks= names '{missing[0]}', which the model does not have; see model.named_modules()")
        return [next((p for p in overrides.blocks if p in seen.stack), None) for seen in recorder.sites]
    for seen in recorder.sites:
        others = {path for other in recorder.sites if other is not seen and other.stack != seen.stack for path in other.stack}
        candidates = [path for path in seen.stack if path and path not in others]
        owners.append(next((path for path in candidates if _keeps_tokens(by_path.get(path, []), get_module(model, path))), None))
    return owners


def _keeps_tokens(runs: Sequence[_ModuleRun], module: nn.Module) -> bool:
    """True when a module takes tokens in and gives tokens of the same shape out, and is no mere container."""
    if isinstance(module, (nn.Sequential, nn.ModuleList)) and len(module) == 1:
        return False
    return any(
        run.output is not None and any(t.shape == run.output.shape for t in run.inputs) for run in runs
    )


def _main_length(recorder: _Recorder, B: int, size: tuple[int, int] | None, inputs: Inputs) -> tuple[int, int] | None:
    """(tokens, how many grids had been seen) of the main sequence: the last site whose queries are its keys, or
    whose one query asks all keys; None when there is none."""
    best: tuple[int, int] | None = None
    for seen in recorder.sites:
        heads_folded = seen.heads == 0 and seen.leading % B == 0
        if seen.dims > 4 or (seen.leading != B and not heads_folded):
            continue
        if seen.queries == seen.keys or seen.queries == 1:
            if best is None or seen.keys >= 4:
                best = (seen.keys, seen.grids)
    if best is not None:
        # cross-covariance attends over d channels: the sequence is then what enters the class attention, or a grid
        longest = max(s.keys for s in recorder.sites)
        singles = [s.keys for s in recorder.sites if s.queries == 1 and s.keys > 1]
        if singles:
            return (singles[-1], best[1])
        cross = [s for s in recorder.sites if s.fused and s.queries == s.keys and s.head_width > s.keys]
        if cross and len(cross) == len(recorder.sites):
            return (cross[-1].head_width, best[1])
        if longest == best[0]:
            return best
    return best


def _kind(seen: _SiteSeen, B: int, layout: TokenLayout | None, in_block: bool, run: _ModuleRun | None) -> SiteKind:
    if seen.dims > 4 or (seen.leading != B and not (seen.heads == 0 and seen.leading % B == 0)):
        return "window"
    if not in_block:
        return "pool" if seen.queries < seen.keys else "other"
    lengths = {layout.tokens, layout.patches} if layout is not None else set()
    if seen.queries == 1 and seen.keys > 1:
        return "class"
    entering = {t.shape[1:-1].numel() for t in (run.inputs if run else [])}
    if seen.queries == seen.keys and (seen.keys in lengths or seen.keys in entering):
        return "self"
    if seen.queries == seen.keys and (seen.head_width in lengths or seen.head_width in entering):
        return "cross-covariance"
    if seen.queries in entering and seen.keys < seen.queries:
        return "reduced"
    return "self" if seen.queries == seen.keys else "other"


def with_source(probe_: Probe, source: str) -> Probe:
    """The same probe under another source name."""
    return replace(probe_, anatomy=replace(probe_.anatomy, source=source))
