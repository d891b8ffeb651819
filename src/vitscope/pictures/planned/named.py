"""What a user named: a folder, files, tars or tables, here or at a URL, found by name alone."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vitscope.errors import PictureError
from vitscope.pictures.find import list_pictures
from vitscope.pictures.formats import is_picture_name
from vitscope.pictures.identity import absolute
from vitscope.pictures.planned.folders import matching
from vitscope.pictures.planned.names import braced
from vitscope.pictures.planned.place import Place, is_url
from vitscope.storage.paths import typed_path

Kind = Literal["folder", "files", "csv", "parquet", "tar"]
KINDS: dict[str, Kind] = {".csv": "csv", ".parquet": "parquet", ".tar": "tar"}
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".7z", ".rar")


@dataclass(frozen=True)
class Named:
    """Files of one kind: ``names`` below ``place``; for a folder none, because all below are meant.

    ``apart``: paths of this machine that were listed one by one, whose keys do not depend on each other.
    """

    place: Place
    kind: Kind
    names: Sequence[str] = ()
    apart: bool = False


def named(given: Sequence[str]) -> Named:
    """The files that texts name, each a path, a folder, a URL, or a pattern of these.

    Raises PictureError for nothing, several kinds at once, or what is compressed; SourceError for a URL that does not
    answer.
    """
    if not given:
        raise PictureError("no picture was named; give a file, a folder or a pattern such as 'photos/*.jpg'")
    given = [text.removeprefix("file://") for text in given]
    if any(is_url(text) for text in given):
        if not all(is_url(text) for text in given):
            raise PictureError("URLs and paths of this machine were named together; plan one after the other")
        return _at_urls(given)
    return _here(given)


def _here(given: Sequence[str]) -> Named:
    if len(given) == 1:
        path = typed_path(given[0], PictureError)
        if path.is_dir():
            return Named(Place.of(path), "folder")
    names: list[str] = []
    for text in given:
        path = typed_path(text, PictureError)
        names += [str(path)] if os.path.lexists(path) else braced(str(path))
    kind = _kind(names)
    if kind == "files":
        listed = list_pictures(names)
        for reason in listed.closed.values():
            raise PictureError(reason)
        root = listed.root if len(given) == 1 else None
        whole = [str(absolute(file)) for file in listed.files]
        place = Place.of(_folder_of(whole, os.getcwd()) if root is None else root)
        return Named(place, "files", [_relative(place, path) for path in whole], root is None)
    found = [hit for name in names for hit in _hits(name)]
    whole = [str(absolute(Path(path))) for path in found]
    place = Place(os.path.commonpath([os.path.dirname(path) for path in whole]))
    return Named(place, kind, [_relative(place, path) for path in whole])


def _hits(name: str) -> list[str]:
    if os.path.lexists(name) or not glob.has_magic(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True))
    if not found:
        raise PictureError(f"the pattern '{name}' matches nothing; check the folder and the ending")
    return found


def _folder_of(paths: Sequence[str], here: str) -> str:
    """This folder where all lie below it, else the top of all."""
    return here if all(path.startswith(f"{here}/") for path in paths) else "/"


def _relative(place: Place, path: str) -> str:
    return path[len(place.prefix) :]


def _at_urls(given: Sequence[str]) -> Named:
    urls = [name for text in given for name in braced(text)]
    scheme = urls[0].partition("://")[0]
    if any(url.partition("://")[0] != scheme for url in urls):
        raise PictureError("URLs of several kinds were named together; plan one after the other")
    kind = _kind(urls)
    if (
        len(urls) == 1
        and kind == "files"
        and not glob.has_magic(urls[0])
        and not is_picture_name(_last(urls[0]))
    ):
        return Named(Place.of(urls[0]), "folder")
    starred = scheme not in ("http", "https") and any(glob.has_magic(url) for url in urls)
    folders = [_fixed(url) if starred else url.rpartition("/")[0] for url in urls]
    place = Place.of(_shared(folders))
    names = [url[len(place.prefix) :] for url in urls]
    if not starred:
        return Named(place, kind, names)
    found = [hit for name in names for hit in (matching(place, name) if glob.has_magic(name) else [name])]
    found = [hit for hit in found if kind != "files" or is_picture_name(_last(hit))]
    if not found:
        raise PictureError(f"the pattern '{urls[0]}' matches nothing; check the folder and the ending")
    return Named(place, kind, found)


def _shared(folders: Sequence[str]) -> str:
    """The URL that all of these lie below."""
    first, *others = [folder.split("/") for folder in folders]
    while not all(other[: len(first)] == first for other in others):
        first.pop()
    if len(first) < 3:
        raise PictureError(
            f"{folders[0]} and {folders[-1]} have no folder in common; give root=, or plan one by one"
        )
    return "/".join(first)


def _fixed(url: str) -> str:
    """The folder of a pattern before its first star."""
    parts = url.split("/")[:-1]
    return "/".join(parts[: next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))])


def _last(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def _kind(names: Sequence[str]) -> Kind:
    """The kind of all of them by their endings."""
    kinds = {}
    for name in names:
        plain = (name.partition("?")[0] if name.startswith(("http://", "https://")) else name).lower()
        if plain.endswith(PACKED):
            raise PictureError(
                f"{name} is compressed, so no picture can be read by itself; unpack it to a plain .tar or a folder"
            )
        kinds[KINDS.get(os.path.splitext(plain)[1], "files")] = name
    if len(kinds) > 1:
        raise PictureError(
            f"{' and '.join(kinds.values())} were named together; plan one kind after the other"
        )
    return next(iter(kinds))
