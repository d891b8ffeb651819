"""The pictures in a tar, found once: where each begins, how long it is, and the label that lies beside it.

Members of one sample stand one after the other and have the same name up to the first dot, as WebDataset writes them:
``0001.jpg``, ``0001.cls``, ``0001.json``. Nothing is ever unpacked; a name is a text, wherever it points.
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from vitscope.errors import DataError, PictureError, VitscopeError, brief
from vitscope.pictures.formats import ENDINGS
from vitscope.pictures.identity import key_of_name
from vitscope.pictures.planned.record import PlannedPicture

BLOCK = 512
SMALL = 1 << 20
"""Most bytes of a label."""
LABELS = ("class_index", "label", "cls", "class", "target")
"""Names under which a JSON beside a picture may tell its class."""
ReadLabel = Callable[[object, str], int]
"""The class that a value means; the text says where it stood."""


@dataclass
class _Sample:
    """The members that belong together."""

    stem: str
    pictures: list[tuple[str, int, int, str | None]] = field(default_factory=list)
    label: int | None = None


def pictures_in_tar(
    stream: IO[bytes], source: str, name: str, key: str, read_label: ReadLabel
) -> Iterator[PlannedPicture]:
    """The pictures of one tar, in order.

    Args:
        stream: The tar, not compressed; it is read at its headers and labels only.
        source: Its name in the plan.
        name: What messages call it.
        key: Its name in keys.
        read_label: Makes a class of what stands in a ``.cls`` or ``.json`` member.

    Yields:
        Each picture, its key ``key::member`` up to the first dot of the member's own name. What has the name of a
        picture and is a link or a sparse file has its reason and no bytes.

    Raises:
        PictureError: The tar is compressed, damaged or cut short, with what to do.
    """
    sample = _Sample("")
    for member in _members(stream, name):
        stem, ending = _parted(member.name)
        if stem != sample.stem:
            yield from _planned(sample, source, key)
            sample = _Sample(stem)
        if "." + ending.rpartition(".")[2] in ENDINGS:
            sample.pictures.append((member.name, member.offset_data, member.size, _why_not(member)))
        elif ending in ("cls", "json") and member.isreg() and member.size <= SMALL:
            text = _content(stream, member)
            found = _label(text, ending, f"{name}::{member.name}", read_label)
            sample.label = found if found is not None else sample.label
    yield from _planned(sample, source, key)


def _members(stream: IO[bytes], name: str) -> Iterator[tarfile.TarInfo]:
    """Every member; what tarfile takes for the end is looked at, because it ends quietly where a tar is damaged."""
    total = stream.seek(0, 2)
    stream.seek(0)
    if stream.read(6)[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7", b"(\xb5"):
        raise PictureError(
            f"{name} is compressed, so no picture can be read by itself; unpack it to a plain .tar"
        )
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:", errors="surrogateescape", encoding="utf-8") as tar:
            before = -1
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # or every member of a large tar would stay in memory
                if member.size < 0 or tar.offset <= before:
                    raise PictureError(f"{name} is damaged after byte {before:,}; fetch it again")
                before = tar.offset
                if member.isreg() and member.offset_data + member.size > total:
                    raise _cut_short(name, f"{member.name} ends after its last byte")
                yield member
            end = tar.offset
    except VitscopeError:
        raise
    except tarfile.TarError as error:
        if "empty" in str(error):
            raise PictureError(f"{name} is empty or no tar; fetch it again") from error
        raise _cut_short(name, brief(error)) from error
    except (OverflowError, ValueError, MemoryError) as error:
        raise PictureError(f"{name} is damaged ({brief(error)}); fetch it again") from error
    stream.seek(end)
    block = stream.read(BLOCK)
    if len(block) < BLOCK:
        raise _cut_short(name, "the empty block at its end is missing")
    if any(block):
        raise PictureError(f"{name} is damaged at byte {end:,}: what follows cannot be read; fetch it again")
    if any(stream.read(SMALL)):
        raise PictureError(f"{name} holds more behind its end (several were joined?); pack it again as one")


def _cut_short(name: str, how: str) -> PictureError:
    return PictureError(
        f"{name} is cut short ({how}), and what is lost is unknown; fetch it again or leave it out"
    )


def _parted(path: str) -> tuple[str, str]:
    """The name of a member up to the first dot of its last part, and what follows in lower case."""
    folder, last = posixpath.split(path.removeprefix("./"))
    stem, _, ending = last.partition(".")
    return posixpath.join(folder, stem), ending.lower() if stem else ""  # hidden files are no pictures


def _why_not(member: tarfile.TarInfo) -> str | None:
    if member.islnk() or member.issym():
        return f"{member.name} is a link; pack the picture itself (tar --dereference --hard-dereference)"
    if not member.isfile() or member.sparse is not None:
        return f"{member.name} is no plain file; pack the picture itself"
    return None


def _planned(sample: _Sample, source: str, tar: str) -> Iterator[PlannedPicture]:
    # beside 0001.jpg, 0001.depth.png is something else; where there is no such picture, all dotted names are pictures
    plain = [entry for entry in sample.pictures if "." not in _parted(entry[0])[1]]
    chosen = plain or sample.pictures
    for path, offset, size, reason in chosen:
        key = f"{tar}::{key_of_name(sample.stem if len(chosen) == 1 and plain else path.removeprefix('./'))}"
        place = (0, 0) if reason else (offset, size)
        yield PlannedPicture(key, source, *place, label=sample.label, reason=reason)


def _content(stream: IO[bytes], member: tarfile.TarInfo) -> bytes:
    here = stream.tell()
    stream.seek(member.offset_data)
    content = stream.read(member.size)
    stream.seek(here)
    return content


def _label(content: bytes, ending: str, where: str, read_label: ReadLabel) -> int | None:
    try:
        text = content.decode("utf-8-sig").strip()
        if ending == "cls":
            return read_label(text, where)
        known = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} cannot be read ({brief(error)}); pack the labels again") from error
    if not isinstance(known, dict):
        return None
    value = next((known[key] for key in LABELS if known.get(key) is not None), None)
    return None if value is None else read_label(value, where)
