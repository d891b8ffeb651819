"""The index of a folder of results: which file shows what, as JSON and as CSV; and a target's part of their names."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitscope.errors import StorageError
from vitscope.storage import documents, files

if TYPE_CHECKING:
    from vitscope.methods import Explanation
    from vitscope.storage.recipe import Recipe

INDEX, TABLE = "index.json", "index.csv"
KIND = "index of results"
COLUMNS = (
    "picture", "key", "method", "target", "class", "class_name", "score", "prediction", "probability", "files",
    "recipe",
)  # fmt: skip
_LONGEST = 40


def with_target(stem: Path, words: str, single: Explanation | None = None) -> Path:
    """The path of a picture's results without their endings, with the target in it where it is not the default.

    Args:
        stem: The picture's own.
        words: The target as it was typed.
        single: The picture's explanation, which knows its own target where there is one for each.

    Example:
        >>> with_target(Path("maps/cat"), "top1"), with_target(Path("maps/cat"), "class:star")
        (PosixPath('maps/cat'), PosixPath('maps/cat.class-star'))
    """
    plain = words.strip()
    if plain in ("top1", "logit"):
        return stem
    if single is not None and re.fullmatch(r"(class:)?[0-9]+(,[0-9]+)+.*", plain):
        plain = single.target
    safe = re.sub(r"[^\w-]+", "-", plain).strip("-").lower()
    if len(safe) > _LONGEST or safe != plain.lower().replace(":", "-").replace(" ", "-").replace(",", "-"):
        safe = f"{safe[:_LONGEST]}-{hashlib.sha256(plain.encode()).hexdigest()[:6]}"
    return stem.with_name(f"{stem.name}.{safe}")


def row(
    record: Mapping[str, Any], key: str, method: str, written: Iterable[str], recipe: Recipe
) -> dict[str, Any]:
    """One line of the index: what a method showed of one picture.

    Args:
        record: The picture's record, with target, class, score and predictions.
        written: The files that show it.
        recipe: What made them.
    """
    best = (record.get("predictions") or [{}])[0]
    known = {name: record.get(name) for name in ("picture", "target", "class", "class_name", "score")}
    return {
        **known,
        "key": key,
        "method": method,
        "prediction": best.get("name") or best.get("class"),
        "probability": best.get("probability"),
        "files": list(written),
        "recipe": recipe.digest,
    }


def update_index(folder: Path, rows: list[dict[str, Any]], recipe: Recipe) -> list[str]:
    """Write the index of a folder: new rows, and those of earlier runs whose files are there and were not written anew.

    Returns the targets of rows whose files were written over by other results. Raises OutputError."""
    earlier: list[dict[str, Any]] = []
    recipes: dict[str, Any] = {}
    with contextlib.suppress(StorageError, KeyError, TypeError):
        found = documents.load(folder / INDEX, KIND)
        earlier, recipes = list(found["rows"]), dict(found["recipes"])
    for each in rows:
        each["files"] = [Path(os.path.relpath(file, folder)).as_posix() for file in each["files"]]
    new = {file for each in rows for file in each["files"]}
    lost = [each for each in earlier if not new.isdisjoint(each["files"]) and each["recipe"] != recipe.digest]
    kept = [
        each
        for each in earlier
        if new.isdisjoint(each["files"]) and all((folder / file).is_file() for file in each["files"])
    ]
    every = sorted([*kept, *rows], key=lambda each: (each["key"], each["method"], str(each["target"])))
    recipes[recipe.digest] = recipe.to_dict()
    used = {each["recipe"] for each in every}
    documents.save(
        folder / INDEX,
        KIND,
        {"rows": every, "recipes": {name: made for name, made in recipes.items() if name in used}},
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({**each, "files": " ".join(each["files"])} for each in every)
    files.write(folder / TABLE, text.getvalue())
    return [str(each["target"]) for each in lost]
