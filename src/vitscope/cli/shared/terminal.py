"""The terminal: it takes whatever is printed, nothing that is printed can steer it, and its end does not end the work.

A picture may be called anything: escape sequences that clear the screen, letters that turn the line around, bytes that
are no text at all. A terminal may know few letters, and the reader of a pipe may leave.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

_JOINERS = "\u200c\u200d"
"""Invisible, but part of Persian words and of emoji."""
LONGEST_WORD = 400
"""Letters of one word of an error line; paths are shorter, only senseless values are not."""


def escape(text: str) -> str:
    r"""``text`` with everything that could steer a terminal written out: ``\x1b``, ``\u202e``, ``\n``.

    Bytes of a file name that are no UTF-8 show as the bytes that they are, ``\xe9``.

    Example:
        >>> escape("caf\udce9 \x1b[2J.png")
        'caf\\xe9 \\x1b[2J.png'
    """
    return text if text.isprintable() else "".join(map(_escape_letter, text))


def _escape_letter(letter: str) -> str:
    if letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs":
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return repr(letter)[1:-1] if code < 0xD800 or code > 0xDFFF else f"\\u{code:04x}"


def one_line(message: str) -> str:
    """A message as one line that is safe to print, endless words cut in their middle."""
    words = [
        word if len(word) <= LONGEST_WORD else f"{word[:60]}…({len(word)} letters)…{word[-20:]}"
        for word in message.split()
    ]
    return escape(" ".join(words))


def json_text(document: object) -> str:
    """A JSON document in letters that standard output has, with everything that could steer a terminal escaped."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding, "surrogatepass" if encoding.lower().startswith("utf") else "strict")
    except (UnicodeEncodeError, LookupError):
        text = json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False)
    # json.dumps has escaped the control characters of ASCII, so that these line ends are the document's own.
    return "".join(
        letter
        if letter == "\n" or letter.isprintable()
        else json.dumps(letter)[1:-1].replace("\x7f", "\\u007f")
        for letter in text
    )


class PatientStream(io.TextIOBase):
    """A text stream over ``sys.stdout`` or ``sys.stderr`` that never raises.

    Letters that the stream does not have are written out. When nobody reads any more, or the disk behind it is full,
    what is written is dropped; ``failure`` then says why.
    """

    def __init__(self, under: TextIO | None) -> None:
        self._under = under
        self.failure: Exception | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream below."""
        return getattr(self._under, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write, in the letters that the stream has; returns the number of letters given."""
        if self._under is not None and self.failure is None:
            try:
                self._under.write(text)
            except UnicodeEncodeError:
                self.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError) as error:
                self.failure = error
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        if self._under is not None and self.failure is None:
            try:
                self._under.flush()
            except (OSError, ValueError) as error:
                self.failure = error

    def isatty(self) -> bool:
        """Whether a person watches."""
        with contextlib.suppress(OSError, ValueError):
            return self._under is not None and self.failure is None and self._under.isatty()
        return False

    def fileno(self) -> int:
        """Of the stream below; OSError where it has none."""
        if self._under is None:
            raise OSError("this stream is closed")
        return self._under.fileno()

    def writable(self) -> bool:
        """Yes."""
        return True

    @property
    def lost(self) -> str | None:
        """Why what was written is lost, in words; None where all was written or the reader had enough."""
        if self.failure is None or isinstance(self.failure, BrokenPipeError | ValueError):
            return None
        return getattr(self.failure, "strerror", None) or str(self.failure)


@contextmanager
def patient_streams() -> Iterator[tuple[PatientStream, PatientStream]]:
    """``sys.stdout`` and ``sys.stderr`` as streams that never raise, for the length of a ``with`` block."""
    before = sys.stdout, sys.stderr
    out, err = PatientStream(sys.stdout), PatientStream(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def private_output() -> Iterator[PatientStream]:
    """Standard output for this block's own lines alone.

    Whatever else is printed meanwhile, by other libraries or by processes that they start, goes to standard error.
    """
    out = cast(PatientStream, sys.stdout)
    try:
        own = out.fileno() == 1
    except (OSError, ValueError, AttributeError):
        own = False
    if not own:  # not the process's stream: only what Python prints can get in
        with contextlib.redirect_stdout(sys.stderr):
            yield out
        return
    out.flush()
    kept = os.dup(1)
    stream = PatientStream(os.fdopen(kept, "w", encoding=out.encoding, closefd=False))
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield stream
    finally:
        stream.flush()
        os.dup2(kept, 1)
        os.close(kept)
        if isinstance(out, PatientStream) and out.failure is None:
            out.failure = stream.failure


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Warnings of other libraries stay off stderr: what a user must know, vitscope says itself.

    ``VITSCOPE_TRACEBACK=1`` and ``python -W`` show them.
    """
    if os.environ.get("VITSCOPE_TRACEBACK") == "1" or sys.warnoptions:
        yield
        return
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(before, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(before)


def hold_descriptors() -> None:
    """Stand-ins for standard streams that were closed (``>&-``): else the next file that is opened takes their number,
    and whatever prints writes into it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def leave_quietly() -> None:
    """Flush the standard streams for the last time; output that nobody reads any more is dropped silently."""
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
