"""The command line: parsing, progress and printing. What it does, the library does."""

from __future__ import annotations

import sys
from typing import NoReturn


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run ``vitscope`` as a program; never returns. Errors are one line on stderr, exit codes are in ``exit_codes``."""
    try:
        # Imported here, so that Ctrl-C is answered alike from the first moment on.
        from vitscope.cli.application import start

        code = start(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; nothing was begun\n")
        code = 130
    raise SystemExit(code)


__all__ = ["main"]
