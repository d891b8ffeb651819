"""Models: open a ViT by name or instance, know its anatomy, prepare pictures for it."""

from __future__ import annotations

from vitscope.models.anatomy import Anatomy, BlockInfo, SiteInfo
from vitscope.models.load import load_model, model_names
from vitscope.models.opening.class_names import imagenet_names
from vitscope.models.opening.fingerprint import fingerprint
from vitscope.models.opening.loaded import LoadedModel, TextTower
from vitscope.models.preparing.geometry import Geometry
from vitscope.models.preparing.inputs import to_batch, to_pictures
from vitscope.models.preparing.preprocessor import Preprocessor
from vitscope.models.preparing.published import as_preprocessor
from vitscope.models.token_layout import TokenLayout

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
    "fingerprint",
    "imagenet_names",
    "load_model",
    "model_names",
    "to_batch",
    "to_pictures",
]
