"""The pictures that models are asked about, from the pictures room: how files are found and read."""

from __future__ import annotations

from vitscope.pictures.find import find_pictures
from vitscope.pictures.read import MAX_PIXELS, read_picture

__all__ = ["MAX_PIXELS", "find_pictures", "read_picture"]
