"""What the program's exit code says, once for every command."""

from __future__ import annotations

OK, FAILED, USAGE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130

WORDS = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but for some pictures that could not be read or results "
    "that could not be written, 130 interrupted. With 1 and 2 one line on stderr says what mends it."
)
