"""Weights from files, without trusting them: safetensors, or a checkpoint of tensors only."""

from __future__ import annotations

import itertools
import os
import pickle
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitscope.errors import WeightsError, brief
from vitscope.storage.paths import typed_path

StateDict = dict[str, Tensor]
Adapt = Callable[[StateDict, nn.Module], Mapping[str, Tensor]]

_CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt", ".tar")
_WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "module", "net", "network", "weights",
             "teacher", "state_dict_ema", "model_ema")  # fmt: skip


def load_weights(
    module: nn.Module,
    weights: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    model: str,
    adapt: Adapt | None = None,
) -> None:
    """Put the weights of a file (or a state dict) into ``module``, every key, in the module's own dtype.

    A prefix common to the keys (``module.``, ``model.``, ``_orig_mod.`` ...) is taken off. ``adapt`` is the
    library's own conversion (position embeddings of another size, old names), tried when the weights do not fit as
    they are. ``model`` is the model's name in messages. Raises ``WeightsError``, leaving the module as it was.
    """
    origin = "the given weights" if isinstance(weights, Mapping) else f"the weights of {weights}"
    state = tensors_of(weights, origin) if isinstance(weights, Mapping) else read_weights(weights)
    expected = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    state = without_prefix(state, expected)
    mismatch = compare(state, expected)
    if mismatch and adapt is not None:
        adapted = _adapted(state, module, adapt)
        if adapted is not None and not compare(adapted, expected):
            state, mismatch = adapted, compare(adapted, expected)
    if mismatch:
        raise WeightsError(f"{origin} do not fit {model}: {mismatch.describe(state, expected)}")
    refuse_numbers(state, expected, origin)
    module.load_state_dict(state, strict=True)


def refuse_numbers(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], origin: str) -> None:
    """Raise WeightsError, by the first tensor's name, for numbers that a model of such weights cannot mean.

    That is another kind of number than the model computes with (integers, truths and 8-bit floats need the scale that
    they were divided by, which is not in a state dict), NaN, infinity, and what becomes infinite in the model's dtype.
    """
    for words, wrong, remedy in _FAULTS:
        names = [name for name, value in state.items() if name in expected and wrong(value, expected[name])]
        if names:
            raise WeightsError(f"{origin} hold {words}, first in {names[0]} ({len(names)} tensors); {remedy}")


def _is_coded(value: Tensor, wanted: Tensor) -> bool:
    """Numbers that stand for others: codes of a quantised model."""
    plain = value.is_floating_point() and value.element_size() > 1
    return wanted.is_floating_point() and not plain and not value.is_complex()


def _is_complex(value: Tensor, wanted: Tensor) -> bool:
    return value.is_complex() and not wanted.is_complex()


def _is_fraction(value: Tensor, wanted: Tensor) -> bool:
    """Fractions where the model has whole numbers (an index, a counter)."""
    whole = not wanted.is_floating_point() and not wanted.is_complex()
    return whole and value.is_floating_point() and bool((value != value.round()).any())


def _has_nan(value: Tensor, wanted: Tensor) -> bool:
    return value.is_floating_point() and bool(value.isnan().any())


def _is_infinite(value: Tensor, wanted: Tensor) -> bool:
    """Infinite where the model's own tensor is not: a mask in a buffer may be."""
    if not value.is_floating_point() or wanted.is_meta or not bool(value.isinf().any()):
        return False
    return not bool(wanted.isinf().any())


def _overflows(value: Tensor, wanted: Tensor) -> bool:
    if not value.is_floating_point() or value.dtype == wanted.dtype:
        return False
    return bool((value.to(wanted.dtype).isinf() & ~value.isinf()).any())


_FAULTS: tuple[tuple[str, Callable[[Tensor, Tensor], bool], str], ...] = (
    (
        "integers, truths or 8-bit floats where the model has real numbers", _is_coded,
        "they lack the scale of a quantised model: give the weights from before quantisation",
    ),
    ("complex numbers", _is_complex, "give the weights of this model"),
    ("fractions where the model has whole numbers", _is_fraction, "give the weights of this model"),
    ("NaN values", _has_nan, "training must have diverged: use an earlier checkpoint"),
    ("infinite values", _is_infinite, "training must have diverged: use an earlier checkpoint"),
    ("values too large for the model's numbers", _overflows, "training must have diverged: use an earlier checkpoint"),
)  # fmt: skip


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


def without_prefix(state: StateDict, expected: Mapping[str, Tensor]) -> StateDict:
    """Take off the prefix whose removal makes most keys match; none, when the keys match best as they are."""
    votes: Counter[str] = Counter()
    for name in state:
        pieces = name.split(".")
        for count in range(len(pieces)):
            if ".".join(pieces[count:]) in expected:
                votes[".".join([*pieces[:count], ""])] += 1
    # Counter keeps first-seen order among equals; as-is must win a tie.
    prefix = max(votes, key=lambda key: (votes[key], key == ""), default="")
    return {name.removeprefix(prefix): value for name, value in state.items()}


@dataclass(frozen=True)
class Mismatch:
    """Keys that keep a state dict from fitting; false when there are none."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shaped: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shaped)

    def describe(self, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
        """One line: how many and the first few of each kind, and what mends it."""
        if len(self.missing) == len(expected):
            return (
                f"no key in common (the file has {_few(self.unexpected)}; the model wants {_few(self.missing)}); "
                "open the model that they were made for"
            )
        shapes = tuple(
            f"{name} file {_size(state[name])} model {_size(expected[name])}" for name in self.shaped
        )
        parts = [
            f"{len(names)} {what} ({_few(names)})"
            for what, names in (
                ("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", shapes)
            )
            if names
        ]  # fmt: skip
        return ", ".join(parts) + "; " + self._remedy(state, expected)

    def _remedy(self, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
        first = {state[name].shape[0] for name in self.shaped if state[name].ndim}
        heads = all(
            state[name].shape[1:] == expected[name].shape[1:] and "embed" not in name for name in self.shaped
        )
        if self.shaped and heads and len(first) == 1 and not self.missing and not self.unexpected:
            return f"they were trained for {first.pop()} classes: open the model with num_classes set to that"
        if (
            self.shaped
            and all("pos" in name for name in self.shaped)
            and not self.missing
            and not self.unexpected
        ):
            return "they were trained for another picture size: open the model with that image_size"
        return "open the model that they were made for"


def compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mismatch:
    """What keeps ``state`` from being loaded strictly where ``expected`` is wanted."""
    return Mismatch(
        missing=tuple(name for name in expected if name not in state),
        unexpected=tuple(name for name in state if name not in expected),
        shaped=tuple(
            name for name in expected if name in state and state[name].shape != expected[name].shape
        ),
    )


def _adapted(state: StateDict, module: nn.Module, adapt: Adapt) -> StateDict | None:
    try:
        return dict(adapt(dict(state), module))
    except Exception:
        # Made for this model's own checkpoints, it may fail in any way on those of another; the report of the
        # unadapted keys says more than that failure.
        return None


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


def _few(names: tuple[str, ...], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"
