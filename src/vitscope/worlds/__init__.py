"""Pictures with known truth: planted-evidence worlds and mosaics. Knows no model."""

from __future__ import annotations

from vitscope.worlds.mosaics import (
    MosaicPlan,
    Mosaics,
    cell_masks,
    make_mosaics,
    plan_mosaics,
    tile,
    tile_pictures,
)
from vitscope.worlds.planted import Sample, World, demo_pictures, world, worlds

__all__ = [
    "MosaicPlan",
    "Mosaics",
    "Sample",
    "World",
    "cell_masks",
    "demo_pictures",
    "make_mosaics",
    "plan_mosaics",
    "tile",
    "tile_pictures",
    "world",
    "worlds",
]
