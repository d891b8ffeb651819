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

STRAIGHT, DIAGONAL = 1 / 6, 1 / 12


def linear_imputation(images: Tensor, keep: Tensor, *, tolerance: float = 1e-4, limit: int = 2000) -> Tensor:
    """Fill the removed pixels: images (B, C, H, W), keep (B, 1, H, W) bool -> (B, C, H, W), kept pixels as are.

    A picture with no kept pixel at all becomes its own mean colour. ``tolerance`` is relative to the right-hand
    side, per picture and channel; ``limit`` the most iterations.
    """
    kept = keep.to(images.dtype)
    hole = 1 - kept
    degree = _neighbours(torch.ones_like(kept))
    right = _neighbours(images * kept) * hole
    # A good start saves most iterations: average what is known over coarser and coarser cells.
    solution = _pyramid_fill(images, kept) * hole
    scale = degree.clamp_min(1e-6)
    residual = right - _laplacian(solution, degree, hole)
    step = residual / scale
    direction = step
    energy = _dot(residual, step)
    bound = tolerance**2 * _dot(right, right / scale)
    for iteration in range(limit):
        # Asking whether all have converged waits for the device: do it now and then.
        if iteration % 10 == 0 and bool((energy <= bound).all()):
            break
        image = _laplacian(direction, degree, hole)
        curvature = _dot(direction, image)
        alive = energy > bound
        length = torch.where(alive, energy / curvature.clamp_min(1e-30), torch.zeros_like(energy))
        solution = solution + length * direction
        residual = residual - length * image
        step = residual / scale
        fresh = _dot(residual, step)
        direction = (
            step + torch.where(alive, fresh / energy.clamp_min(1e-30), torch.zeros_like(energy)) * direction
        )
        energy = torch.where(alive, fresh, energy)
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
    """Weighted sum of the eight neighbours, zeros outside the picture."""
    kernel = values.new_tensor(
        [[DIAGONAL, STRAIGHT, DIAGONAL], [STRAIGHT, 0.0, STRAIGHT], [DIAGONAL, STRAIGHT, DIAGONAL]]
    )
    batch, channels, height, width = values.shape
    flat = values.reshape(batch * channels, 1, height, width)
    return functional.conv2d(flat, kernel.view(1, 1, 3, 3), padding=1).view_as(values)


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
