"""One picture's explanation as arrays and what is known of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.app.tensors import finite
from vitscope.methods import Explanation
from vitscope.reports import words
from vitscope.storage.recipe import plain
from vitscope.tracing.targets.quantity import quantity_of

Arrays = dict[str, NDArray[Any]]


def map_answer(explanation: Explanation, index: int = 0) -> tuple[Arrays, dict[str, Any]]:
    """The map of one picture, as a page draws it.

    Args:
        explanation: Of one or several pictures.
        index: Which of them, from 0.

    Returns:
        By name ``map`` (h, w) float32; ``flow`` (L, h, w) where the method has one; and what the method gave beside it
        as ``extras/NAME``. And what is known of them, as plain values.

    Raises:
        PlaceError: There is no such picture.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> found = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images(), "daam")
        >>> arrays, known = map_answer(found)
        >>> arrays["map"].shape, arrays["flow"].shape, known["target"]["name"]
        ((12, 12), (6, 12, 12), 'heart')
    """
    one = explanation[index]
    arrays: Arrays = {"map": _float32(one.maps[0])}
    if one.flow is not None:
        arrays["flow"] = _float32(one.flow[0])
    for name, value in one.extras.items():
        arrays[f"extras/{name}"] = _float32(value[0])
    kind, _, first = words.flow_steps(one)
    recipe = one.recipe
    known = {
        "method": one.method,
        "options": plain(dict(one.options)),
        "target": target_of(one),
        "explained": words.explained(one),
        "score": float(one.scores[0]),
        "probability": _probability(one),
        "signed": words.is_signed(one.method),
        "accumulates": words.accumulates(one.method),
        "flow_of": kind,
        "first_block": first,
        "grid": list(one.maps.shape[-2:]),
        "extent": list(one.extent),
        "prefix": _prefix(one),
        "notes": list(dict.fromkeys(one.notes)),
        "model": one.metadata.get("model"),
        "weights": one.metadata.get("fingerprint"),
        "key": one.metadata["keys"][0] if one.metadata.get("keys") else None,
        "picture": one.metadata["ids"][0] if one.metadata.get("ids") else None,
        "recipe": None if recipe is None else recipe.digest,
    }
    return arrays, known


def _prefix(one: Explanation) -> list[dict[str, Any]]:
    """What lies on each token outside of the grid: its share of the whole, its value, and those in the flow."""
    values = (one.metadata.get("prefix_values") or [None])[0]
    flow = (one.metadata.get("prefix_flow") or [None])[0]
    return [
        {
            "name": name,
            "share": share,
            "value": None if values is None else finite(values[place]),
            "flow": None if flow is None else [finite(step[place]) for step in flow],
        }
        for place, (name, share) in enumerate((words.prefix_shares(one) or {}).items())
    ]


def target_of(explanation: Explanation) -> dict[str, Any] | str | None:
    """What is explained: the class with its name, another target in words, or None where nothing is known."""
    number = words.class_of(explanation)
    if number is None:
        return explanation.target or None
    return {
        "class": number,
        "name": words.class_name(explanation, number),
        "text": words.explained(explanation),
    }


def _float32(value: Any) -> NDArray[np.float32]:
    return np.asarray(value.detach().cpu().numpy(), dtype=np.float32)


def _probability(explanation: Explanation) -> float | None:
    """The probability of the class that is explained."""
    number = words.class_of(explanation)
    if explanation.logits is None or number is None:
        return None
    kind = explanation.metadata.get("probability", "softmax")
    return float(quantity_of(explanation.logits.float(), "probability", kind)[0, number])
