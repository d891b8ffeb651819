"""What ``vs.methods`` is for a type checker: the room of the methods, which can also be called."""

from __future__ import annotations

from types import ModuleType

from vitscope.methods import applicability, method_info, method_list, registry, relevance
from vitscope.methods.explaining import default, explanation, explanations
from vitscope.methods.explaining import explain as explaining


class MethodsRoom(ModuleType):
    """The package ``vitscope.methods``: ``vs.methods()`` lists the methods, ``vs.methods.get_method(name)`` gives one.

    The package itself has this class at run time; the names below are its own, said again with their types.
    """

    Explanation = explanation.Explanation
    Explanations = explanations.Explanations
    MethodInfo = method_info.MethodInfo
    Needs = relevance.Needs
    Relevance = relevance.Relevance
    chained_methods = staticmethod(applicability.chained_methods)
    default_method = staticmethod(default.default_method)
    explain = staticmethod(explaining.explain)
    get_method = staticmethod(registry.get_method)
    methods = staticmethod(registry.methods)
    pictures_only = staticmethod(applicability.pictures_only)
    register = staticmethod(registry.register)
    token_methods = staticmethod(applicability.token_methods)

    def __call__(self) -> method_list.MethodList:
        """Every registered method, by family and name."""
        return registry.methods()
