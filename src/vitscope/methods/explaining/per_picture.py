"""What an explanation holds of each picture beside its tensors: some of the metadata, and its own target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

PER_PICTURE = ("prefix_share", "diagnostics", "keys", "ids", "targets", "originals")
"""Metadata with one entry per picture."""


def picked(metadata: Mapping[str, Any], places: Sequence[int]) -> dict[str, Any]:
    """The metadata of the pictures at these places."""
    return {
        key: [value[place] for place in places] if key in PER_PICTURE else value
        for key, value in metadata.items()
    }


def targets_of(target: str, places: Sequence[int]) -> str:
    """The target of the pictures at these places: their own classes where there is one per picture.

    Example:
        >>> targets_of("class:3,0,7:probability", [0, 2])
        'class:3,7:probability'
    """
    match = re.fullmatch(r"class:([0-9]+(?:,[0-9]+)+)(:\w+)?", target)
    if match is None:
        return target
    classes = match[1].split(",")
    return f"class:{','.join(classes[place] for place in places)}{match[2] or ''}"
