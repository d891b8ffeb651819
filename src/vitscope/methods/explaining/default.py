"""Which method is used where none is named: the same in Python, in a notebook and in every command."""

from __future__ import annotations

from vitscope.errors import MethodError
from vitscope.methods.registry import get_method
from vitscope.models.anatomy import Anatomy
from vitscope.options.door import checked

DEFAULT_METHOD, ITS_STAND_IN = "dart-removal", "daam"
"""The first is the most faithful method on both models that were measured: docs/methods/dart.md."""


@checked(MethodError)
def default_method(anatomy: Anatomy) -> str:
    """What explains a model when no method is named: ``dart-removal`` where DART applies, else ``daam``.

    Args:
        anatomy: What is known of the model, ``vit.anatomy``.

    Returns:
        The name of a registered method.

    Example:
        >>> import vitscope as vs
        >>> default_method(vs.open_model("bundled/shapes").anatomy)
        'dart-removal'
    """
    return DEFAULT_METHOD if get_method(DEFAULT_METHOD).why_not(anatomy) is None else ITS_STAND_IN
