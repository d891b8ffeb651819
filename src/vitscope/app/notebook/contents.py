"""What the widget shows, as it travels to the page: words as JSON, and the maps of one picture as raw numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.app.answers.maps import map_answer
from vitscope.app.tensors import encode
from vitscope.methods import Explanation
from vitscope.reports import words
from vitscope.version import __version__


def about(explanations: Mapping[str, Explanation]) -> dict[str, Any]:
    """What is the same for every picture: the model, the names of the pictures, and each method."""
    first = next(iter(explanations.values()))
    return {
        "version": __version__,
        "model": model_facts(first),
        "classes": list(first.class_names or ()),
        "pictures": [picture_name(first, index) for index in range(len(first))],
        "methods": [method_facts(name, explanation) for name, explanation in explanations.items()],
    }


def picture_name(explanation: Explanation, index: int) -> str:
    """The key of a picture that is a file; others have digests for keys, which tell a reader nothing."""
    originals = explanation.metadata.get("originals") or ()
    is_file = index < len(originals) and originals[index]["file"] is not None
    return str(explanation.metadata["keys"][index]) if is_file else f"picture {index}"


def model_facts(explanation: Explanation) -> dict[str, Any]:
    """The model that was explained, as far as its maps tell; ``blocks`` covers every block of the flow."""
    known, layout = explanation.metadata, explanation.layout
    _, count, first = words.flow_steps(explanation)
    heads = known.get("heads") or 0
    blocks = int(known.get("blocks") or 0)
    return {
        "name": str(known.get("model", "")),
        "weights": str(known.get("fingerprint", "")),
        "image_size": list(known.get("image_size") or ()),
        "grid": None if layout is None else list(layout.grid),
        "blocks": max(blocks, first + count),
        "heads": list(heads) if isinstance(heads, list | tuple) else [int(heads)] * blocks,
        "prefix": [] if layout is None else list(layout.prefix),
    }


def method_facts(name: str, explanation: Explanation) -> dict[str, Any]:
    """What the menu, the strip and the colour bar have to know of a method."""
    info = words.known_method(name)
    kind, count, first = words.flow_steps(explanation)
    return {
        "name": name,
        "title": name if info is None else info.title,
        "family": "" if info is None else info.family,
        "summary": "" if info is None else info.summary.replace("``", ""),
        "citation": "" if info is None else info.citation,
        "signed": words.is_signed(name),
        "class_specific": info is not None and info.class_specific,
        "forwards": 0.0 if info is None else float(info.forwards),
        "backwards": 0.0 if info is None else float(info.backwards),
        "steps": {"kind": kind, "count": count, "first": first},
    }


def picture_bytes(explanations: Mapping[str, Explanation], index: int) -> bytes:
    """Everything of one picture: what the model saw, and for each method the very bytes that the app's server answers.

    Tensors: ``picture`` (H, W, 3) uint8 where it is kept, and the bytes of ``map_answer`` by the name of the method."""
    first = next(iter(explanations.values()))
    tensors: dict[str, NDArray[Any]] = {}
    for name, explanation in explanations.items():
        tensors[f"maps/{name}"] = np.frombuffer(encode(*map_answer(explanation, index)), np.uint8)
    if first.pictures is not None:
        tensors["picture"] = np.asarray(first.pictures[index], dtype=np.uint8)
    return encode(tensors, {"index": index, "predictions": words.predictions(first, index)})
