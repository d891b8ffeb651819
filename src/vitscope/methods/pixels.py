"""Gradients on the pixels and pixel perturbations, through Captum (extra ``captum``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from torch import Tensor

from vitscope.errors import MethodError, TargetError, VitscopeError, brief
from vitscope.interruption import held, released
from vitscope.methods.applicability import pictures_only
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.opening.optional import require
from vitscope.models.preparing.cells import Cells
from vitscope.options.bounds import Range, Seed
from vitscope.tracing import Trace
from vitscope.tracing.calls.calling import call_model, with_pictures
from vitscope.tracing.calls.guard import quiet
from vitscope.tracing.calls.outputs import scores_of
from vitscope.tracing.calls.scope import running
from vitscope.tracing.passes.answers import FLAT
from vitscope.tracing.passes.forward_pass import run_pass
from vitscope.tracing.passes.request import PassRequest

Baseline = Annotated[float, Range(-100, 100)]
"""A pixel value in normalised units."""
Pixels = Callable[[Any, Callable[[Tensor], Tensor], Tensor], Tensor]
"""(captum.attr, differentiable score of pictures (n, 3, H, W) -> (n,), pictures) -> attribution (B, 3, H, W)."""


def _per_patch(pixels: Tensor, trace: Trace, absolute: bool) -> Relevance:
    """Channels added (or their absolute values), pixels of a patch added: (B, 3, H, W) -> maps (B, h, w)."""
    values = pixels.detach().float()
    notes = () if bool(values.flatten(1).any(1).all()) else (FLAT,)
    values = (values.abs() if absolute else values).sum(1)
    return Relevance(maps=trace.cells.sums(values), notes=notes)


def _attribute(trace: Trace, run: Pixels, only: int | None = None) -> Tensor:
    """Call Captum on this trace's pictures (or one of them) and target; the model is quiet and put back afterwards."""
    attribution = require("captum.attr", "captum", "this method", distribution="captum")
    traced, resolved = trace.model, trace.resolved
    if resolved is None:
        raise TargetError(trace.anatomy.why_no_class())
    chosen = torch.arange(trace.batch) if only is None else torch.tensor([only])
    chosen = chosen.to(trace.logits.device)

    def run_model(images: Tensor) -> Any:
        # Captum stacks whole batches, so row i belongs to picture i mod B
        rows = chosen[torch.arange(len(images), device=images.device) % len(chosen)]
        inputs = with_pictures(trace.inputs, images, rows)
        if trace.rules is None and not trace.request.ablations:
            return call_model(traced.module, inputs)
        request = PassRequest(
            precision=trace.precision, gradient=True, rules=trace.rules, ablations=trace.request.ablations
        )
        return run_pass(traced.module, trace.anatomy, inputs, request).output

    def score(images: Tensor) -> Tensor:
        output = run_model(images)
        target = resolved.select(chosen[torch.arange(images.shape[0], device=images.device) % len(chosen)])
        return target.score(output, scores_of(output, trace.anatomy.output, len(images)))

    with quiet(traced.module, gradient=True, precision=trace.precision), running():
        images = trace.images[chosen].clone().requires_grad_()
        with _told(traced.source):
            return run(attribution, score, images)


