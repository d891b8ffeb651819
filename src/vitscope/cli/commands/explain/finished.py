"""What is finished in the folder of ``vitscope explain``, so that a stopped run goes on and a longer one only adds.

Each part of a run leaves one sealed note in ``explained/``: the recipe, and for each picture its key, the hash of its
content, its record, and the hash of every file that was written for it. A picture counts as finished when all of that
still fits; whatever does not is done again.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitscope.cli.shared.console import note
from vitscope.errors import StorageError
from vitscope.storage import documents, files
from vitscope.storage.recipe import Recipe

if TYPE_CHECKING:
    from vitscope.pictures import PictureSource
    from vitscope.tracing import Target, Vit

FOLDER = "explained"
KIND = "list of explained pictures"
_NAME = re.compile(r"[0-9]{9}-[0-9a-f]{8}\.json")

Record = dict[str, Any]


class ExplainedPictures:
    """The finished pictures of one recipe in one output folder.

    Args:
        folder: The output folder.
        recipe: What makes the results, of any pictures.

    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self._others: dict[str, Recipe] = {}
        self._known: dict[tuple[str, str], list[Record]] = {}
        place = folder / FOLDER
        names: list[str] = []
        with contextlib.suppress(OSError):  # nothing is finished in a folder that is not there
            names = sorted(entry.name for entry in os.scandir(place))
        for name in names:
            if not _NAME.fullmatch(name):
                continue
            with contextlib.suppress(StorageError, KeyError, TypeError, AttributeError):
                found = documents.load(place / name, KIND)
                made = Recipe.from_dict(found["recipe"])
                if made.digest != recipe.digest:
                    self._others[made.digest] = made
                    continue
                for entry in found["pictures"]:
                    self._known.setdefault((entry["key"], entry["id"]), []).append(entry)

    def __bool__(self) -> bool:
        return bool(self._known)

    def find(self, key: str, content: str) -> Record | None:
        """The record of a picture that is finished, None for one that is not, or whose files are not as they were."""
        for entry in self._known.get((key, content), []):
            with contextlib.suppress(StorageError, KeyError, TypeError, AttributeError):
                if all(_digest(self.folder / name) == digest for name, digest in entry["files"].items()):
                    return _with_paths(entry["record"], lambda name: str(self.folder / name))
        return None

    def keep(self, start: int, entries: list[tuple[str, str, Record]]) -> None:
        """Note (key, content hash, record) of the finished pictures of one part. Raises OutputError."""
        pictures = []
        for key, content, record in entries:
            written: list[str] = []

            def below(path: str, written: list[str] = written) -> str:
                written.append(Path(path).relative_to(self.folder).as_posix())
                return written[-1]

            kept = _with_paths(record, below)
            hashes = {name: _digest(self.folder / name) for name in written}
            pictures.append({"key": key, "id": content, "record": kept, "files": hashes})
        if pictures:
            place = self.folder / FOLDER / f"{start:09d}-{uuid.uuid4().hex[:8]}.json"
            documents.save(place, KIND, {"recipe": self.recipe.to_dict(), "pictures": pictures})

    def tell(self, gone_on: int, lost: list[str]) -> None:
        """Say how many pictures were finished before, and what became of the results of another recipe.

        lost: targets of earlier results in whose files other ones are now."""
        if gone_on:
            note(f"{gone_on} pictures were finished by an earlier run and were not done again")
        elif self._others and not self._known:
            found = next(iter(self._others.values())).differences(self.recipe)
            if any(
                each.startswith("target:") for each in found
            ):  # as it was typed; it says the same in a word
                found = [each for each in found if not each.startswith("options.target")]
            differences = "; ".join(found[:4])
            if lost:
                note(
                    f"the results in {self.folder} are of another recipe ({differences}); all pictures were done anew, "
                    f"{len(lost)} of them were overwritten"
                )
            else:
                note(
                    f"{self.folder} also holds results of another recipe ({differences}); they stay beside these"
                )


def finished_of(known: ExplainedPictures, part: PictureSource) -> dict[str, Record] | None:
    """The records of a part whose pictures are all finished or cannot be read; None when there is something to do.

    A part is done as a whole or not at all, so that its pictures meet the same company in the model as before: the
    results are the same to the last bit.
    """
    if not known:
        return None
    found = {}
    for index, key in enumerate(part.keys):
        content = part.id(index)
        record = known.find(key, content) if content else None
        if record is not None:
            found[key] = record
        elif next(part.read(index, index + 1), None) is not None:
            return None
    return found


def _with_paths(record: Record, change: Callable[[str], str]) -> Record:
    """A record whose paths of files are changed."""
    moved = {**record, "maps": {name: dict(entry) for name, entry in record["maps"].items()}}
    for holder, name in ((entry, name) for entry in moved["maps"].values() for name in ("data", "overlay")):
        if name in holder:
            holder[name] = change(holder[name])
    if "sheet" in moved:
        moved["sheet"] = change(moved["sheet"])
    return moved


def run_recipe(
    vit: Vit, methods: Mapping[str, Mapping[str, Any]], target: Target, words: str, shown: Mapping[str, Any]
) -> Recipe:
    """What makes the results of a run: model, methods with all their options, target, and how they are drawn.

    Args:
        words: The target as it was typed. shown: everything else that the files depend on.
    """
    from vitscope.methods import get_method
    from vitscope.storage.recipe import plain
    from vitscope.tracing.recipe import library_versions, model_identity

    held: Any = words
    with contextlib.suppress(TypeError):
        held = plain(target)
    chosen = {name: {**get_method(name).options, **given} for name, given in methods.items()}
    return Recipe(
        analysis="explain",
        model={**model_identity(vit), "class names": vit.class_names},
        options={"methods": _with_contents(chosen), "target": held, **shown},
        target=_with_contents(words.removeprefix("picture:")) if words.startswith("picture:") else words,
        versions=library_versions(),
    )


def _with_contents(value: Any) -> Any:
    """A value in which the name of a file stands with the hash of what is in it."""
    if isinstance(value, Mapping):
        return {name: _with_contents(each) for name, each in value.items()}
    if isinstance(value, str | os.PathLike):
        with contextlib.suppress(StorageError):
            return f"{os.fspath(value)} {_digest(Path(value))}"
    return value


def _digest(path: Path) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(files.read(path))
