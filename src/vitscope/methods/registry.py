"""The registry of methods: one decorator line, and the command line, the tables and the tests know a method."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vitscope.errors import MethodError, nearest
from vitscope.methods.relevance import Applies, Needs, NeedsOf, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.tracing import Trace, Vit, constant_gate

Function = Callable[..., Relevance]


@dataclass(frozen=True)
class MethodInfo:
    """One method and what a user must know of it.

    ``forwards`` and ``backwards``: how many passes one picture costs when nothing is shared."""

    name: str
    family: str
    title: str
    citation: str
    class_specific: bool
    signed: bool
    forwards: float
    backwards: float
    has_flow: bool
    function: Function
    needs: Needs | NeedsOf
    applies: Applies
    takes_libra: bool = False
    """True for methods on the model's own gradient: LibraGrad's (CVPR 2025) can take its place.

    With the option ``libra=True`` softmax, the activations' gates and LayerNorm's std are constant on the way back;
    the formula of the method stays."""

    @property
    def options(self) -> dict[str, Any]:
        """The method's options and their defaults; methods on the plain gradient also have ``libra``."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        own = {p.name: p.default for p in parameters}
        return {**own, "libra": False} if self.takes_libra else own

    @property
    def summary(self) -> str:
        """First line of the method's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def why_not(self, anatomy: Anatomy) -> str | None:
        """Reason why this method does not apply to a model, None when it does."""
        return self.applies(anatomy)

    def needs_for(self, vit: Vit, inputs: Any, options: Mapping[str, Any]) -> Needs:
        """What the trace must hold for these inputs and options."""
        needs = self.needs
        if not isinstance(needs, Needs):
            needs = needs(vit, inputs, {**self.options, **options})
        libra = self.takes_libra and options.get("libra", False)
        return replace(needs, rules=constant_gate()) if libra else needs

    def run(self, trace: Trace, options: Mapping[str, Any]) -> Relevance:
        """The method's relevance on a trace that holds what ``needs_for`` told."""
        own = {k: v for k, v in options.items() if not (k == "libra" and self.takes_libra)}
        return self.function(trace, **own)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise MethodError for an option that the method does not have, and for a switch that is no True or False."""
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise MethodError(f"method '{self.name}' has no option '{name}'; its options: {known}")
            if isinstance(self.options[name], bool) and not isinstance(value, bool):
                raise MethodError(f"option '{name}' of '{self.name}' is True or False, got {value!r}")


def option_value(text: str) -> Any:
    """An option's value as it is written on a command line or in ``gmar:norm=l1``: a number, true, false or none in
    any case, a literal list; else the text itself."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


_METHODS: dict[str, MethodInfo] = {}


def token_methods(anatomy: Anatomy) -> str | None:
    """Applies where attention connects the tokens of one grid."""
    return anatomy.why_no_tokens()


def row_methods(anatomy: Anatomy) -> str | None:
    """Applies where at least one block's attention has token rows."""
    reason = anatomy.why_no_tokens()
    if reason is None and not any(block.kind in ("self", "class") for block in anatomy.blocks):
        return "its blocks attend across channels only (cross-covariance), so tokens have no attention rows"
    return reason


def chained_methods(anatomy: Anatomy) -> str | None:
    """Applies where every block's attention has token rows that can be chained."""
    return anatomy.why_no_row()


def pictures_only(anatomy: Anatomy) -> str | None:
    """Applies to every model whose input is a picture."""
    return (
        None if anatomy.image_size is not None else "it works on pixels, and this model's input is no picture"
    )


def register(
    name: str,
    *,
    family: str,
    title: str,
    citation: str,
    class_specific: bool,
    signed: bool = False,
    forwards: float = 1,
    backwards: float = 0,
    has_flow: bool = False,
    needs: Needs | NeedsOf | None = None,
    applies: Applies = token_methods,
    takes_libra: bool | None = None,
) -> Callable[[Function], Function]:
    """Register ``function(trace, *, options…) -> Relevance`` under ``name``.

    ``takes_libra``: the method has the option ``libra``. None: when its needs are a gradient without rules. A method
    that runs passes of its own, or whose needs depend on its options, says so itself; ``trace.rules`` then holds
    Libra's rules. Raises MethodError when the name is taken."""
    held = needs or Needs(gradient=backwards > 0)
    if takes_libra is None:
        takes_libra = isinstance(held, Needs) and held.gradient and held.rules is None

    def add(function: Function) -> Function:
        if name in _METHODS and _METHODS[name].function.__module__ != function.__module__:
            raise MethodError(f"a method named '{name}' is registered already; choose another name")
        _METHODS[name] = MethodInfo(
            name, family, title, citation, class_specific, signed, forwards, backwards, has_flow, function, held,
            applies, takes_libra,
        )  # fmt: skip
        return function

    return add


def _load_all() -> None:
    package = importlib.import_module("vitscope.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"vitscope.methods.{module.name}")


def methods() -> list[MethodInfo]:
    """Every registered method, by family and name."""
    _load_all()
    return sorted(_METHODS.values(), key=lambda info: (info.family, info.name))


def get_method(name: str) -> MethodInfo:
    """The method of that name. Raises MethodError that tells the nearest names."""
    _load_all()
    if name not in _METHODS:
        close = ", ".join(nearest(name, _METHODS))
        raise MethodError(f"unknown method '{name}'; nearest: {close}; `vitscope methods` lists all")
    return _METHODS[name]
