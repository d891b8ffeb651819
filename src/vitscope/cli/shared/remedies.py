"""A message of the library in the words of the shell: Python's ``num_classes=3`` is ``-M num_classes=3`` there."""

from __future__ import annotations

import re
import sys

from vitscope.cli.shared.values import OWN_OPTIONS

_OPTIONS = OWN_OPTIONS | {
    "labels": "--labels",
    "masks": "--masks",
    "boxes": "--boxes",
    "batch_size": "--batch-size",
    "max_pixels": "--max-pixels",
}
_FOR_MODELS = (
    "attn_implementation", "blocks", "classes", "grid", "num_classes", "output", "pooling", "prefix", "preprocess",
    "probability", "trust_remote_code",
)  # fmt: skip
_RANDOM = re.compile(r"\bpretrained=False\b")
_ARGUMENT = re.compile(r"(?<![-/\w.:'\"])(?<!-M )(?<!-o )([a-z_]+)=(?!=)(\"[^\"]*\"|'[^']*'|[^\s,;)]*)")


def in_shell_words(message: str) -> str:
    """The message with the arguments of Python's functions as options of the shell."""
    message = _RANDOM.sub("--random-weights", message)
    message = message.replace("vs.methods() lists", "vitscope methods lists")
    return _ARGUMENT.sub(_as_option, message)


def _as_option(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    if name in _OPTIONS:
        return f"{_OPTIONS[name]} {value}".rstrip()
    if name in _FOR_MODELS:
        return f"-M {found[0]}"
    return f"-o {found[0]}" if name in _of_methods() else found[0]


def _of_methods() -> set[str]:
    """The options of methods; none while no method was needed yet, so that a message costs no import."""
    if "vitscope.methods" not in sys.modules:
        return set()
    from vitscope.methods import methods

    return {option for info in methods() for option in info.options}
