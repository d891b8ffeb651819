"""Open a Vision Transformer by name or take one as it is."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import nn

from vitscope.errors import ModelError, brief, nearest
from vitscope.models.opening.class_names import as_class_names
from vitscope.models.opening.loaded import LoadedModel
from vitscope.models.opening.weights import load_weights
from vitscope.models.opening.wrappers import refuse_unseeable
from vitscope.models.preparing.channels import channels_of, fitted, require_fitted
from vitscope.models.preparing.published import as_preprocessor, pair
from vitscope.models.sources import checkpoint_folder, factory
from vitscope.models.sources.module import from_module
from vitscope.models.sources.registry import Request, Weights, sources
from vitscope.options.bounds import File
from vitscope.options.door import checked
from vitscope.storage.paths import typed_path

NamedModel = Annotated[
    str | os.PathLike[str] | nn.Module,
    File("the name of a model such as timm/NAME, the path of its folder or file, or an nn.Module"),
]
"""What :func:`load_model` opens."""


@checked(ModelError)
def load_model(
    name_or_module: NamedModel,
    *,
    weights: Weights | None = None,
    image_size: int | tuple[int, int] | None = None,
    preprocess: Any = None,
    class_names: Any = None,
    device: str | torch.device | None = None,
    pretrained: bool | str | None = None,
    **options: Any,
) -> LoadedModel:
    """Open a model and everything known about it without running it.

    Args:
        name_or_module: ``timm/NAME``, ``hf/FOLDER_OR_ID``, ``torchvision/NAME``, ``open_clip/NAME@TAG``,
            ``bundled/WORLD``, a folder or file of one's own (see ``checkpoint_folder.load``),
            ``package.module:function`` that makes one, or any ``nn.Module`` (torch.compile's and DataParallel's
            wrappers come off; the model inside is not changed).
        weights: A .safetensors or tensors-only checkpoint file, or a state dict; then nothing is fetched.
        image_size: One number or (H, W), where the model allows another size than its own.
        preprocess: See ``published.as_preprocessor``; None takes the model's own.
        class_names: See ``class_names.as_class_names``; None takes the model's own.
        device: None means the CPU for a named model, and where it already is for a module.
        pretrained: False builds random weights; a string names published weights where a source has several.
        options: Handed on to the library (``num_classes=``, ``attn_implementation=`` ...).

    Returns:
        The module with its preprocessing, class names and where it came from.

    Raises:
        ModelError: With one line; ``WeightsError`` for a weights file.

    Example:
        >>> import vitscope as vs
        >>> vs.models.load_model("bundled/shapes").class_names[:2]
        ['disc', 'square']
    """
    if weights is not None and pretrained:
        raise ModelError("weights= and pretrained= were both given; leave one of them out")
    size = None if image_size is None else pair(image_size)
    if isinstance(name_or_module, (str, os.PathLike)):
        loaded = _named(os.fspath(name_or_module), Request("", weights, size, pretrained, options))
        refuse_unseeable(loaded.module)
        loaded.module.eval()
        device = device or "cpu"
    else:
        loaded = _given(name_or_module, weights, size, pretrained, options)
    if preprocess is not None:
        recipe = as_preprocessor(preprocess, size or loaded.image_size)
        loaded.preprocessor = require_fitted(recipe, channels_of(loaded.module))
        loaded.image_size = size or loaded.image_size or loaded.preprocessor.size
    elif loaded.preprocessor is not None:
        loaded.preprocessor = fitted(loaded.preprocessor, channels_of(loaded.module))
    if class_names is not None:
        loaded.class_names = as_class_names(class_names, _class_count(loaded))
    refuse_empty(loaded.module)
    if device is not None:
        _move(loaded, device)
    return loaded


@checked(ModelError)
def model_names(prefix: str | None = None) -> list[str]:
    """Names that ``load_model`` accepts, of one source or of all whose library is installed.

    Args:
        prefix: The source, such as ``"timm"``; None takes all.

    Returns:
        The names with their prefix.

    Raises:
        ModelError: There is no source of that name.

    Example:
        >>> model_names("bundled")[:2]
        ['bundled/clever-hans', 'bundled/conjunction']
    """
    found = sources()
    if prefix is not None and prefix not in found:
        raise ModelError(f"there is no source {prefix!r}; use one of {', '.join(found)}")
    names = []
    for source in found.values() if prefix is None else [found[prefix]]:
        try:
            names += [f"{source.prefix}/{name}" for name in source.names()]
        except Exception:
            if prefix is not None:
                raise
    return names


def _named(full_name: str, request: Request) -> LoadedModel:
    prefix, slash, name = full_name.partition("/")
    found = sources()
    if slash and name and prefix in found:
        with _hub_told_once():
            return found[prefix].load(replace(request, name=name))
    if checkpoint_folder.is_local(full_name):
        return checkpoint_folder.load(replace(request, name=full_name))
    if factory.is_factory(full_name):
        return factory.load(replace(request, name=full_name))
    raise _no_source(full_name, list(found))


@contextmanager
def _hub_told_once() -> Iterator[None]:
    """A hub that cannot be reached is told by the error: its client would report each of its tries beside it."""
    told = logging.getLogger("huggingface_hub")
    level = told.level
    told.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        told.setLevel(level)


def _no_source(full_name: str, prefixes: list[str]) -> ModelError:
    listed = ", ".join(f"{prefix}/..." for prefix in prefixes)
    path = typed_path(full_name, ModelError)
    if (
        path.suffix.lower() in checkpoint_folder.WEIGHTS_ENDINGS
        or path.is_absolute()
        or full_name.startswith((".", "~"))
    ):
        return ModelError(
            f"there is no file or folder {full_name!r}; expected a folder that transformers or timm saved, a file of "
            f"weights, or a model's name ({listed})"
        )
    from vitscope.models.sources import timm as timm_source

    tail = full_name.rsplit("/", 1)[-1]
    close = ", ".join(f"timm/{name}" for name in nearest(tail, timm_source.known_names()))
    return ModelError(
        f"{full_name!r} names no source, expected one of {listed}, a folder or file of yours, or "
        f"package.module:function; did you mean {close}?"
    )


def _given(
    module: object,
    weights: Weights | None,
    size: tuple[int, int] | None,
    pretrained: bool | str | None,
    options: dict[str, Any],
) -> LoadedModel:
    if options or pretrained:
        extra = ", ".join([*options, *(["pretrained"] if pretrained else [])])
        raise ModelError(f"a model that is already built takes no {extra}; set it when you build the model")
    loaded = from_module(module, size)
    if weights is not None:
        load_weights(loaded.module, weights, model=type(loaded.module).__name__)
        loaded.weights = str(weights) if not isinstance(weights, dict) else "given"
    return loaded


def _class_count(loaded: LoadedModel) -> int | None:
    if loaded.output == "embedding":
        return None
    holder = getattr(loaded.module, "model", loaded.module)
    for owner, name in ((holder, "num_classes"), (getattr(holder, "config", None), "num_labels")):
        count = getattr(owner, name, None)
        if isinstance(count, int) and count > 0:
            return count
    return None


def refuse_empty(module: nn.Module) -> None:
    """Raise ``ModelError`` for a model on the meta device, which has shapes and no values."""
    for name, value in itertools.chain(module.named_parameters(), module.named_buffers()):
        if value.is_meta:
            raise ModelError(
                f"'{name}' has no values (meta device), so there is nothing to run; build the model on the cpu, or "
                "load its weights after to_empty()"
            )


def _move(loaded: LoadedModel, device: str | torch.device) -> None:
    try:
        target = torch.device(device)
        if target.type == "meta":
            raise ModelError(
                "device 'meta' holds no values, so nothing runs on it; use cpu or one that exists"
            )
        loaded.module.to(target)
        tower = loaded.extras.get("text")
        if tower is not None:
            tower.module.to(target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(
            f"the model cannot be put on device {str(device)!r} ({brief(error)}); use cpu or one that exists"
        ) from error
