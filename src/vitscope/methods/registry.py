"""The registry of methods: a decorated function is a method in Python, on the command line, in tables and in tests."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from vitscope.errors import MethodError, nearest
from vitscope.methods.applicability import chained_methods, row_methods, token_methods
from vitscope.methods.method_info import Function, MethodInfo, Resolve
from vitscope.methods.method_list import MethodList
from vitscope.methods.plug_ins import load_plug_ins
from vitscope.methods.relevance import Applies, Needs, NeedsOf
from vitscope.options.door import checked

_METHODS: dict[str, MethodInfo] = {}


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
    passes_by: tuple[str, int] | None = None,
    answers: str = "",
) -> Callable[[Function], Function]:
    """Register ``function(trace, *, options…) -> Relevance`` as a method.

    The method is then known to :func:`vitscope.explain`, to the command line, to the evaluation and to the tables. Its
    options are the keyword arguments of the function; their annotations say what they accept. A package that names its
    module under the entry points ``vitscope.methods`` is imported before methods are first looked up, so that the
    command line knows its methods, too.

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
        passes_by: What its passes grow with, and at how many of them ``forwards`` and ``backwards`` hold:
            ``("masks", 400)`` for an option, ``("patches", 196)`` for the patches of the model.
        answers: The question that its map answers, in words; empty takes its family's.

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
            applies, takes_libra, rows, resolve, accumulates, passes_by, answers,
        )  # fmt: skip
        return function

    return add


@cache
def _load_all() -> None:
    package = importlib.import_module("vitscope.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"vitscope.methods.{module.name}")
    load_plug_ins()


def methods() -> MethodList:
    """All registered methods, sorted by family and name.

    ``vs.methods()`` is the same. Methods of installed packages are among them, see :func:`register`.

    Returns:
        What is known of each method: name, family, citation, cost, options; a list that prints as a table.

    Example:
        >>> import vitscope as vs
        >>> [info.name for info in vs.methods.methods() if info.family == "attention"]
        ['attention-flow', 'raw-attention', 'rollout']
    """
    _load_all()
    return MethodList(sorted(_METHODS.values(), key=lambda info: (info.family, info.name)))


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