@contextmanager
def _told(source: str) -> Iterator[None]:
    """What goes wrong in Captum as one line with the true reason; our own errors and a lack of memory as they are."""
    try:
        yield
    except (VitscopeError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        if _CUT.search(str(error)):
            raise MethodError(
                f"no gradient comes back from the score to the pixels of '{source}': the way is cut (integer layers, "
                "torch.no_grad, a detach, a target that rounds); explain the float model, or use occlusion"
            ) from error
        raise MethodError(
            f"Captum could not explain this model ({brief(error)}); use a method of vitscope's own, such as gae or dart"
        ) from error


_CUT = re.compile(
    r"does not require grad|not have been used in the graph|One of the differentiated Tensors|does not have a grad_fn"
)
"""How PyTorch says that the way from the score back to the pixels is cut."""


def _features(cells: Cells, trace: Trace) -> Tensor:
    """The number of each pixel's cell as Captum wants it, (1, 1, H, W); pixels of no cell are one more feature."""
    index = cells.index(trace.images.device)
    return index.where(index >= 0, index.amax() + 1)[None, None]


@register(
    "saliency",
    family="pixel-gradient",
    title="Saliency",
    citation="Simonyan, Vedaldi and Zisserman, 2013, arXiv 1312.6034",
    class_specific=True,
    backwards=1,
    needs=Needs(),
    applies=pictures_only,
    takes_libra=True,
)
def saliency(trace: Trace) -> Relevance:
    """Sum of |dy/dx| over a patch's pixels and channels."""
    return _per_patch(_attribute(trace, lambda c, f, x: c.Saliency(f).attribute(x, abs=True)), trace, True)


@register(
    "input-x-gradient",
    family="pixel-gradient",
    title="Input times gradient",
    citation="Shrikumar et al., 2016, arXiv 1605.01713",
    class_specific=True,
    signed=True,
    backwards=1,
    needs=Needs(),
    applies=pictures_only,
    takes_libra=True,
)
def input_x_gradient(trace: Trace) -> Relevance:
    """Sum of x * dy/dx over a patch's pixels and channels; x is the normalised picture."""
    return _per_patch(_attribute(trace, lambda c, f, x: c.InputXGradient(f).attribute(x)), trace, False)


@register(
    "integrated-gradients",
    family="pixel-gradient",
    title="Integrated gradients",
    citation="Sundararajan, Taly and Yan, ICML 2017, arXiv 1703.01365",
    class_specific=True,
    signed=True,
    forwards=20,
    passes_by=("steps", 20),
    backwards=20,
    needs=Needs(),
    applies=pictures_only,
    takes_libra=True,
)
def integrated_gradients(
    trace: Trace, *, steps: Annotated[int, Range(1, 1000)] = 20, baseline: Baseline = 0.0
) -> Relevance:
    """Path integral of the gradient from a constant picture (``baseline`` in normalised units) to the picture.

    ``steps``: points of the Gauss-Legendre rule, one forward and backward each."""

    def run(c: Any, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        found: Tensor = c.IntegratedGradients(f).attribute(
            x, baselines=torch.full_like(x, baseline), n_steps=steps, internal_batch_size=x.shape[0]
        )
        return found

    return _per_patch(_attribute(trace, run), trace, False)


@register(
    "smoothgrad",
    family="pixel-gradient",
    title="SmoothGrad",
    citation="Smilkov et al., 2017, arXiv 1706.03825",
    class_specific=True,
    forwards=10,
    passes_by=("samples", 10),
    backwards=10,
    needs=Needs(),
    applies=pictures_only,
    takes_libra=True,
)
def smoothgrad(
    trace: Trace,
    *,
    samples: Annotated[int, Range(1, 10_000)] = 10,
    noise: Annotated[float, Range(0, 10)] = 0.15,
    seed: Seed = 0,
) -> Relevance:
    """Mean of |dy/dx| over ``samples`` noisy copies; ``noise``: deviation as a share of the picture's range."""

    def run(c: Any, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        # Captum's NoiseTunnel draws from the global generator; here every picture has its own
        spread = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        total = torch.zeros_like(x)
        for draw in range(samples):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + draw)
            wobble = torch.randn(x.shape[1:], generator=generator).to(x)
            total += c.Saliency(f).attribute((x + spread * wobble).detach().requires_grad_(), abs=True)
        return total / samples

    return _per_patch(_attribute(trace, run), trace, True)


@register(
    "occlusion",
    family="black-box",
    title="Occlusion of pixels",
    citation="Zeiler and Fergus, ECCV 2014, arXiv 1311.2901",
    class_specific=True,
    signed=True,
    forwards=196,
    passes_by=("patches", 196),
    needs=Needs(precision="float32"),
    applies=pictures_only,
)
def occlusion(trace: Trace, *, baseline: Baseline = 0.0) -> Relevance:
    """Drop of the score when one patch's pixels are set to ``baseline`` (normalised units), one forward a patch."""
    cells = trace.cells
    mask = _features(cells, trace)

    def run(c: Any, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = c.FeatureAblation(f).attribute(x, baselines=baseline, feature_mask=mask)
        return found

    pixels = _attribute(trace, run)
    # every pixel of a cell carries the cell's drop, on every channel
    return Relevance(maps=cells.means(pixels[:, 0]))


@register(
    "kernel-shap",
    family="black-box",
    title="KernelSHAP over patches",
    citation="Lundberg and Lee, NeurIPS 2017, arXiv 1705.07874",
    class_specific=True,
    signed=True,
    forwards=400,
    passes_by=("samples", 400),
    needs=Needs(),
    applies=pictures_only,
)
def kernel_shap(
    trace: Trace,
    *,
    samples: Annotated[int, Range(2, 100_000)] = 400,
    baseline: Baseline = 0.0,
    seed: Seed = 0,
) -> Relevance:
    """Shapley values of the patches by weighted linear regression on ``samples`` random coalitions.

    Absent patches are set to ``baseline`` (normalised units). With fewer samples than about twice the patches the
    regression is underdetermined and the values are noise."""
    cells = trace.cells
    mask = _features(cells, trace)
    maps = []
    for index in range(trace.batch):

        def run(c: Any, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
            with held(), torch.random.fork_rng(devices=[]), torch.no_grad(), released():
                torch.manual_seed(seed)
                found: Tensor = c.KernelShap(f).attribute(
                    x, baselines=baseline, feature_mask=mask, n_samples=samples, perturbations_per_eval=16
                )
            return found

        pixels = _attribute(trace, run, only=index)
        maps.append(cells.means(pixels[:, 0])[0])
    return Relevance(maps=torch.stack(maps))
