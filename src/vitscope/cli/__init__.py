"""The command line: one file per command, each only parsing, progress and printing around the library."""

from __future__ import annotations

from vitscope.cli.application import main

__all__ = ["main"]
