"""Explanation methods: one file per family, a registry, and ``explain``.

The package itself is callable: ``vs.methods()`` lists the registry."""

import sys

from vitscope.methods.applicability import chained_methods, pictures_only, token_methods
from vitscope.methods.explaining.default import default_method
from vitscope.methods.explaining.explain import explain
from vitscope.methods.explaining.explanation import Explanation
from vitscope.methods.explaining.explanations import Explanations
from vitscope.methods.method_info import MethodInfo
from vitscope.methods.registry import get_method, methods, register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.methods.room import MethodsRoom

__all__ = [
    "Explanation",
    "Explanations",
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

sys.modules[__name__].__class__ = MethodsRoom
