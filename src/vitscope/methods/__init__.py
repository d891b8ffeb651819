"""Explanation methods: one file per family, a registry, and ``explain``.

The package itself is callable: ``vs.methods()`` lists the registry."""

import sys
from types import ModuleType

from vitscope.methods.explaining.default import default_method
from vitscope.methods.explaining.explain import explain
from vitscope.methods.explaining.explanation import Explanation
from vitscope.methods.registry import (
    MethodInfo,
    chained_methods,
    get_method,
    methods,
    pictures_only,
    register,
    token_methods,
)
from vitscope.methods.relevance import Needs, Relevance

__all__ = [
    "Explanation",
    "MethodInfo",
    "Needs",
    "Relevance",
    "chained_methods",
    "default_method",
    "explain",
    "get_method",
    "methods",
    "pictures_only",
    "register",
    "token_methods",
]


class _CallablePackage(ModuleType):
    """Lets ``vs.methods()`` and ``vs.methods.get_method(…)`` both work."""

    def __call__(self) -> list[MethodInfo]:
        return methods()


sys.modules[__name__].__class__ = _CallablePackage
