"""Files of weights, read without trusting them: safetensors, or a checkpoint of tensors only."""

from __future__ import annotations

import itertools
import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import WeightsError, brief
from vitscope.storage.paths import typed_path

StateDict = dict[str, Tensor]

_CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt", ".tar")
_WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "module", "net", "network", "weights",
             "teacher", "state_dict_ema", "model_ema")  # fmt: skip


def read_weights(path: str | os.PathLike[str]) -> StateDict:
    """The tensors of a weights file on the CPU, wrappers such as ``{"model": ...}`` removed.

    ``.safetensors``, or ``.pth``, ``.pt``, ``.bin``, ``.ckpt``, ``.tar`` through ``torch.load(weights_only=True)``:
    a pickle that would run code is refused. Raises ``WeightsError``.
    """
    file = typed_path(path, WeightsError)
    if not file.is_file():
        kind = "is a folder; name the file in it" if file.is_dir() else "does not exist; check the path"
        raise WeightsError(f"the weights file {file} {kind}")
    try:
        head = _head(file)
    except OSError as error:
        raise WeightsError(
            f"the weights file {file} cannot be read ({error.strerror}); check its permissions"
        ) from error
    if not head:
        raise WeightsError(f"the weights file {file} is empty (0 bytes); fetch it again")
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{file} is a Git LFS pointer, not the weights; run git lfs pull")
    suffix = file.suffix.lower()
    if suffix == ".safetensors":
        return _read_safetensors(file)
    if suffix in _CHECKPOINTS:
        return tensors_of(_read_checkpoint(file), f"the weights of {file}")
    raise WeightsError(
        f"{file} has an unknown ending; expected weights as .safetensors or as one of {', '.join(_CHECKPOINTS)}"
    )


def tensors_of(checkpoint: Any, origin: str) -> StateDict:
    """The state dict inside a checkpoint: the checkpoint itself or the first known wrapper in it."""
    if not isinstance(checkpoint, Mapping):
        raise WeightsError(
            f"{origin} are a {type(checkpoint).__name__}, expected a mapping of names to tensors; "
            "save model.state_dict()"
        )
    for key in _WRAPPERS:
        inner = checkpoint.get(key)
        if isinstance(inner, Mapping) and inner:
            return tensors_of(inner, origin)
    tensors = {str(name): value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(checkpoint)[:4])) or "nothing"
        raise WeightsError(f"{origin} hold no tensors (found: {keys}); save model.state_dict()")
    return tensors


def _read_safetensors(file: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: StateDict = load_file(str(file), device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"the weights file {file} is damaged or no safetensors file ({error}); fetch it again"
        ) from error
    return tensors_of(tensors, f"the weights of {file}")


def _read_checkpoint(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of the file's age is no concern of the user's
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{file} is not tensors only ({_blame(error)}) and could run code when opened, so it is refused; if you "
            "trust it, re-save its state dict as .safetensors"
        ) from error
    except Exception as error:
        if "TorchScript" in str(error) or "torch.jit" in str(error):
            raise WeightsError(
                f"{file} is a TorchScript archive, not a state dict; save scripted.state_dict() with torch.save"
            ) from error
        raise WeightsError(
            f"the weights file {file} is damaged or no checkpoint ({brief(error)}); fetch it again"
        ) from error


def _blame(error: Exception) -> str:
    """The name that weights_only refused, out of torch's long explanation."""
    words = str(error).split()
    for before, name in itertools.pairwise(words):
        if before == "GLOBAL" and "." in name:
            return f"it holds {name}"
    return "it holds a pickled object"


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(64)
