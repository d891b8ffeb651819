"""Pictures: the one door through which every room gets its pixels, keys, labels, masks and boxes.

The accepted forms are listed once, in :func:`picture_source`.
"""

from __future__ import annotations

from vitscope.pictures.accepted import picture_source
from vitscope.pictures.batch import Batch, Picture
from vitscope.pictures.find import find_pictures
from vitscope.pictures.forms import Images
from vitscope.pictures.memory import as_picture
from vitscope.pictures.read import MAX_PIXELS, read_picture
from vitscope.pictures.source import PictureSource
from vitscope.pictures.truth import Box, Labels

__all__ = [
    "MAX_PIXELS",
    "Batch",
    "Box",
    "Images",
    "Labels",
    "Picture",
    "PictureSource",
    "as_picture",
    "find_pictures",
    "picture_source",
    "read_picture",
]
