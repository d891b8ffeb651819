"""Pictures with known truth: planted-evidence worlds and mosaics. Knows no model."""

from __future__ import annotations

from vitscope.worlds.mosaics import (
    MosaicPlan,
    cell_masks,
    plan_mosaics,
    tile,
)
from vitscope.worlds.planted import Sample, World, demo_pictures, world, worlds

__all__ = [
    "MosaicPlan",
    "Sample",
    "World",
    "cell_masks",
    "demo_pictures",
    "plan_mosaics",
    "tile",
    "world",
    "worlds",
]
