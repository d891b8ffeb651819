"""What an explanation holds of each picture beside its tensors: some of the metadata, and its own target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

PER_PICTURE = (
    "prefix_share",
    "prefix_values",
    "prefix_flow",
    "diagnostics",
    "keys",
    "ids",
    "targets",
    "originals",
)
"""Metadata with one entry per picture."""


def picked(metadata: Mapping[str, Any], places: Sequence[int]) -> dict[str, Any]:
    """The metadata of the pictures at these places."""
    return {
        key: [value[place] for place in places] if key in PER_PICTURE else value
        for key, value in metadata.items()
    }


def notes_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The notes of an explanation, and how much of its maps lies on outlier patches."""
    told = on_outliers(metadata.get("diagnostics", ()))
    return (*metadata.get("notes", ()), *(() if told is None else (told,)))


def on_outliers(records: Sequence[Mapping[str, Any]]) -> str | None:
    """How much of some pictures' maps lies on patches whose norm is an outlier, in words; None where there are none.

    Example:
        >>> on_outliers([{"outlier_share": 0.02, "outlier_relevance": 0.25}, {"outlier_share": 0.0}])
        '25 % of the relevance lies on the 2.0 % of the patches whose norm is an outlier, in 1 of 2 pictures'
    """
    pairs = [(each.get("outlier_share"), each.get("outlier_relevance")) for each in records]
    known = [(share, relevance) for share, relevance in pairs if share and relevance is not None]
    if not known:
        return None
    share, relevance = (sum(each) / len(known) for each in zip(*known, strict=True))
    some = "" if len(known) == len(pairs) else f", in {len(known)} of {len(pairs)} pictures"
    return (
        f"{100 * relevance:.0f} % of the relevance lies on the {100 * share:.1f} % of the patches whose norm is an "
        f"outlier{some}"
    )


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
