"""Weights put into a model: every key, in the right shape, and what mends it where they do not fit."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from vitscope.errors import WeightsError
from vitscope.models.opening.weight_files import StateDict, read_weights, tensors_of

Adapt = Callable[[StateDict, nn.Module], Mapping[str, Tensor]]


class OtherHead(WeightsError):
    """Weights that fit but for the classifier, which was trained for another number of classes."""

    def __init__(self, message: str, classes: int) -> None:
        super().__init__(message)
        self.classes = classes


def load_with_head(
    build: Callable[[int | None], nn.Module],
    weights: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    model: str,
    adapt: Callable[[nn.Module], Adapt | None] = lambda module: None,
    classes: int | None = None,
) -> tuple[nn.Module, int | None]:
    """Build a model and load its weights; where only the head differs, with the number of classes of the weights.

    Args:
        build: Makes the model, with its own number of classes for None.
        weights: As for :func:`load_weights`, and so is model.
        adapt: Gives the library's own conversion for a model.
        classes: The number of classes that was asked for; 0 leaves the weights' head out, another one is kept to.

    Returns:
        The model, and the number of classes that the weights told, None where the model's own fitted.

    Raises:
        WeightsError: They do not fit.
    """
    module = build(None)
    try:
        load_weights(module, weights, model=model, adapt=adapt(module), without_head=classes == 0)
    except OtherHead as head:
        if classes is not None:
            raise
        module = build(head.classes)
        load_weights(module, weights, model=model, adapt=adapt(module))
        return module, head.classes
    return module, None


def load_weights(
    module: nn.Module,
    weights: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    model: str,
    adapt: Adapt | None = None,
    without_head: bool = False,
) -> None:
    """Put the weights of a file (or a state dict) into ``module``, every key, in the module's own dtype.

    A prefix common to the keys (``module.``, ``model.``, ``_orig_mod.`` ...) is taken off. ``adapt`` is the
    library's own conversion (position embeddings of another size, old names), tried when the weights do not fit as
    they are. ``model`` is the model's name in messages. ``without_head``: the model was asked for without its
    classifier, so that of the weights is left out. Raises ``WeightsError``, leaving the module as it was;
    ``OtherHead`` where it is for another number of classes.
    """
    origin = "the given weights" if isinstance(weights, Mapping) else f"the weights of {weights}"
    state = tensors_of(weights, origin) if isinstance(weights, Mapping) else read_weights(weights)
    expected = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    state = without_prefix(state, expected)
    if without_head:
        state = _headless(state, expected)
    mismatch = compare(state, expected)
    if mismatch and adapt is not None:
        adapted = _adapted(state, module, adapt)
        if adapted is not None:
            adapted = _headless(adapted, expected) if without_head else adapted
            remaining = compare(adapted, expected)
            if not remaining or remaining.classes(adapted, expected) is not None:
                state, mismatch = adapted, remaining
    if mismatch:
        message = f"{origin} do not fit {model}: {mismatch.describe(state, expected)}"
        classes = mismatch.classes(state, expected)
        raise WeightsError(message) if classes is None else OtherHead(message, classes)
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

    def classes(self, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> int | None:
        """The number of classes of the weights where nothing but the classifier differs, else None."""
        first = {state[name].shape[0] for name in self.shaped if state[name].ndim}
        heads = all(
            state[name].shape[1:] == expected[name].shape[1:] and "embed" not in name for name in self.shaped
        )
        only = self.shaped and heads and not self.missing and not self.unexpected
        return int(first.pop()) if only and len(first) == 1 else None

    def _remedy(self, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
        classes = self.classes(state, expected)
        if classes is not None:
            return f"they were trained for {classes} classes: open the model with num_classes={classes}"
        heads = all(_of_head(name) for name in (*self.missing, *self.unexpected)) and not self.shaped
        if heads and self.missing and not self.unexpected:
            return "they have no classifier: open the model with num_classes=0"
        positions = self.shaped and all("pos" in name for name in self.shaped)
        if positions and not self.missing and not self.unexpected:
            return "they were trained for another picture size: open the model with that image_size="
        return "open the model that they were made for"


_HEADS = ("head", "heads", "head_dist", "fc", "classifier")


def _of_head(name: str) -> bool:
    """Whether a parameter is one of a classifier on top of a model."""
    return name.split(".")[0] in _HEADS


def _headless(state: StateDict, expected: Mapping[str, Tensor]) -> StateDict:
    """Without the classifier that a model does not have."""
    return {name: value for name, value in state.items() if name in expected or not _of_head(name)}


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


def _few(names: tuple[str, ...], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"
