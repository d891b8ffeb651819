"""ROAD's noisy linear imputation: each removed pixel is the weighted mean of its eight neighbours.

Rong et al., "A consistent and efficient evaluation strategy for attribution methods", ICML 2022: weights 1/6
for the straight and 1/12 for the diagonal neighbours. The equations of all pictures and channels are solved
together on the device by conjugate gradients, with no matrix: the system is the graph Laplacian of the pixel
grid restricted to the removed pixels, symmetric and positive definite. At a border only the neighbours that
exist are averaged.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

DIAGONAL = 1 / 12
"""Weight of a diagonal neighbour; a straight one has twice that."""


def linear_imputation(images: Tensor, keep: Tensor, *, tolerance: float = 1e-4, limit: int = 2000) -> Tensor:
    """Fill the removed pixels: images (B, C, H, W), keep (B, 1, H, W) bool -> (B, C, H, W), kept pixels as are.

    A picture with no kept pixel at all becomes its own mean colour. ``tolerance`` is relative to the right-hand
    side, per picture and channel; ``limit`` the most iterations.
    """
    kept = keep.to(images.dtype)
    hole = 1 - kept
    degree = _neighbours(torch.ones_like(kept))
    degree_of, hole_of, scale_of = degree, hole, degree.clamp_min(1e-6)
    right = _neighbours(images * kept) * hole
    # A good start saves most iterations: average what is known over coarser and coarser cells.
    solution = _pyramid_fill(images, kept) * hole
    residual = right - _laplacian(solution, degree, hole)
    step = residual / scale_of
    direction = step
    energy = _dot(residual, step)
    bound = tolerance**2 * _dot(right, right / scale_of)
    finished, waiting = torch.zeros_like(solution), torch.arange(len(images), device=images.device)
    for iteration in range(limit):
        # Asking who has converged waits for the device: do it now and then, and go on with the others alone.
        if iteration % 10 == 0:
            busy = (energy > bound).flatten(1).any(1).nonzero().squeeze(1)
            if len(busy) == 0:
                break
            if len(busy) <= 0.8 * len(waiting):
                finished[waiting] = solution
                waiting = waiting[busy]
                solution, residual, direction, energy, bound, degree_of, hole_of, scale_of = (
                    part[busy]
                    for part in (solution, residual, direction, energy, bound, degree_of, hole_of, scale_of)
                )
        image = _laplacian(direction, degree_of, hole_of)
        curvature = _dot(direction, image)
        alive = energy > bound
        length = torch.where(alive, energy / curvature.clamp_min(1e-30), torch.zeros_like(energy))
        solution = solution + length * direction
        residual = residual - length * image
        step = residual / scale_of
        fresh = _dot(residual, step)
        direction = (
            step + torch.where(alive, fresh / energy.clamp_min(1e-30), torch.zeros_like(energy)) * direction
        )
        energy = torch.where(alive, fresh, energy)
    finished[waiting] = solution
    solution = finished
    filled = images * kept + solution * hole
    lost = kept.sum(dim=(1, 2, 3), keepdim=True) == 0
    return torch.where(lost, images.mean(dim=(2, 3), keepdim=True).expand_as(images), filled)


def noisy_linear_imputation(
    images: Tensor, keep: Tensor, noise: Tensor, *, deviation: float = 0.01
) -> Tensor:
    """Linear imputation, plus ``deviation`` times standard normal ``noise`` (B, C, H, W) on removed pixels."""
    filled = linear_imputation(images, keep)
    return torch.where(keep, filled, filled + deviation * noise.to(filled))


def _neighbours(values: Tensor) -> Tensor:
    """Weighted sum of the eight neighbours, zeros outside the picture.

    The weights are those of (1 2 1) along both axes without the centre, so two passes of adding shifted pictures do it.
    """
    across = 2 * values
    across[..., :, 1:] += values[..., :, :-1]
    across[..., :, :-1] += values[..., :, 1:]
    both = 2 * across
    both[..., 1:, :] += across[..., :-1, :]
    both[..., :-1, :] += across[..., 1:, :]
    return (both - 4 * values) * DIAGONAL


def _laplacian(values: Tensor, degree: Tensor, hole: Tensor) -> Tensor:
    return (degree * values - _neighbours(values)) * hole


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(dim=(2, 3), keepdim=True)


def _pyramid_fill(images: Tensor, kept: Tensor) -> Tensor:
    """Mean of the known pixels in the finest cell that holds one, over cells of 2, 4, 8 ... pixels."""
    total, weight = images * kept, kept
    levels = [(total, weight)]
    while max(total.shape[-2:]) > 1:
        total = functional.avg_pool2d(total, 2, ceil_mode=True, count_include_pad=False)
        weight = functional.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
        levels.append((total, weight))
    value = levels[-1][0] / levels[-1][1].clamp_min(1e-12)
    for total, weight in reversed(levels[:-1]):
        raised = functional.interpolate(value, size=total.shape[-2:], mode="bilinear", align_corners=False)
        value = torch.where(weight > 0, total / weight.clamp_min(1e-12), raised)
    return value
