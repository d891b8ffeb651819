"""What every head of every block does on one picture: how evenly it looks, how much at the class token, how far."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.app.tensors import finite
from vitscope.heads.distance.hops import Distance
from vitscope.heads.distance.strength_parts import trace_profiles
from vitscope.tracing import Trace

UNITS = {"entropy": "bits", "hop": "patches"}


def blocks_answer(trace: Trace, distance: Distance = "chebyshev") -> dict[str, Any]:
    """Entropy, share of the class token and mean hop of every head, as :func:`vitscope.heads.strength` measures them.

    Args:
        trace: Of one picture.
        distance: How hops are counted.

    Returns:
        Lists (L, H) and their means over the heads (L,). ``entropy`` of the patches' rows in bits; ``class_share``,
        what patches give the class token (None in a model without one); ``hop``, the mean distance that patches look.

    Raises:
        HeadsError: A model without a patch grid or without attention between patches.
    """
    profiles, blocks = trace_profiles(trace, distance)
    prefix = trace.layout.prefix[: int(profiles.to_prefix.shape[-1])]
    measured = {
        "entropy": profiles.entropy[0].numpy(),
        "hop": profiles.expected_distance[0].numpy(),
        "class_share": profiles.to_prefix[0, :, :, prefix.index("class")].numpy()
        if "class" in prefix
        else None,
    }
    found: dict[str, Any] = {"blocks": list(blocks), "distance": distance, "units": dict(UNITS)}
    for name, values in measured.items():
        found[name] = None if values is None else listed(values)
        found[f"{name}_mean"] = None if values is None else listed(np.nanmean(values, axis=1))
    return found


def listed(values: NDArray[Any]) -> Any:
    """Numbers as nested lists; None for what is no number."""
    if values.ndim > 1:
        return [listed(each) for each in values]
    return [finite(value) for value in values]
