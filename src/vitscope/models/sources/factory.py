"""``package.module:function``: a model that code of one's own makes, by the name of the function or class."""

from __future__ import annotations

import importlib
import re

from torch import nn

from vitscope.errors import ModelError, brief, nearest
from vitscope.models.opening.loaded import LoadedModel
from vitscope.models.opening.weights import load_weights
from vitscope.models.sources.module import from_module
from vitscope.models.sources.registry import Request

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")


def is_factory(name: str) -> bool:
    """Whether a model's name is that of something in a module of Python."""
    return _NAME.fullmatch(name) is not None


def load(request: Request) -> LoadedModel:
    """Import the module and call what is named, with the options of the request; it gives an ``nn.Module``.

    Importing runs that module's code, as importing it in Python does; weights are read as tensors only.

    Raises ModelError, WeightsError for a file of weights that does not fit."""
    matched = _NAME.fullmatch(request.name)
    assert matched is not None
    made = _found(matched[1], matched[2])
    if isinstance(made, nn.Module):
        if request.options:
            raise ModelError(
                f"{request.name} is a model that is already built and takes no {', '.join(request.options)}; name "
                "the function that builds it"
            )
    elif callable(made):
        try:
            made = made(**request.options)
        except Exception as error:
            raise ModelError(
                f"{request.name} cannot be built as asked ({brief(error)}); check its options"
            ) from error
    loaded = from_module(made, request.image_size)
    loaded.source, loaded.weights = (
        request.name,
        request.weights_label if request.weights is not None else "given",
    )
    if request.weights is not None:
        load_weights(loaded.module, request.weights, model=request.name)
    return loaded


def _found(module: str, path: str) -> object:
    try:
        found: object = importlib.import_module(module)
    except Exception as error:
        raise ModelError(
            f"the module {module} cannot be imported ({brief(error)}); give package.module:function as Python would "
            "import it from the current folder"
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            near = ", ".join(nearest(name, [each for each in dir(found) if not each.startswith("_")]))
            raise ModelError(f"{module} has no {path}; nearest: {near}")
        found = getattr(found, name)
    return found
