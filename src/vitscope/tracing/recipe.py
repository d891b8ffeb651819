"""What a result depends on besides its pictures and options: the opened model as it is now, and the libraries."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata
from typing import Any

import torch

from vitscope.tracing.vit import Vit
from vitscope.version import __version__


def model_identity(vit: Vit) -> dict[str, Any]:
    """The model's part of a :class:`~vitscope.storage.recipe.Recipe`: source, fingerprint of the weights as they are,
    precision, preprocessing, what the user overrode, kind of output. The anatomy follows from these and the input.

    Reads all weights: ask once for a run, not for each batch."""
    return {
        "source": vit.source,
        "family": vit.family,
        "fingerprint": vit.fingerprint,
        "precision": vit.precision,
        "preprocessing": None if vit.preprocessor is None else vit.preprocessor.as_dict(),
        "overrides": vit.overrides,
        "output": vit.loaded.output,
    }


@cache
def _timm_version() -> str:
    """Read from its installation: a model of one's own needs no timm, and importing it takes seconds."""
    return metadata.version("timm")


def library_versions() -> dict[str, str]:
    """Versions of vitscope, Python and the libraries that compute a result, by name."""
    return {
        "vitscope": __version__,
        "torch": str(torch.__version__),
        "timm": _timm_version(),
        "python": platform.python_version(),
    }
