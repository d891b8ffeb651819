"""What stands in every saved file besides its numbers: ``{format, kind, version, checksum, note}`` as JSON.

``kind`` is the field's word for the result ("head table"), ``version`` counts the forms that this kind had, and
``note`` is everything of the result that is no number in an array: plain JSON values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

from vitscope.errors import DamagedError, OutputError, StorageError, VitscopeError
from vitscope.storage.files import Place
from vitscope.storage.kinds import remedy
from vitscope.storage.seal import BLANK

FORMAT = "vitscope"
Note = Mapping[str, Any]
"""JSON values only: texts, numbers, true, false, null, and lists and objects of them."""

CHECKSUM = re.compile(rb'\\?"checksum\\?":\\?"(?P<digest>[0-9a-f]{64})\\?"')
"""Where the checksum stands, in JSON or in JSON within JSON."""


def encode(kind: str, version: int, note: Note | None, **more: object) -> str:
    """The JSON text of a note, its checksum still blank. Raises OutputError for what JSON cannot hold."""
    document = {
        "format": FORMAT,
        "kind": kind,
        "version": version,
        "checksum": BLANK.decode(),
        **more,
        "note": note,
    }
    try:
        return json.dumps(document, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputError(
            f"cannot write this {kind} ({error}); give plain texts, numbers and lists in its metadata"
        ) from None


def decode(text: str | bytes, path: Place, kind: str, version: int) -> dict[str, Any] | None:
    """The note of a file of this kind.

    Raises StorageError, in one line, for a text that is no note of ours, another kind, or a newer version.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise damaged(path, kind) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise foreign(path, kind)
    found, made, note = document.get("kind"), document.get("version"), document.get("note")
    if not isinstance(found, str) or not isinstance(made, int) or isinstance(made, bool) or made < 1:
        raise damaged(path, kind)
    if found != kind:
        raise StorageError(
            f"expected a file of kind '{kind}' in {path}, got one of kind '{found[:80]}'; check the path"
        )
    if made > version:
        raise StorageError(
            f"{path} was saved by a newer vitscope (form {made} of '{kind}', this one reads up to {version}); "
            "update vitscope"
        )
    if note is not None and not isinstance(note, dict):
        raise damaged(path, kind)
    return note


@contextmanager
def decoding(path: Place, kind: str) -> Iterator[None]:
    """A block that builds a result from what a file holds: whatever is missing or of another form there is told.

    Raises DamagedError, a StorageError, instead of the KeyError, TypeError, ValueError, ... of the block.

    Example:
        >>> with decoding("a.safetensors", "example"):
        ...     {}["maps"]
        Traceback (most recent call last):
        vitscope.errors.DamagedError: a.safetensors is damaged: as 'example' it has no 'maps'; make it anew
    """
    try:
        yield
    except StorageError:
        raise
    except KeyError as error:
        missing = error.args[0] if error.args else "key"
        raise DamagedError(f"{path} is damaged: as '{kind}' it has no {missing!r}; {remedy(kind)}") from None
    except (TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise damaged(path, kind, str(error)) from None
    except VitscopeError as error:
        raise DamagedError(f"cannot read {path} as '{kind}': {error}") from None


def damaged(path: Place, kind: str, why: str = "") -> DamagedError:
    """The error of a file that is not as it was written."""
    reason = f" ({' '.join(why.split())[:200]})" if why else ""
    return DamagedError(f"{path} is damaged or no '{kind}'{reason}; {remedy(kind)}")


def foreign(path: Place, kind: str) -> StorageError:
    """The error of a file that vitscope did not write."""
    return StorageError(f"{path} is no '{kind}' that vitscope saved; {remedy(kind)}")


def _plain(value: object) -> object:
    """Numbers of numpy and torch, sets and paths as what JSON knows."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    for name in ("tolist", "to_dict"):
        convert = getattr(value, name, None)
        if callable(convert):
            return convert()
    return str(value)
