"""What is known of the opened model, for the head of a page."""

from __future__ import annotations

from typing import Any

from vitscope.methods.explaining.support import describe_readout
from vitscope.tracing import Vit


def model_answer(vit: Vit) -> dict[str, Any]:
    """The model, its weights and its anatomy, as plain values.

    Example:
        >>> import vitscope as vs
        >>> found = model_answer(vs.open_model("bundled/shapes"))
        >>> found["grid"], found["heads"], found["prefix"]
        ([12, 12], [4, 4, 4, 4, 4, 4], ['class'])
    """
    anatomy = vit.anatomy
    layout, size = anatomy.layout, anatomy.image_size
    whole = None if layout is None or size is None else layout.cells_at(size).extent
    return {
        "name": vit.source,
        "family": vit.family,
        "weights": vit.fingerprint,
        "precision": vit.precision,
        "device": str(vit.device),
        "parameters": anatomy.parameters,
        "image_size": None if size is None else list(size),
        "grid": None if layout is None else list(layout.grid),
        "patches": None if layout is None else layout.patches,
        "extent": [0.0, 0.0, 1.0, 1.0] if whole is None else list(whole),
        "blocks": len(anatomy.blocks),
        "heads": [block.heads for block in anatomy.blocks],
        "prefix": [] if layout is None else list(layout.prefix),
        "classes": anatomy.classes,
        "probability": anatomy.probability if anatomy.classes else None,
        "read_out": describe_readout(anatomy),
        "tokens": None if layout is None else layout.describe(),
        "asunder": anatomy.asunder,
        "notes": list(dict.fromkeys([*anatomy.notes, *vit.loaded.notes])),
    }
