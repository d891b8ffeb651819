"""The registry of methods: one decorator line, and the command line, the tables and the tests know a method."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from vitscope.errors import MethodError, nearest
from vitscope.methods.relevance import Applies, Needs, NeedsOf, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.options.declared import Option, declared_options, short
from vitscope.options.kinds import Refused, Switch
from vitscope.tracing import Trace, Vit, constant_gate

Function = Callable[..., Relevance]
Resolve = Callable[[Vit, Any, Mapping[str, Any]], dict[str, Any]]
"""(vit, inputs of one batch, all options) -> the options with what depends on the model put in."""


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

    follows_rows: bool = False
    """True for methods that start from the row of what the score reads: for a target of its own that row is found from
    the target's gradient."""

    resolve: Resolve | None = None
    """Puts in what depends on the model, so that a record of the options says what was used."""

    accumulates: bool = False
    """True where each map of the flow is the sum over all blocks up to its own."""

    @cached_property
    def declared(self) -> dict[str, Option]:
        """What each option accepts, by name; methods on the plain gradient also have ``libra``."""
        own = declared_options(self.function)
        return {**own, "libra": Option("libra", False, (Switch(),))} if self.takes_libra else own

    @property
    def options(self) -> dict[str, Any]:
        """The method's options and their defaults."""
        return {name: option.default for name, option in self.declared.items()}

    @property
    def summary(self) -> str:
        """First line of the method's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def why_not(self, anatomy: Anatomy) -> str | None:
        """Reason why this method does not apply to a model, None when it does."""
        return self.applies(anatomy)

    def resolved(self, vit: Vit, inputs: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options as they are used on these inputs: checked, defaults filled in, nothing left to find.

        Raises MethodError for an option that this method or this model does not take."""
        checked = {**self.options, **self.check_options(options, vit.probe_for(inputs).anatomy)}
        return self.resolve(vit, inputs, checked) if self.resolve is not None else checked

    def needs_for(self, vit: Vit, inputs: Any, options: Mapping[str, Any]) -> Needs:
        """What the trace must hold for these inputs and options."""
        used = self.resolved(vit, inputs, options)
        needs = self.needs if isinstance(self.needs, Needs) else self.needs(vit, inputs, used)
        return replace(needs, rules=constant_gate()) if self.takes_libra and used["libra"] else needs

    def run(self, trace: Trace, options: Mapping[str, Any]) -> Relevance:
        """The method's relevance on a trace that holds what ``needs_for`` told."""
        own = {k: v for k, v in options.items() if not (k == "libra" and self.takes_libra)}
        return self.function(trace, **own)

    def check_options(self, options: Mapping[str, Any], anatomy: Anatomy | None = None) -> dict[str, Any]:
        """The options in their strict form. ``anatomy``: of the model, which bounds blocks, heads and patches.

        Raises MethodError for an option that the method does not have, and for a value that it does not accept."""
        checked = {}
        for name, value in options.items():
            option = self._option(name)
            try:
                checked[name] = option.check(value, anatomy)
            except Refused:
                near = option.nearest(value)
                hint = f"; nearest: '{near}'" if near else ""
                raise MethodError(
                    f"option '{name}' of '{self.name}' is {option.accepts(anatomy)}, got {short(value)}{hint}"
                ) from None
        return checked

    def read_option(self, name: str, text: str) -> Any:
        """The value that a text stands for, as it is written on a command line or in ``gmar:norm=l1``.

        Raises MethodError for an option that the method does not have, and for a text that stands for no value."""
        value = self._option(name).read(text)
        return self.check_options({name: value})[name]

    def _option(self, name: str) -> Option:
        if name not in self.declared:
            known = ", ".join(self.declared)
            near = (
                f"nearest: {nearest(str(name), self.declared, 1)[0]}, of {known}" if known else "it has none"
            )
            raise MethodError(f"method '{self.name}' has no option {short(name)}; {near}")
        return self.declared[name]


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
    if anatomy.film:
        return "it works on the pixels of pictures, and this model takes films; use a method over tokens, such as gae"
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
    accumulates: bool = False,
    needs: Needs | NeedsOf | None = None,
    applies: Applies = token_methods,
    takes_libra: bool | None = None,
    resolve: Resolve | None = None,
    follows_rows: bool | None = None,
) -> Callable[[Function], Function]:
    """Register ``function(trace, *, options…) -> Relevance`` under ``name``.

    ``accumulates``: each map of the flow is the sum over all blocks up to its own.
    ``takes_libra``: the method has the option ``libra``. None: when its needs are a gradient without rules. A method
    that runs passes of its own, or whose needs depend on its options, says so itself; ``trace.rules`` then holds
    Libra's rules. ``resolve``: puts what depends on the model into the options. ``follows_rows``: the
    method starts from the row of what the score reads; None: when it applies as ``row_methods`` or ``chained_methods``
    do. Raises MethodError when the name is taken."""
    held = needs or Needs(gradient=backwards > 0)
    if takes_libra is None:
        takes_libra = isinstance(held, Needs) and held.gradient and held.rules is None

    rows = applies in (row_methods, chained_methods) if follows_rows is None else follows_rows

    def add(function: Function) -> Function:
        if name in _METHODS and _METHODS[name].function.__module__ != function.__module__:
            raise MethodError(f"a method named '{name}' is registered already; choose another name")
        _METHODS[name] = MethodInfo(
            name, family, title, citation, class_specific, signed, forwards, backwards, has_flow, function, held,
            applies, takes_libra, rows, resolve, accumulates,
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
