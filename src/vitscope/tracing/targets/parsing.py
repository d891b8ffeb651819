"""A target from its loose form: a text, a class number, one for each picture, a function."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from vitscope.errors import TargetError
from vitscope.options.bounds import ReadLater
from vitscope.tracing.targets.class_name import FORMS, ClassName, NamedDifference
from vitscope.tracing.targets.classes import ClassIndex, LogitDifference, TopK
from vitscope.tracing.targets.custom import Custom
from vitscope.tracing.targets.each_its_own import EachItsOwn
from vitscope.tracing.targets.quantity import QUANTITIES, as_quantity
from vitscope.tracing.targets.similarity import Picture, Text
from vitscope.tracing.targets.target import Target

TargetLike = Annotated[
    Target
    | str
    | int
    | Sequence["int | str | Target | Callable[[Any], Tensor]"]
    | Tensor
    | np.ndarray
    | Callable[[Any], Tensor]
    | None,
    ReadLater("a target, see vitscope.tracing.parse_target"),
]
"""What ``parse_target`` reads."""

_TEXT_FORMS: dict[str, Callable[[str], Target]] = {
    "class:": ClassName,
    "text:": Text,
    "picture:": Picture,
    "difference:": NamedDifference,
}
"""What a text that starts so stands for, made from the rest of it."""
_WORDS = ("top1", "top2", "top3", *QUANTITIES, *_TEXT_FORMS)
"""What a mistyped target may have been meant for."""


def parse_target(target: TargetLike) -> Target:
    """Make a target from its loose form.

    Args:
        target: None or ``"top1"``, ``"top3"``; a class index, ``"207"`` or ``"class:207"``; a class's name,
            ``"tench"`` or ``"class:tench"`` (all digits are an index); a sequence or tensor with one index per
            picture; ``"difference:3,5"`` or ``"difference:cat,dog"``; ``"logit"``, ``"probability"``,
            ``"log_probability"`` of the prediction; the quantity as a suffix (``"top1:probability"``);
            ``"text: a photo of a dog"`` and ``"picture:FILE"``; a callable on the model's output; a list with a target
            of any kind for each picture.

    Returns:
        The target, not yet bound to a model.

    Raises:
        TargetError: It is none of these.

    Example:
        >>> from vitscope.tracing import parse_target
        >>> parse_target("top2"), parse_target("class:3:probability").describe()
        (TopK(k=2, quantity='logit'), 'class:3:probability')
        >>> parse_target([1, 2])
        ClassIndex(index=(1, 2), quantity='logit')
    """
    if target is None:
        return TopK()
    if isinstance(target, Target):
        return target
    if isinstance(target, (bool, np.bool_)):
        raise TargetError(f"expected a target ({FORMS}), got a boolean")
    if isinstance(target, (int, np.integer)):
        return ClassIndex(int(target))
    if isinstance(target, str):
        return _parse_text(target.strip())
    if isinstance(target, np.ndarray) and target.dtype.kind not in "biufc":
        raise TargetError(f"expected integer class indices, got an array of {target.dtype}; convert them")
    if isinstance(target, (Tensor, np.ndarray)):
        return _classes_of(torch.as_tensor(target))
    if isinstance(target, Sequence):
        if not len(target):
            raise TargetError("expected one target for each picture, got none")
        whole: list[Any] = [i.item() if isinstance(i, Tensor) and i.dim() == 0 else i for i in target]
        if all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in whole):
            return ClassIndex(tuple(int(i) for i in whole))
        if all(isinstance(i, (Target, str)) or callable(i) for i in whole):
            return EachItsOwn(tuple(parse_target(i) for i in whole))
        hint = (
            "; one-hot rows? take their argmax"
            if isinstance(whole[0], (Sequence, Tensor, np.ndarray))
            else ""
        )
        raise TargetError(
            f"expected one class index for each picture, got {str(list(target)[:3])[:80]}{hint}"
        )
    if callable(target):
        return Custom(target, getattr(target, "__name__", "custom"))
    raise TargetError(
        f"expected a target ({FORMS}), an index per picture or a callable, got {type(target).__name__}"
    )


def _classes_of(indices: Tensor) -> Target:
    if indices.dim() > 1:
        raise TargetError(
            f"expected one class index for each picture, got a shape of {tuple(indices.shape)}: one-hot rows? take "
            "their argmax(1)"
        )
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise TargetError(
            f"expected integer class indices, got {str(indices.dtype).removeprefix('torch.')}; convert them"
        )
    return ClassIndex(int(indices) if indices.dim() == 0 else tuple(indices.tolist()))


def _parse_text(text: str) -> Target:
    if (alone := as_quantity(text)) is not None:
        return TopK(1, alone)
    head, _, tail = text.rpartition(":")
    named = as_quantity(tail) if head else None
    plain, quantity = (head, named) if named is not None else (text, QUANTITIES[0])
    if match := re.fullmatch(r"top-?([0-9]{1,18})", plain, re.IGNORECASE):
        return TopK(int(match[1]), quantity)
    if match := re.fullmatch(r"(?:class:\s*)?([0-9]{1,18}(?:,[0-9]{1,18})*)", plain):
        indices = tuple(int(part) for part in match[1].split(","))
        return ClassIndex(indices[0] if len(indices) == 1 else indices, quantity)
    if match := re.fullmatch(r"difference:\s*(top1|[0-9]{1,18})\s*,\s*(top2|[0-9]{1,18})", text):
        a, b = match[1], match[2]
        return LogitDifference(None if a == "top1" else int(a), None if b == "top2" else int(b))
    # What follows a prefix is free text, in which a colon means nothing.
    for prefix, kind in _TEXT_FORMS.items():
        rest = text[len(prefix) :].strip()
        if text.startswith(prefix) and rest and (kind is not NamedDifference or "," in rest.strip(",")):
            return kind(rest)
    return _plain_name(text)


def _plain_name(text: str) -> Target:
    """A class's name. Raises TargetError for a text that is empty, or much like another form."""
    written = text.lower().replace(" ", "")
    prefix, colon, _ = written.partition(":")
    meant = difflib.get_close_matches(f"{prefix}:" if colon else written, _WORDS, n=1, cutoff=0.75)
    if not text or meant:
        guess = f", did you mean {meant[0]}" if meant else ""
        named = f" (a class of that name is class:{text})" if meant and text not in _TEXT_FORMS else ""
        raise TargetError(f"target '{text}' is not understood{guess}{named}; forms: {FORMS}")
    return ClassName(text, alone=True)
