"""The methods as a menu: which apply to a model, which options each has, what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vitscope.methods import MethodInfo, default_method, get_method
from vitscope.methods import methods as registered
from vitscope.models.anatomy import Anatomy
from vitscope.options.declared import Option
from vitscope.options.kinds import Kind, Nothing, Whole
from vitscope.storage.recipe import plain

SETTABLE = ("number", "integer", "boolean", "choice", "none")
"""Kinds of options that a page may set. A path among the others would let a visitor open any file of this machine."""


def methods_answer(anatomy: Anatomy) -> dict[str, Any]:
    """Every registered method, those that do not apply with the reason, and the one that is used by default.

    Example:
        >>> import vitscope as vs
        >>> found = methods_answer(vs.open_model("bundled/shapes").anatomy)
        >>> found["default"], len(found["methods"]) == len(vs.methods())
        ('dart-removal', True)
    """
    return {
        "default": shown_first(anatomy),
        "methods": [method_record(info, anatomy) for info in registered()],
    }


def shown_first(anatomy: Anatomy) -> str:
    """What is shown of a picture when nothing was chosen: the library's default, but in a model without classes, whose
    prediction nothing can explain, a method that brings its own target."""
    own = get_method("daam-self")
    return own.name if anatomy.classes is None and own.why_not(anatomy) is None else default_method(anatomy)


def kept_methods_answer(
    kept: Sequence[str], why_not: str, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The methods where there is no model to ask: those that a study keeps maps of, as they were made; the others do
    not apply, for the reason that is given.

    Args:
        kept: Names of the methods whose maps are there.
        why_not: Why nothing else can be computed.
        known: What :func:`methods_answer` gave for the model, where somebody could ask it; None takes the registry.

    Example:
        >>> found = kept_methods_answer(["gmar", "daam"], "there is no model")
        >>> found["default"], {each["name"] for each in found["methods"] if each["applies"]} == {"gmar", "daam"}
        ('gmar', True)
    """
    records = [_record(info) for info in registered()] if known is None else known["methods"]
    missing = [_unknown(name) for name in kept if name not in {each["name"] for each in records}]
    return {
        "default": first_kept(None if known is None else known["default"], kept),
        "methods": [
            {
                **each,
                "applies": each["name"] in kept,
                "reason": None if each["name"] in kept else why_not,
                "options": [],
            }
            for each in [*records, *missing]
        ],
    }


def first_kept(usual: str | None, kept: Sequence[str]) -> str:
    """What is shown first of a study that keeps maps of these methods: the usual one where it is among them."""
    return usual if usual is not None and usual in kept else next(iter(kept), "")


def method_record(info: MethodInfo, anatomy: Anatomy) -> dict[str, Any]:
    """One method, with its options bounded by the model."""
    reason = info.why_not(anatomy)
    forwards, backwards = info.passes(anatomy)
    return {
        **_record(info),
        "forwards": forwards,
        "backwards": backwards,
        "applies": reason is None,
        "reason": reason,
        "options": [option_record(option, anatomy) for option in info.declared.values()],
    }


def _record(info: MethodInfo) -> dict[str, Any]:
    """What is known of a method whatever the model is."""
    by, at = info.passes_by or (None, None)
    return {
        "name": info.name,
        "title": info.title,
        "family": info.family,
        "summary": info.summary.replace("``", ""),
        "formula": info.formula.replace("``", ""),
        "citation": info.citation,
        "signed": info.signed,
        "class_specific": info.class_specific,
        "has_flow": info.has_flow,
        "accumulates": info.accumulates,
        "forwards": float(info.forwards),
        "backwards": float(info.backwards),
        "passes_by": by if by in info.declared else None,
        "passes_at": at if by in info.declared else None,
    }


def _unknown(name: str) -> dict[str, Any]:
    """A method of a package that is not installed here, of which only the name is known."""
    texts = dict.fromkeys(("summary", "formula", "citation"), "")
    unsaid = {"passes_by": None, "passes_at": None}
    flags = dict.fromkeys(("signed", "class_specific", "has_flow", "accumulates"), False)
    return {
        "name": name,
        "title": name,
        "family": "",
        **texts,
        **flags,
        "forwards": 0.0,
        "backwards": 0.0,
        **unsaid,
    }


def option_record(option: Option, anatomy: Anatomy) -> dict[str, Any]:
    """What a control for an option must know: of which kind it is first of all, and all that is accepted."""
    kinds = [kind for kind in option.kinds if not isinstance(kind, Nothing)]
    records = [_kind_record(kind, anatomy) for kind in kinds]
    first = records[0] if records else {"kind": "none"}
    return {
        "name": option.name,
        "default": plain(option.default),
        "accepts": option.accepts(anatomy),
        "optional": len(kinds) < len(option.kinds),
        "settable": any(each["kind"] in SETTABLE for each in records),
        "kinds": records,
        **{name: first.get(name) for name in ("kind", "low", "high", "step", "choices")},
    }


def _kind_record(kind: Kind, anatomy: Anatomy) -> dict[str, Any]:
    record = kind.record()
    bounds = kind.place.bounds(anatomy) if isinstance(kind, Whole) and kind.place is not None else None
    return {
        "kind": record["type"],
        "low": record.get("from") if bounds is None else bounds.low,
        "high": record.get("to") if bounds is None else bounds.high,
        "low_excluded": record.get("from_itself") is False,
        "high_excluded": record.get("to_itself") is False,
        "step": record.get("step"),
        "choices": record.get("choices"),
        "of": record.get("of"),
    }
