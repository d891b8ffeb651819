"""Labels, boxes and masks from the files people have beside their pictures: folders, CSV, COCO JSON, VOC XML."""

from __future__ import annotations

from vitscope.pictures.annotations.boxes import read_annotations, read_boxes
from vitscope.pictures.annotations.coco import read_coco
from vitscope.pictures.annotations.labels import read_folder, read_labels
from vitscope.pictures.annotations.matching import read_known
from vitscope.pictures.annotations.records import ObjectRecord, PictureRecord
from vitscope.pictures.annotations.voc import read_voc

__all__ = [
    "ObjectRecord",
    "PictureRecord",
    "read_annotations",
    "read_boxes",
    "read_coco",
    "read_folder",
    "read_known",
    "read_labels",
    "read_voc",
]
