"""Names for class indices: ImageNet's ship with the package, others come from the model or from the user."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from vitscope.errors import ModelError
from vitscope.models.quick_imports import without_compiler
from vitscope.storage.paths import typed_path


@functools.cache
def _imagenet_table() -> tuple[tuple[str, str], ...]:
    text = resources.files("vitscope").joinpath("assets/imagenet1k_classes.txt").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return tuple((wnid, name) for wnid, name in rows)


def imagenet_names() -> list[str]:
    """The 1,000 ImageNet-1k class names in the usual order, each once (WordNet's first word for the synset).

    Returns:
        The names, by the number of the class.

    Example:
        >>> names = imagenet_names()
        >>> len(names), names[207]
        (1000, 'golden retriever')
    """
    return [name for _, name in _imagenet_table()]


def imagenet_wnids() -> list[str]:
    """The 1,000 ImageNet-1k WordNet ids (such as n01440764) in the same order."""
    return [wnid for wnid, _ in _imagenet_table()]


def from_id2label(labels: Mapping[Any, str]) -> list[str] | None:
    """A transformers ``id2label`` table as a list; None when it holds only the automatic LABEL_0, LABEL_1 ..."""
    try:
        table = {int(index): str(name) for index, name in labels.items()}
    except (TypeError, ValueError):
        return None
    if sorted(table) != list(range(len(table))) or not table:
        return None
    names = [table[index] for index in range(len(table))]
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(names)) else names


def from_timm(module: Any) -> list[str] | None:
    """Names for a timm model whose class count is one of the ImageNet families that timm knows."""
    with without_compiler():
        from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(module)
    if subset is None:
        return None
    if subset == "imagenet-1k":
        return imagenet_names()
    try:
        return [name.split(",")[0] for name in ImageNetInfo(subset).label_descriptions()]
    except (AssertionError, KeyError):
        # Some subsets have a number of classes but no published list.
        return None


def as_class_names(value: Any, classes: int | None = None) -> list[str]:
    """What a user gives as ``class_names=``.

    A list; a mapping from index to name; ``imagenet``; the path of a text file with one name a line, or of a JSON
    file with a list or a mapping. ``classes`` is the number the model has, when known. Raises ``ModelError``.
    """
    if isinstance(value, str) and value in ("imagenet", "imagenet-1k"):
        names = imagenet_names()
    elif isinstance(value, (str, os.PathLike)):
        names = _read_names(typed_path(value, ModelError))
    elif isinstance(value, Mapping):
        found = from_id2label(value)
        if found is None:
            raise ModelError(
                f"class_names as a mapping need the indices 0 to {len(value) - 1}; got {list(value)[:5]} ..."
            )
        names = found
    elif isinstance(value, Sequence):
        names = [str(name) for name in value]
    else:
        raise ModelError(
            f"expected class_names= as a list, a mapping, a file or 'imagenet'; got {type(value).__name__}"
        )
    if classes is not None and len(names) != classes:
        raise ModelError(
            f"the model has {classes:,} classes but {len(names):,} names were given; give one for each class"
        )
    return names


def _read_names(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix.lower() == ".json":
            return as_class_names(json.loads(text))
    except OSError as error:
        raise ModelError(
            f"the class names file {file} cannot be read ({error.strerror}); check the path"
        ) from error
    except ValueError as error:
        raise ModelError(
            f"the class names file {file} is not UTF-8 text or valid JSON ({error}); fix it"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
