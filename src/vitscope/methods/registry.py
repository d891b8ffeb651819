"""The registry of methods: a decorated function is a method in Python, on the command line, in tables and in tests."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from vitscope.errors import MethodError, nearest
from vitscope.methods.relevance import Applies, Needs, NeedsOf, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.options.declared import Option, declared_options, short
from vitscope.options.door import checked
from vitscope.options.kinds import Refused, Switch
from vitscope.tracing import Trace, Vit, constant_gate
from vitscope.tracing.calls.calling import Inputs

Function = Callable[..., Relevance]
Resolve = Callable[[Vit, Any, Mapping[str, Any]], dict[str, Any]]
"""(vit, inputs of one batch, all options) -> the options with what depends on the model put in."""


@dataclass(frozen=True)
class MethodInfo:
    """A registered method, with what a user must know about it.

    Args:
        name: Its name.
        family: The group of methods it is listed with.
        title: The name to print.
        citation: The publication it comes from.
        class_specific: True when the map depends on the class that is explained.
        signed: True when negative values count against the class; False when maps are 0 or more.
        forwards: Forward passes that one picture costs when nothing is shared with other methods.
        backwards: Backward passes, likewise.
        has_flow: True when it gives one map per block.
        function: (trace, options) -> Relevance.
        needs: What its trace must hold, or a function that tells it for given inputs and options.
        applies: Gives the reason why it does not apply to a model, or None.

    Example:
        >>> import vitscope as vs
        >>> gmar = vs.methods.get_method("gmar")
        >>> gmar.title, gmar.has_flow, gmar.options["norm"]
        ('GMAR', True, 'l1')
        >>> gmar.check_options({"alpha": 2})
        {'alpha': 2.0}
    """

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
        """The default of each option, by name."""
        return {name: option.default for name, option in self.declared.items()}

    @property
    def summary(self) -> str:
        """The first line of the docstring of the method's function."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def why_not(self, anatomy: Anatomy) -> str | None:
        """The reason why this method does not apply to a model, None when it does."""
        return self.applies(anatomy)

    def resolved(self, vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options as they are used on these inputs: checked, with defaults, and with what depends on the model.

        Args:
            vit: The opened model.
            inputs: One batch of ready inputs, (B, C, H, W).
            options: What the user chose, by name.

        Returns:
            Every option of the method by name.

        Raises:
            MethodError: An option that this method or this model does not take.
        """
        whole = {**self.options, **self.check_options(options, vit.probe_for(inputs).anatomy)}
        return self.resolve(vit, inputs, whole) if self.resolve is not None else whole

    def needs_for(self, vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
        """What the trace must hold for these inputs and options. Raises MethodError as :meth:`resolved` does."""
        used = self.resolved(vit, inputs, options)
        needs = self.needs if isinstance(self.needs, Needs) else self.needs(vit, inputs, used)
        return replace(needs, rules=constant_gate()) if self.takes_libra and used["libra"] else needs

    def run(self, trace: Trace, options: Mapping[str, Any]) -> Relevance:
        """The method's relevance, computed from a trace.

        Args:
            trace: A trace that holds what :meth:`needs_for` gives.
            options: All options, see :meth:`resolved`.

        Returns:
            Relevance of the B pictures of the trace.
        """
        own = {k: v for k, v in options.items() if not (k == "libra" and self.takes_libra)}
        return self.function(trace, **own)

    def check_options(self, options: Mapping[str, Any], anatomy: Anatomy | None = None) -> dict[str, Any]:
        """The options in their strict form: a whole number given for a float becomes one, and so on.

        Args:
            options: What the user chose, by name.
            anatomy: Of the model; it bounds blocks, heads and patches. None checks no such bounds.

        Returns:
            The same options by name, checked.

        Raises:
            MethodError: An option that the method does not have, or a value that it does not accept.
        """
        strict = {}
        for name, value in options.items():
            option = self._option(name)
            try:
                strict[name] = option.check(value, anatomy)
            except Refused:
                near = option.nearest(value)
                hint = f"; nearest: '{near}'" if near else ""
                raise MethodError(
                    f"option '{name}' of '{self.name}' is {option.accepts(anatomy)}, got {short(value)}{hint}"
                ) from None
        return strict

    def read_option(self, name: str, text: str) -> Any:
        """The value of an option from text, as on a command line or in ``gmar:norm=l1``.

        Args:
            name: The option.
            text: Its value in writing.

        Returns:
            The value in its strict form.

        Raises:
            MethodError: An option that the method does not have, or a text that it does not accept.
        """
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


@checked(MethodError)
def token_methods(anatomy: Anatomy) -> str | None:
    """Whether methods apply that need attention between the tokens of one patch grid.

    To be passed to :func:`register` as ``applies``.

    Args:
        anatomy: What is known of the model, ``vit.anatomy``.

    Returns:
        None when they apply, else the reason why not.

    Example:
        >>> import vitscope as vs
        >>> print(vs.methods.token_methods(vs.open_model("bundled/shapes").anatomy))
        None
    """
    return anatomy.why_no_tokens()


def row_methods(anatomy: Anatomy) -> str | None:
    """Whether methods apply that need attention with token rows in at least one block.

    Args:
        anatomy: What is known of the model.

    Returns:
        None when they apply, else the reason why not.
    """
    reason = anatomy.why_no_tokens()
    if reason is None and not any(block.kind in ("self", "class") for block in anatomy.blocks):
        return "its blocks attend across channels only (cross-covariance), so tokens have no attention rows"
    return reason


@checked(MethodError)
def chained_methods(anatomy: Anatomy) -> str | None:
    """Whether methods apply that multiply the attention of all blocks, such as attention rollout.

    They need token rows in every block, of one length. To be passed to :func:`register` as ``applies``.

    Args:
        anatomy: What is known of the model, ``vit.anatomy``.

    Returns:
        None when they apply, else the reason why not.

    Example:
        >>> import vitscope as vs
        >>> print(vs.methods.chained_methods(vs.open_model("bundled/shapes").anatomy))
        None
    """
    return anatomy.why_no_row()


@checked(MethodError)
def pictures_only(anatomy: Anatomy) -> str | None:
    """Whether methods apply that change the pixels of the input: they need a model that takes pictures.

    To be passed to :func:`register` as ``applies``.

    Args:
        anatomy: What is known of the model, ``vit.anatomy``.

    Returns:
        None when they apply, else the reason why not (films, texts).

    Example:
        >>> import vitscope as vs
        >>> print(vs.methods.pictures_only(vs.open_model("bundled/shapes").anatomy))
        None
    """
    if anatomy.film:
        return "it works on the pixels of pictures, and this model takes films; use a method over tokens, such as gae"
    return (
        None if anatomy.image_size is not None else "it works on pixels, and this model's input is no picture"
    )


@checked(MethodError)
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
    """Register ``function(trace, *, options…) -> Relevance`` as a method.

    The method is then known to :func:`vitscope.explain`, to the command line, to the evaluation and to the tables. Its
    options are the keyword arguments of the function; their annotations say what they accept.

    Args:
        name: Its name; it must be free.
        family: The group of methods it is listed with.
        title: The name to print.
        citation: The publication it comes from.
        class_specific: True when the map depends on the class that is explained.
        signed: True when negative values count against the class.
        forwards: Forward passes that one picture costs when nothing is shared.
        backwards: Backward passes, likewise.
        has_flow: True when it gives one map per block.
        accumulates: True when each map of the flow is the sum over all blocks up to its own.
        needs: What its trace must hold. None: the gradient at every attention site when ``backwards`` is above 0.
        applies: Gives the reason why it does not apply to a model, or None; see :func:`token_methods`.
        takes_libra: True when it has the option ``libra``. None: when its needs are a gradient without rules. A method
            that runs passes of its own, or whose needs depend on its options, must say so itself; ``trace.rules`` then
            holds Libra's rules.
        resolve: (vit, inputs, options) -> options, with what depends on the model filled in.
        follows_rows: True when it starts from the attention row that the score reads. None: when it applies as
            ``row_methods`` or ``chained_methods`` do.

    Returns:
        A decorator that gives the function back unchanged.

    Raises:
        MethodError: The name is taken.

    Example:
        >>> import vitscope as vs
        >>> @vs.register("last-head-0", family="attention", title="Head 0 of the last block", citation="",
        ...              class_specific=False)
        ... def last_head_0(trace):
        ...     '''Attention of the class token in head 0 of the last block.'''
        ...     return vs.Relevance(tokens=trace.sites[-1].attention()[:, 0, 0])
        >>> vit, picture = vs.open_model("bundled/shapes"), vs.worlds.world("shapes").sample(1, seed=1).images()
        >>> tuple(vs.explain(vit, picture, "last-head-0").maps.shape)
        (1, 12, 12)
    """
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


@cache
def _load_all() -> None:
    package = importlib.import_module("vitscope.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"vitscope.methods.{module.name}")


def methods() -> list[MethodInfo]:
    """All registered methods, sorted by family and name.

    ``vs.methods()`` is the same.

    Returns:
        What is known of each method: name, family, citation, cost, options.

    Example:
        >>> import vitscope as vs
        >>> [info.name for info in vs.methods.methods() if info.family == "attention"]
        ['attention-flow', 'raw-attention', 'rollout']
    """
    _load_all()
    return sorted(_METHODS.values(), key=lambda info: (info.family, info.name))


@checked(MethodError)
def get_method(name: str) -> MethodInfo:
    """The registered method of a name.

    Args:
        name: Its name, such as ``"gmar"``.

    Returns:
        What is known of the method.

    Raises:
        MethodError: There is no such method; the message gives the nearest names.

    Example:
        >>> import vitscope as vs
        >>> vs.methods.get_method("rollout").citation
        'Abnar and Zuidema, ACL 2020, arXiv 2005.00928'
    """
    _load_all()
    if name not in _METHODS:
        close = ", ".join(nearest(name, _METHODS))
        raise MethodError(f"unknown method '{name}'; nearest: {close}; `vitscope methods` lists all")
    return _METHODS[name]
