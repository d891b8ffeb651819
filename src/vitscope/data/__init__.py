"""Pictures with known truth: planted-evidence worlds, labelled folders, boxes and masks, mosaics. Knows no model."""

from __future__ import annotations

from vitscope.data.boxes import join_annotations, read_annotations, read_boxes
from vitscope.data.coco import read_coco
from vitscope.data.folders import read_folder, read_labels
from vitscope.data.mosaics import (
    MosaicPlan,
    Mosaics,
    cell_masks,
    make_mosaics,
    plan_mosaics,
    tile,
    tile_pictures,
)
from vitscope.data.records import Box, ObjectRecord, PictureRecord
from vitscope.data.voc import read_voc, read_voc_mask
from vitscope.data.worlds import Sample, World, demo_pictures, world, worlds

__all__ = [
    "Box",
    "MosaicPlan",
    "Mosaics",
    "ObjectRecord",
    "PictureRecord",
    "Sample",
    "World",
    "cell_masks",
    "demo_pictures",
    "join_annotations",
    "make_mosaics",
    "plan_mosaics",
    "read_annotations",
    "read_boxes",
    "read_coco",
    "read_folder",
    "read_labels",
    "read_voc",
    "read_voc_mask",
    "tile",
    "tile_pictures",
    "world",
    "worlds",
]
