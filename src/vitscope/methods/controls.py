"""Controls: maps that know nothing of the decision. A method that does not beat them has shown nothing."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from vitscope.methods.applicability import pictures_only
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.options.bounds import Range, Seed
from vitscope.tracing import Trace
from vitscope.tracing.picture_keys import generator_for


@register(
    "random",
    family="control",
    title="Random values",
    citation="control",
    class_specific=False,
    forwards=0,
    needs=Needs(),
    applies=pictures_only,
)
def random(trace: Trace, *, seed: Seed = 0) -> Relevance:
    """Uniform numbers in [0, 1) per patch, drawn from ``seed`` and the picture's key.

    The same picture gets the same map in every batch."""
    height, width = trace.cells.grid
    maps = [torch.rand(height, width, generator=generator_for(seed, key)) for key in trace.keys]
    return Relevance(maps=torch.stack(maps).to(trace.images.device))


@register(
    "uniform",
    family="control",
    title="The same value everywhere",
    citation="control",
    class_specific=False,
    forwards=0,
    needs=Needs(),
    applies=pictures_only,
)
def uniform(trace: Trace) -> Relevance:
    """Ones."""
    return Relevance(maps=torch.ones(len(trace.images), *trace.cells.grid, device=trace.images.device))


@register(
    "centre-gaussian",
    family="control",
    title="A Gaussian in the middle",
    citation="control (photographers centre their objects)",
    class_specific=False,
    forwards=0,
    needs=Needs(),
    applies=pictures_only,
)
def centre_gaussian(trace: Trace, *, sigma: Annotated[float, Range(0.01, 100)] = 0.25) -> Relevance:
    """exp(−r² / 2σ²) around the middle, r and ``sigma`` in units of each side."""
    height, width = trace.cells.grid
    rows = (torch.arange(height, dtype=torch.float32) + 0.5) / height - 0.5
    columns = (torch.arange(width, dtype=torch.float32) + 0.5) / width - 0.5
    square = rows.square().view(-1, 1) + columns.square().view(1, -1)
    bump = torch.exp(-square / (2 * sigma**2)).to(trace.images.device)
    return Relevance(maps=bump.expand(len(trace.images), -1, -1).clone())


@register(
    "edges",
    family="control",
    title="Edges of the picture",
    citation="control, Adebayo et al. 2018, arXiv 1810.03292",
    class_specific=False,
    forwards=0,
    needs=Needs(),
    applies=pictures_only,
)
def edges(trace: Trace) -> Relevance:
    """Length of the Sobel gradient of the grey picture, mean over each patch."""
    return Relevance(maps=trace.cells.means(_sobel(trace.images.float())[:, 0]))


def _sobel(images: Tensor) -> Tensor:
    """Gradient length of the channel mean, (B, 1, H, W), edges repeated at the border."""
    grey = functional.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = grey.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    kernels = torch.stack([across, across.t()]).unsqueeze(1)
    slopes: Tensor = functional.conv2d(grey, kernels)
    length: Tensor = torch.linalg.vector_norm(slopes, dim=1, keepdim=True)
    return length
