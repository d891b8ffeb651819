"""Models: open a ViT by name or instance, know its anatomy, prepare pictures for it."""

from __future__ import annotations

from vitscope.models.anatomy import Anatomy, BlockInfo, SiteInfo, TokenLayout
from vitscope.models.class_names import imagenet_names
from vitscope.models.fingerprint import fingerprint
from vitscope.models.geometry import Geometry
from vitscope.models.inputs import to_batch, to_pictures
from vitscope.models.load import load_model, model_names
from vitscope.models.loaded import LoadedModel, TextTower
from vitscope.models.pictures import find_pictures, read_picture
from vitscope.models.preprocess import Preprocessor
from vitscope.models.recipes import as_preprocessor

__all__ = [
    "Anatomy",
    "BlockInfo",
    "Geometry",
    "LoadedModel",
    "Preprocessor",
    "SiteInfo",
    "TextTower",
    "TokenLayout",
    "as_preprocessor",
    "find_pictures",
    "fingerprint",
    "imagenet_names",
    "load_model",
    "model_names",
    "read_picture",
    "to_batch",
    "to_pictures",
]
