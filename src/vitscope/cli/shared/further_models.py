"""Several models on one command line: ``--model A -w a.pt --model B -w b.pt``.

The first ``--model`` and all other options are the command's own. From each further ``--model`` on, options of opening
a model belong to that one; none of them is taken over from the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import Any, TypeVar

from vitscope.cli.shared.options import ModelOptions

Record = TypeVar("Record", bound=ModelOptions)
Function = TypeVar("Function", bound=Callable[..., Any])
OPTIONS = frozenset(each.name for each in fields(ModelOptions))
_FURTHER: ContextVar[tuple[Mapping[str, Any], ...]] = ContextVar("further models", default=())


def several_models(function: Function) -> Function:
    """Declare that a command takes ``--model`` more than once; it asks for the others with ``further_models``."""
    function.several_models = True  # type: ignore[attr-defined]
    return function


def further_models(record: type[Record]) -> list[Record]:
    """The options of each model after the first, as the running command's record."""
    names = {each.name for each in fields(record)}
    return [
        record(**{name: value for name, value in each.items() if name in names}) for each in _FURTHER.get()
    ]


@contextmanager
def told_of(values: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Let the command that runs meanwhile ask for these further models."""
    token = _FURTHER.set(tuple(values))
    try:
        yield
    finally:
        _FURTHER.reset(token)


def split(words: Sequence[str], parameters: Sequence[Any]) -> tuple[list[str], list[list[str]]]:
    """The words of a command line that are the command's own, and those of each further model.

    Args:
        words: As typed.
        parameters: The command's, which tell what is an option of opening a model and whether it takes a value.
    """
    spelled = {word: each for each in parameters for word in (*each.opts, *each.secondary_opts)}
    own: list[str] = []
    groups: list[list[str]] = []
    seen = 0
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return [*own, word, *left], groups
        option = _option(word, spelled)
        value = [] if option is None or _complete(word, option) or not left else [left.pop(0)]
        if option is not None and option.name == "model":
            seen += 1
            if seen > 1:
                groups.append([])
        further = seen > 1 and option is not None and option.name in OPTIONS
        (groups[-1] if further else own).extend([word, *value])
    return own, groups


def _option(word: str, spelled: Mapping[str, Any]) -> Any:
    if word.startswith("--"):
        return spelled.get(word.partition("=")[0])
    return spelled.get(word[:2]) if word.startswith("-") and len(word) > 1 else None


def _complete(word: str, option: Any) -> bool:
    """Whether the word holds its value, or the option takes none."""
    if getattr(option, "is_flag", False) or option.param_type_name != "option":
        return True
    return "=" in word if word.startswith("--") else len(word) > 2
