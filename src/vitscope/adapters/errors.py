"""The error of this room."""

from __future__ import annotations

from vitscope.errors import VitscopeError


class AdapterError(VitscopeError):
    """A call in another package's form cannot be answered; one line says what mends it."""
