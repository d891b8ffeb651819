"""Which pictures are meant by paths, folders and globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vitscope.errors import PictureError
from vitscope.options.door import checked
from vitscope.pictures.formats import is_picture_name
from vitscope.storage.paths import typed_path

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True)
class Listing:
    """What was found: files, the folder that a single folder or glob begins with, and folders that could not be read.

    ``closed`` maps folders that could not be searched to the reason.
    """

    files: list[Path]
    root: Path | None = None
    closed: dict[Path, str] = field(default_factory=dict)


@checked(PictureError)
def find_pictures(paths: Paths) -> list[Path]:
    """Find the picture files that paths, globs (``*``, ``?``, ``[...]``, ``**``) and folders name.

    Folders are searched recursively. What a folder or a glob gives is sorted; the order of the arguments is kept;
    no file comes twice. Hidden files and folders, and links to folders, are left out. A single file is returned as
    it is, even when it is missing, so that one bad path among many can be reported by ``read_picture`` and skipped.
    A leading ``~/`` is the user's home folder.

    Args:
        paths: One path, folder or glob, or several.

    Returns:
        The files. They are not opened, so some may turn out to be unreadable.

    Raises:
        PictureError: A folder or a glob without any picture, or a folder that cannot be searched.

    Example:
        >>> import vitscope as vs
        >>> for image in vs.worlds.world("shapes").sample(3).images():
        ...     image.save(f"{image.getpixel((0, 0))}.png".replace(" ", ""))
        >>> len(vs.pictures.find_pictures("*.png"))
        3
    """
    found = list_pictures(paths)
    for reason in found.closed.values():
        raise PictureError(reason)
    return found.files


def list_pictures(paths: Paths) -> Listing:
    """As ``find_pictures``, but folders that cannot be searched are listed with the reason instead of raised.

    Raises PictureError for a folder or a glob without any picture, and when nothing at all can be searched.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise PictureError("no picture was named; give a file, a folder or a glob such as 'photos/*.jpg'")
    found: dict[Path, None] = {}
    closed: dict[Path, str] = {}
    roots: list[Path | None] = []
    for item in given:
        path = typed_path(item, PictureError)
        if _is_folder(path):
            files, root = _below(path, closed), path
        elif glob.has_magic(str(path)) and not os.path.lexists(path):
            files, root = _matches(path), _fixed_part(path)
        else:
            files, root = [path], None
        found.update(dict.fromkeys(files))
        roots.append(root)
    if not found and closed:
        raise PictureError(next(iter(closed.values())))
    return Listing(list(found), roots[0] if len(roots) == 1 else None, closed)


def walk(folder: Path, closed: dict[Path, str]) -> Iterator[str]:
    """The path of every file below a folder that is not hidden: in each folder its files by name, then its folders.

    Folders that cannot be read are entered into ``closed`` with the reason. Names are compared by code point, so the
    order is the same on every machine. Any depth is searched; only what the system itself cannot name is closed. The
    names of one folder are in memory at a time, whatever the number of all.
    """
    waiting = [str(folder)]
    while waiting:
        place = waiting.pop()
        files, below = [], []
        try:
            with os.scandir(place) as listed:
                for entry in listed:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.name)
                    elif not (entry.is_symlink() and _is_folder(Path(entry.path))):
                        files.append(entry.name)
        except OSError as error:
            closed[Path(place)] = _why_closed(Path(place), error)
            continue
        files.sort()
        below.sort(reverse=True)
        start = place if place.endswith("/") else f"{place}/"
        yield from (start + name for name in files)
        waiting.extend(start + name for name in below)


def _below(folder: Path, closed: dict[Path, str]) -> list[Path]:
    refused: dict[Path, str] = {}
    files, others = [], 0
    for path in walk(folder, refused):
        if is_picture_name(os.path.basename(path)):
            files.append(Path(path))
        else:
            others += 1
    closed.update(refused)
    if not files and not refused:
        what = f"{others:,} files but no picture" if others else "no file"
        raise PictureError(
            f"the folder {folder} holds {what}; expected names ending in .jpg, .png, .webp, .tif ..."
        )
    return files


def _matches(pattern: Path) -> list[Path]:
    hits = sorted(glob.glob(str(pattern), recursive=True))
    files = [Path(hit) for hit in hits if is_picture_name(os.path.basename(hit)) and os.path.isfile(hit)]
    if not files:
        what = f"only {len(hits):,} that are no pictures" if hits else "nothing"
        raise PictureError(f"the pattern '{pattern}' matches {what}; check the folder and the ending")
    return files


def _fixed_part(pattern: Path) -> Path:
    """The folder of a glob before its first star."""
    fixed = []
    for part in pattern.parent.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # a name too long for the system: told when it is read


def _why_closed(folder: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"the folder {folder} may not be read by this user; change its permissions"
    if isinstance(error, FileNotFoundError):
        return f"the folder {folder} was there and is gone; start again"
    return f"the folder {str(folder)[:200]} cannot be searched ({error.strerror}); move it or name its parts"
