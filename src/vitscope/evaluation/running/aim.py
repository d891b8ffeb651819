"""Which class a protocol explains: a class that is asked for by its name, brought to its number."""

from __future__ import annotations

from dataclasses import replace

from vitscope.errors import EvaluationError, TargetError
from vitscope.evaluation.protocol import Protocol
from vitscope.tracing import ClassIndex, ClassName, Target, Vit, by_number, parse_target

KINDS = "top1, label, a class number or a class's name"


def check_aim(text: str) -> None:
    """Raise EvaluationError, before a model is open, for a target by which maps cannot be compared: a table is about
    one class of each picture."""
    if text in ("top1", "label"):
        return
    try:
        target: Target | None = parse_target(text)
    except TargetError:
        target = None
    one = isinstance(target, ClassName) or (
        isinstance(target, ClassIndex) and isinstance(target.index, int) and target.quantity == "logit"
    )
    if not one:
        raise EvaluationError(
            f"an evaluation is about {KINDS}, not {text!r}; explain takes more forms, and the quantity is the "
            "protocol's score"
        )


def aimed(protocol: Protocol, vit: Vit) -> Protocol:
    """The protocol with the number of a class that was named.

    Raises EvaluationError for another kind of target, TargetError for a name that no class has."""
    wanted = protocol.target
    if not isinstance(wanted, str) or wanted in ("top1", "label"):
        return protocol
    check_aim(wanted)
    found = by_number(parse_target(wanted), vit.class_names, vit.source)
    if not isinstance(found, ClassIndex) or not isinstance(found.index, int) or found.quantity != "logit":
        raise EvaluationError(
            f"an evaluation is about {KINDS}, not {wanted!r}; quantities are the protocol's score"
        )
    return replace(protocol, target=found.index)
