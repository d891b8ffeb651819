"""A folder or file of the user's own: a fine-tuned checkpoint that says itself which model it is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from vitscope.errors import ModelError, WeightsError, brief, nearest
from vitscope.models.opening.class_names import as_class_names
from vitscope.models.opening.loaded import LoadedModel
from vitscope.models.opening.weight_files import read_weights
from vitscope.models.preparing.published import from_timm
from vitscope.models.quick_imports import without_compiler
from vitscope.models.sources.registry import Request
from vitscope.storage.paths import typed_path

WEIGHTS_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_FILES = ("model.safetensors", "pytorch_model.bin", "model.pth", "model.pt")
_LARGEST_NUMBER = 65536
_SPARE = 1_000_000

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Stated:
    """What a configuration says of a timm model; origin: where it was read, for messages."""

    origin: str
    config: Mapping[str, Any]

    @property
    def architecture(self) -> str:
        return str(self.config["architecture"])


def is_local(name: str) -> bool:
    """Whether a model's name is that of a folder, or of a file with weights, that is there."""
    if not name.strip():  # as a path it would be the folder that one stands in
        return False
    path = typed_path(name, ModelError)
    try:
        return path.is_dir() or (path.suffix.lower() in WEIGHTS_ENDINGS and path.is_file())
    except OSError:  # a name that no file can have
        return False


def load(request: Request) -> LoadedModel:
    """Open a folder or file by what lies in it; ``request.name`` is its path.

    A folder that transformers saved (config.json and weights); one that timm saved (config.json with
    ``architecture``, ``num_classes``, ``label_names``); one file of weights whose safetensors metadata, or the
    config.json beside it, says the same. An architecture is built only when its library lists it by that name and its
    size is that of the weights; pickled code is never run."""
    path = typed_path(request.name, ModelError)
    folder = path if path.is_dir() else path.parent
    weights = None if path.is_dir() else path
    config = _read_config(folder / "config.json")
    stated = _metadata(path) if path.suffix.lower() == ".safetensors" and path.is_file() else None
    if stated is None and config is not None and isinstance(config.get("architecture"), str):
        stated = _Stated(str(folder / "config.json"), config)
    if stated is not None:
        return _timm(stated, folder, weights, request)
    if config is not None and ("model_type" in config or "architectures" in config):
        from vitscope.models.sources import hf as hf_source

        given = request.weights
        if (
            given is None
            and weights is not None
            and weights.name not in _FILES
            and request.pretrained is not False
        ):
            given = weights  # the usual names are for transformers itself to find, which knows its older keys
        loaded: LoadedModel = hf_source.load(replace(request, name=str(folder), weights=given))
        loaded.source = request.name
        return loaded
    raise _says_nothing(path, config)


def _says_nothing(path: Path, config: Mapping[str, Any] | None) -> ModelError:
    lacks = "there is no config.json"
    if config is not None:
        lacks = "the config.json names neither a model_type nor an architecture"
    if path.is_dir():
        return ModelError(
            f"the folder {path} does not say which model it holds ({lacks}); expected one made by save_pretrained() or "
            "timm's save_for_hf(), or open the model by name with the file of weights as weights="
        )
    return ModelError(
        f"{path} is a weights file that does not say which model it was made for ({lacks} beside it, and no "
        "architecture in its metadata); open the model by name, such as timm/deit_tiny_patch16_224 or "
        "package.module:function of yours, and give the file "
        'as weights=, or put beside it a config.json like {"architecture": "deit_tiny_patch16_224", '
        '"num_classes": 3}'
    )


def _read_config(file: Path) -> Mapping[str, Any] | None:
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{file} cannot be read as JSON ({brief(error, 90)}); save the model again"
        ) from error
    if not isinstance(config, Mapping):
        raise ModelError(f"{file} holds a {type(config).__name__}, expected an object; save the model again")
    return config


