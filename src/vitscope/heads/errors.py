"""The error of this room."""

from __future__ import annotations

from vitscope.errors import VitscopeError


class HeadsError(VitscopeError):
    """A head analysis cannot be done; one line says what was expected, what came, and what mends it."""
