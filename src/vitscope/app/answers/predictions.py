"""What the model says of one picture, and what it says with heads switched off."""

from __future__ import annotations

from typing import Any

import torch

from vitscope.heads.answers.predictions import top_classes
from vitscope.heads.distance.profiles import row_entropy
from vitscope.heads.errors import HeadsError
from vitscope.tracing import Trace
from vitscope.tracing.targets.quantity import quantity_of


def prediction_answer(
    trace: Trace, count: int = 5, *, also: Trace | None = None, label: int | None = None
) -> dict[str, Any]:
    """The most likely classes of one picture.

    Args:
        trace: Of one picture.
        count: How many classes.
        also: The same picture with heads switched off; its answer names the classes of ``trace`` first, so that the two
            can be set side by side, and then those of its own first ones that are not among them.
        label: The true class, where it is known.

    Returns:
        Plain values: ``top`` with class, name, probability and logit of each; the entropy of all probabilities in bits
        (None where classes do not exclude each other); ``without``, the same of ``also``.

    Raises:
        HeadsError: The model has no class scores.
    """
    first = _answer(trace, _leading(trace, count))
    names = trace.model.class_names
    without = None
    if also is not None:
        shown = [each["class"] for each in first["top"]]
        own = [number for number in _leading(also, count) if number not in shown]
        without = _answer(also, [*shown, *own])
    return {
        **first,
        "probability_kind": trace.anatomy.probability,
        "label": None if label is None else {"class": label, "name": _name(names, label)},
        "without": without,
    }


def _leading(trace: Trace, count: int) -> list[int]:
    return [int(number) for number in top_classes(trace, count)["class"][0]]


def _answer(trace: Trace, classes: list[int]) -> dict[str, Any]:
    if trace.anatomy.classes is None:
        raise HeadsError(f"{trace.model.source} has no class scores; pass classes= to open_model")
    logits = trace.logits.float().cpu()
    kind = trace.anatomy.probability
    probabilities = quantity_of(logits, "probability", kind)
    names = trace.model.class_names
    top = [
        {
            "class": number,
            "name": _name(names, number),
            "probability": float(probabilities[0, number]),
            "logit": float(logits[0, number]),
        }
        for number in classes
    ]
    entropy = float(row_entropy(probabilities)[0]) if kind == "softmax" else None
    predicted = int(torch.argmax(logits[0]))
    return {"top": top, "entropy": entropy, "predicted": predicted}


def _name(names: Any, number: int) -> str | None:
    return names[number] if names and 0 <= number < len(names) else None
