"""Annotations as objects, also those whose names a file imports for type checkers only."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any


def annotation_of(owner: Callable[..., Any] | type, annotation: Any) -> Any:
    """What an annotation of a function or of a class's field stands for.

    A name that is imported under ``if TYPE_CHECKING:`` is imported now. ``Any`` for what cannot be known, such as a
    class that was made inside a function.
    """
    if not isinstance(annotation, str):
        return annotation
    names = _globals(owner)
    for known in (names, {**_for_type_checkers(str(names.get("__name__", ""))), **names}):
        try:
            return eval(annotation, dict(known))
        except NameError:
            continue
        except (TypeError, AttributeError, SyntaxError):
            return Any
    return Any


def _globals(owner: Callable[..., Any] | type) -> dict[str, Any]:
    if isinstance(owner, type):
        return vars(sys.modules[owner.__module__])
    own: dict[str, Any] = getattr(inspect.unwrap(owner), "__globals__", {})
    return own


@functools.cache
def _for_type_checkers(module: str) -> dict[str, Any]:
    """What the blocks ``if TYPE_CHECKING:`` of a module import, by name."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return {}
    found: dict[str, Any] = {}
    for block in tree.body:
        if not (isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)):
            continue
        for line in block.body:
            if isinstance(line, ast.ImportFrom) and line.module is not None and line.level == 0:
                home = importlib.import_module(line.module)
                found |= {each.asname or each.name: getattr(home, each.name, Any) for each in line.names}
    return found