def _metadata(file: Path) -> _Stated | None:
    """What a safetensors file says of its model in its own metadata, texts by name."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as opened:
            said = opened.metadata() or {}
    except (SafetensorError, OSError):
        return None  # reading the weights says what is wrong with the file
    config: dict[str, Any] = {}
    for name, text in said.items():
        config[name] = text
        with contextlib.suppress(ValueError, RecursionError):
            config[name] = text if name == "architecture" else json.loads(text)
    return _Stated(f"the metadata of {file}", config) if isinstance(config.get("architecture"), str) else None


def _timm(stated: _Stated, folder: Path, weights: Path | None, request: Request) -> LoadedModel:
    with without_compiler():
        import timm

    from vitscope.models.sources import timm as timm_source

    if not timm.is_model(stated.architecture):
        close = ", ".join(nearest(stated.architecture, timm_source.known_names()))
        raise ModelError(
            f"{stated.origin} names the architecture {stated.architecture!r}, which timm does not list; nearest: "
            f"{close}"
        )
    given = request.weights
    if given is None and request.pretrained is not False:
        given = weights if weights is not None else _weights_in(folder)
    options = _options(stated)
    if given is not None and not isinstance(given, Mapping):
        shapes = _shapes(typed_path(given, WeightsError))
        options.setdefault("num_classes", _classes_in(stated, shapes))
        _check_size(stated, options, shapes)
    wanted = replace(
        request,
        name=stated.architecture,
        weights=given,
        pretrained=False,
        options={**options, **request.options},
    )
    loaded: LoadedModel = timm_source.load(wanted)
    loaded.source = request.name
    loaded.class_names = _labels(stated, int(getattr(loaded.module, "num_classes", 0)), loaded.notes)
    prepared = stated.config.get("pretrained_cfg")
    if isinstance(prepared, Mapping) and {"mean", "std", "input_size"} <= set(prepared):
        try:
            loaded.preprocessor = from_timm(prepared, loaded.image_size)
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(
                f"{stated.origin} does not say readably how pictures are prepared ({brief(error, 90)}); mend its "
                "pretrained_cfg"
            ) from error
    return loaded


def _options(stated: _Stated) -> dict[str, Any]:
    """What the architecture is built with, plain values of a sensible size only."""
    options = stated.config.get("model_args") or {}
    if not isinstance(options, Mapping):
        raise ModelError(f"{stated.origin} holds model_args that are no object; save the model again")
    named = {str(name): value for name, value in options.items()}
    for name in ("num_classes", "global_pool"):
        value = stated.config.get(name)
        if value is not None:
            named[name] = value
    size = stated.config.get("img_size")
    if isinstance(size, int):
        named.setdefault("img_size", size)
    for name, value in named.items():
        for number in value if isinstance(value, (list, tuple)) else [value]:
            plain = number is None or isinstance(number, (bool, int, float, str))
            fits = not isinstance(number, (int, float)) or 0 <= number <= _LARGEST_NUMBER
            if not plain or not fits or name.startswith(("pretrained", "checkpoint", "cache")):
                raise ModelError(
                    f"{stated.origin} asks for {name}={str(value)[:40]}, which no listed model is built with; take it "
                    "out"
                )
    if not isinstance(named.get("num_classes", 0), int):
        raise ModelError(
            f"{stated.origin} gives num_classes={named['num_classes']!r}, expected a whole number"
        )
    return named


def _weights_in(folder: Path) -> Path:
    for name in _FILES:
        if (folder / name).is_file():
            return folder / name
    others = sorted(
        file for file in folder.iterdir() if file.suffix.lower() in WEIGHTS_ENDINGS and file.is_file()
    )
    if len(others) == 1:
        return others[0]
    found = (
        f"several files of weights ({', '.join(file.name for file in others[:3])})"
        if others
        else "no weights"
    )
    raise WeightsError(
        f"the folder {folder} holds {found}, expected one, such as model.safetensors; give its path as the model"
    )


def _shapes(file: Path) -> Shapes:
    """Names and shapes of the tensors in a file of weights; of safetensors only the header is read."""
    if file.suffix.lower() != ".safetensors" or not file.is_file():
        return {name: tuple(value.shape) for name, value in read_weights(file).items()}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in list(opened.keys())}
    except (SafetensorError, OSError):
        return {name: tuple(value.shape) for name, value in read_weights(file).items()}  # says what is wrong


def _classes_in(stated: _Stated, shapes: Shapes) -> int:
    """Number of classes of the classifier in the weights, where the configuration names none."""
    with without_compiler():
        import timm

    known = timm.get_pretrained_cfg(stated.architecture, allow_unregistered=True)
    names = getattr(known, "classifier", None) or "head"
    for name in [names] if isinstance(names, str) else list(names):
        ends = [
            shape
            for key, shape in shapes.items()
            if f".{key}".endswith(f".{name}.weight") and len(shape) == 2
        ]
        if len(ends) == 1:
            return ends[0][0]
    raise ModelError(
        f"{stated.origin} does not say how many classes the model has and the weights have no {names}; add "
        '"num_classes"'
    )


def _check_size(stated: _Stated, options: Mapping[str, Any], shapes: Shapes) -> None:
    """Refuse, before memory is taken, a model that is far larger than the weights it is to get."""
    with without_compiler():
        import timm

    depth = options.get("depth", 0)
    if isinstance(depth, int) and depth > len(shapes):
        raise WeightsError(
            f"{stated.origin} asks for depth={depth}, but the weights are {len(shapes)} tensors"
        )
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            shadow = timm.create_model(stated.architecture, pretrained=False, **options)
    except Exception:
        return  # not every architecture can be built without memory; building it says what is wrong
    wanted = sum(value.numel() for value in shadow.state_dict().values())
    found = sum(prod(shape) for shape in shapes.values())
    if wanted > 2 * found + _SPARE:
        raise WeightsError(
            f"{stated.origin} describes a model of {wanted:,} numbers, the weights are {found:,}; they do not belong "
            "together"
        )


def _labels(stated: _Stated, classes: int, notes: list[str]) -> list[str] | None:
    """The checkpoint's own class names, where there is one for each class; else a note."""
    said = stated.config.get("label_names") or stated.config.get("labels") or stated.config.get("class_names")
    if not said:
        return None
    try:
        names = as_class_names(said) if not isinstance(said, str) else [said]
    except ModelError as error:
        notes.append(f"class names of {stated.origin} are left out: {error}")
        return None
    if len(names) != classes:
        notes.append(f"{stated.origin} has {len(names)} class names for {classes} classes; they are left out")
        return None
    described = stated.config.get("label_descriptions")
    if isinstance(described, Mapping) and all(isinstance(described.get(name), str) for name in names):
        return [str(described[name]) for name in names]
    return names
