"""Where the results of many pictures go: inside one folder, and no two of them into the same file."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from vitscope.storage.files import Place

LONGEST = 150
"""Bytes of a name; file systems allow 255, and endings follow."""
_HASHED = re.compile(r"~[0-9a-f]{12}(\.|$)")
_SEPARATORS = frozenset("/\\:")
"""What one system or another takes for the end of a folder's name."""


class OutputNames:
    """Names for the results of pictures in one folder.

    A picture's results are ``NAME.ENDING`` (``cat.gmar.png``), with the folders of its key before. NAME is the
    picture's name without its ending, or with it where two pictures differ in nothing else. A name gets a digest of
    its key (``cat~0123456789ab``) where it would lead out of the folder, holds what a file system does not take, is
    too long, differs from another one only in capitals or in the way in which accents are written, or begins as
    another's result does (``cat.gmar`` beside ``cat``).

    Args:
        folder: Where all results go.
        keys: The keys of all pictures: paths with ``/`` between folders.
        reserved: File names that the folder itself needs ("report.html").

    Example:
        >>> names = OutputNames("out", ["a/cat.png", "a/dog.png", "a/dog.jpg"])
        >>> [names.path(key, "gmar.png").as_posix() for key in ("a/cat.png", "a/dog.jpg")]
        ['out/a/cat.gmar.png', 'out/a/dog.jpg.gmar.png']
    """

    def __init__(self, folder: Place, keys: Iterable[str], reserved: Iterable[str] = ()) -> None:
        self.folder = Path(folder)
        every = list(dict.fromkeys(keys))
        folders: dict[str, set[str]] = defaultdict(set)
        pictures: dict[str, set[str]] = defaultdict(set)
        for key in every:
            *above, last = key.split("/")
            for depth, name in enumerate(above):
                folders["/".join(above[:depth])].add(name)
            pictures["/".join(above)].add(last)
        kept = {_canonical(name) for name in reserved}
        self._folders: dict[tuple[str, str], str] = {}
        self._pictures: dict[tuple[str, str], str] = {}
        for parent in {*folders, *pictures}:
            self._name(
                parent, folders.get(parent, set()), pictures.get(parent, set()), kept if not parent else set()
            )

    def stem(self, key: str) -> Path:
        """The path of a picture's results without their endings, below the folder. Raises KeyError for another key."""
        *above, last = key.split("/")
        names = [self._folders["/".join(above[:depth]), name] for depth, name in enumerate(above)]
        return self.folder.joinpath(*names, self._pictures["/".join(above), last])

    def path(self, key: str, ending: str) -> Path:
        """The path of one result: ``path("cat.png", "gmar.png")`` is ``FOLDER/cat.gmar.png``."""
        stem = self.stem(key)
        return stem.with_name(f"{stem.name}.{ending}")

    def _name(self, parent: str, folders: set[str], pictures: set[str], reserved: set[str]) -> None:
        """Choose the names of all that lie in one folder of the keys."""
        bare = Counter(_canonical(_stem(name)) for name in pictures)
        wanted = {name: stem if bare[_canonical(stem := _stem(name))] == 1 else name for name in pictures}
        stems = {_canonical(name) for name in wanted.values()} | reserved
        taken = Counter(_canonical(name) for name in wanted.values())
        beside = Counter(_canonical(name) for name in folders)
        for name, plain in wanted.items():
            found = _canonical(plain)
            unclear = (
                taken[found] > 1 or _extends(found, stems) or any(_extends(r, {found}) for r in reserved)
            )
            self._pictures[parent, name] = _safe(plain, f"{parent}/{name}", unclear)
        for name in folders:
            found = _canonical(name)
            unclear = beside[found] > 1 or _extends(found, stems) or found in reserved
            self._folders[parent, name] = _safe(name, f"{parent}/{name}/", unclear)


def _stem(name: str) -> str:
    """A picture's name without its ending; a name of an ending alone stays."""
    stem, _, _ = name.rpartition(".")
    return stem if stem.strip(".") else name


def _canonical(name: str) -> str:
    """The same for names that some file system takes for one: capitals and the writing of accents do not count."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _extends(name: str, others: set[str]) -> bool:
    """Whether a name begins with another one and a dot, as that one's results do."""
    return any(name[: found.start()] in others for found in re.finditer(r"\.", name) if found.start())


def _safe(name: str, key: str, unclear: bool) -> str:
    """The name itself where it is one that every file system takes and no other one has, else with a digest."""
    # Control characters, invisible ones, and halves of letters (names that are not UTF-8) are not printable.
    plain = name.rstrip(". ")
    if not plain.isprintable() or not _SEPARATORS.isdisjoint(plain):
        plain = "".join(c if c.isprintable() and c not in _SEPARATORS else "_" for c in plain)
    encoded = plain.encode()
    if plain == name and plain and not unclear and len(encoded) <= LONGEST and not _HASHED.search(plain):
        return plain
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{encoded[: LONGEST - 13].decode('utf-8', 'ignore')}~{digest}"
