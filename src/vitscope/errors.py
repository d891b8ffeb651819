"""What vitscope raises when it was given something that it cannot use.

Each message is one line: what was expected, what came, and what mends it, as ``cause; remedy``. The command
line prints that line and nothing else, so it is written for the person at the keyboard.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

_TURNING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Invisible letters that turn the direction of writing, so that a text looks like another one."""


def printable(text: str) -> str:
    """The text with all that a terminal, a page or a table would not show as letters written out.

    Control characters become ``\\x1b``, letters that turn the direction of writing ``\\u202e``, and bytes of a file
    name that are no UTF-8 ``\\xe9``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written_out(letter) for letter in text)


def _written_out(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"  # how Python keeps a byte of a name that it could not decode
    if letter in _TURNING or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
        return letter.encode("unicode_escape").decode("ascii")
    return letter


class VitscopeError(Exception):
    """Base of every error that is the input's and not a bug. One printable line, ``cause; remedy``."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.split())))


class PictureError(VitscopeError):
    """A picture, or a place where pictures were expected, cannot be used."""


class SourceError(VitscopeError):
    """The place that pictures lie in is gone or does not answer: no picture is to blame, so none is skipped."""


class ModelError(VitscopeError):
    """A model cannot be opened, or its anatomy does not allow what was asked."""


class WeightsError(ModelError):
    """A weights file is missing, unreadable, or of another model."""


class TraceError(VitscopeError):
    """A pass over the model did not show what it had to show (no attention seen, no gradient, ...)."""


class AnswerError(ModelError):
    """A model's answer to some pictures cannot be explained: NaN, infinity, or a gradient of zero everywhere.

    ``pictures``: their positions in what was given, counted from 0; they stand between ``before`` and ``after``."""

    def __init__(self, before: str, pictures: tuple[int, ...], after: str) -> None:
        listed = ", ".join(map(str, pictures[:5])) + (", ..." if len(pictures) > 5 else "")
        super().__init__(f"{before} picture{'s' * (len(pictures) > 1)} {listed} (counted from 0){after}")
        self.pictures, self._words = pictures, (before, after)

    @property
    def of_one(self) -> str:
        """The words for one picture that is named elsewhere."""
        return f"{self._words[0]} this picture{self._words[1]}"

    def among(self, positions: Sequence[int]) -> AnswerError:
        """The same for a batch of pictures that stand at these positions of what was given."""
        return AnswerError(self._words[0], tuple(positions[index] for index in self.pictures), self._words[1])


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


class StoreFault(OutputError):
    """The place of a run's results cannot be used any more: the run ends, and no part of it is to blame.

    ``why``: "full", "read-only", "gone", "forbidden", "broken" or "taken" (by another run). ``needed``: bytes that were
    to be written, None when nothing was."""

    def __init__(self, message: str, why: str, needed: int | None = None) -> None:
        super().__init__(message)
        self.why, self.needed = why, needed


class LockLost(StoreFault):
    """Another run has taken over the place of this run's results."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "taken")


class LockTaken(OutputError):
    """Another run is at work where this one was to begin."""


class StorageError(VitscopeError):
    """A saved result cannot be read back: missing, damaged, of another kind, or of a newer version."""


class MissingError(StorageError):
    """There is no such saved file."""


class DamagedError(StorageError):
    """A saved result is not as it was written: cut off, changed, or only in part there."""


class PlaceError(VitscopeError, IndexError):
    """A result was asked for a picture that it does not have."""


class RecipeError(VitscopeError):
    """Results that were not made alike were to be put together."""


class Cancelled(VitscopeError):
    """A run ended early because its ``progress`` was cancelled; the model and all files are as they were."""


class ProgressError(VitscopeError):
    """What was passed as ``progress`` cannot be told how far a run is."""


class InstallationError(VitscopeError):
    """Something that vitscope cannot do without is missing, too old or broken."""


class MissingExtraError(VitscopeError):
    """An optional package is needed; the message names the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}; install it with: {install_command(extra)}")


def install_command(extra: str) -> str:
    """The command that adds an optional part to this installation, to be typed where the user stands."""
    place, editable = _installed_from()
    if place is None:
        return f'pip install ".[{extra}]" in the folder of vitscope\'s sources'
    here = "." if place == Path.cwd() else str(place)
    return f'pip install {"-e " if editable else ""}"{here}[{extra}]"'


def _installed_from() -> tuple[Path | None, bool]:
    """The folder or wheel that vitscope was installed from, None where not known or gone; and whether editable."""
    from importlib import metadata  # both are needed when something is missing only
    from urllib import parse, request

    with contextlib.suppress(ImportError, OSError, ValueError, TypeError, AttributeError, KeyError):
        noted = json.loads(metadata.distribution("vitscope").read_text("direct_url.json") or "{}")
        address = parse.urlsplit(noted["url"])
        place = Path(request.url2pathname(address.path))
        if address.scheme == "file" and place.exists():
            return place, bool(noted.get("dir_info", {}).get("editable", False))
    return None, False


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like ``name``, best first, for "did you mean" messages; never empty if any is known."""
    names = sorted(set(known))
    close = difflib.get_close_matches(str(name).lower(), names, n=count, cutoff=0.5)
    return close or names[:count]


def brief(error: BaseException, length: int = 160) -> str:
    """What another library said when it failed: ``TypeName: its message`` on one line, cut at ``length`` letters."""
    text = " ".join(str(error).split())
    if len(text) > length:
        text = text[: length - 3].rstrip() + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
