"""What vitscope raises when it was given something that it cannot use.

Each message is one line: what was expected, what came, and what mends it, as ``cause; remedy``. The command
line prints that line and nothing else, so whoever raises one writes it for the person at the keyboard.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VitscopeError(Exception):
    """Base of every error that is the input's and not a bug. One line, ``cause; remedy``."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class PictureError(VitscopeError):
    """A picture, or a place where pictures were expected, cannot be used."""


class ModelError(VitscopeError):
    """A model cannot be opened, or its anatomy does not allow what was asked."""


class WeightsError(ModelError):
    """A weights file is missing, unreadable, or of another model."""


class TraceError(VitscopeError):
    """A pass over the model did not show what it had to show (no attention seen, no gradient, ...)."""


class TargetError(VitscopeError):
    """The scalar to explain cannot be made from what was given."""


class MethodError(VitscopeError):
    """A method is unknown, does not apply to this model, or was given an option that it does not have."""


class RenderingError(VitscopeError):
    """Arrays cannot be drawn as asked."""


class DataError(VitscopeError):
    """A data set, label file or generated world cannot be used."""


class EvaluationError(VitscopeError):
    """A metric or a protocol cannot be applied."""


class OutputError(VitscopeError):
    """A result cannot be written where it was asked for."""


class StorageError(VitscopeError):
    """A saved result cannot be read back: missing, damaged, of another kind, or of a newer version."""


class DamagedError(StorageError):
    """A saved result is not as it was written: cut off, changed, or only in part there."""


class RecipeError(VitscopeError):
    """Results that were not made alike were to be put together."""


class MissingExtraError(VitscopeError):
    """An optional package is needed; the message names the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs the package {package}; install it with: pip install "vitscope[{extra}]"')


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like ``name``, best first, for "did you mean" messages; never empty if any is known."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name.lower(), names, n=count, cutoff=0.5)
    return close or names[:count]
