"""Names for clusters of attention maps, by rules that a reader can check.

The vocabulary is that of Li et al. 2023 and the sheet: self, local ring, left/right/up/down neighbour, row, column,
fixed-key stripe (sink), uniform, content-driven. A rule looks at the mean features of a cluster (`features.py`) and
says why it fired; the first rule that fires gives the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitscope.heads.atlas.features import FEATURES

DIRECTIONS = {"left": "right", "right": "left", "up": "down", "down": "up"}


@dataclass(frozen=True)
class Pattern:
    """One attention pattern of an atlas: a cluster of maps, with a name given by rule.

    Args:
        cluster: Index of the cluster, from 0.
        name: Its name, such as "local ring" or "uniform".
        because: The numbers that gave it this name.
        maps: How many sampled maps are in it.
        content_dependence: In [0, 1]: 0 for maps that are the same on every picture, towards 1 for maps that follow
            the content.

    Example:
        >>> from vitscope.heads import Pattern
        >>> Pattern(0, "uniform", "entropy 99% of the largest", maps=12, content_dependence=0.0).name
        'uniform'
    """

    cluster: int
    name: str
    because: str
    maps: int
    content_dependence: float


@dataclass(frozen=True)
class PatternName:
    """A name and the evidence for it in words."""

    name: str
    because: str


def name_pattern(
    features: NDArray[np.float32], uniform: NDArray[np.float32], content_dependence: float
) -> PatternName:
    """Name a pattern from mean features (12,), those of uniform attention on the same grid (12,), and the mean over
    heads of the variance over pictures at a fixed query (in [0, 1], NaN when unknown)."""
    value = dict(zip(FEATURES, (float(x) for x in features), strict=True))
    base = dict(zip(FEATURES, (float(x) for x in uniform), strict=True))

    def times(*names: str) -> float:
        return sum(value[n] for n in names) / max(1e-9, sum(base[n] for n in names))

    if value["row_entropy"] >= 0.97:
        return PatternName(
            "uniform", f"row entropy is {value['row_entropy']:.0%} of that of uniform attention"
        )
    if value["stripe"] >= 0.85 and value["key_entropy"] <= 0.85:
        if content_dependence >= 0.5:
            return PatternName(
                "content-driven",
                f"all queries share the same few keys, and {content_dependence:.0%} of the map changes from picture to "
                "picture: the keys are chosen by content",
            )
        return PatternName(
            "fixed-key stripe",
            f"all queries share one key distribution (similarity {value['stripe']:.2f}) whose entropy is "
            f"{value['key_entropy']:.0%} of the largest possible",
        )
    if value["self"] >= 0.3 and value["self"] >= value["ring"] * 0.8:
        return PatternName("self", f"{value['self']:.0%} of the attention stays on the query's own patch")
    side, mass = max(((d, value[d]) for d in DIRECTIONS), key=lambda item: item[1])
    if mass >= 0.2 and times(side) >= 3 and mass >= 1.8 * value[DIRECTIONS[side]] and mass >= value["self"]:
        return PatternName(
            f"{side} neighbour",
            f"{mass:.0%} lies one or two patches {side} of the query, {value[DIRECTIONS[side]]:.0%} on the other side",
        )
    near = value["self"] + value["ring"]
    if near >= 0.4 and times("self", "ring") >= 3:
        return PatternName(
            "local ring", f"{near:.0%} lies within one hop ({times('self', 'ring'):.1f} x uniform)"
        )
    for line, other in (("row", "column"), ("column", "row")):
        if value[line] >= 0.25 and times(line) >= 2.5 and value[line] >= 1.5 * value[other]:
            return PatternName(
                line, f"{value[line]:.0%} lies on the query's {line} ({times(line):.1f} x uniform)"
            )
    if content_dependence == content_dependence and content_dependence >= 0.25:
        return PatternName(
            "content-driven",
            f"at a fixed query {content_dependence:.0%} of the map varies from picture to picture",
        )
    if times("self", "ring") >= 2:
        return PatternName(
            "broad local", f"{times('self', 'ring'):.1f} x uniform within one hop, spread wider"
        )
    if times("far") >= 1.2:
        return PatternName("distant", f"{times('far'):.1f} x uniform further than half the grid")
    return PatternName(
        "mixed",
        f"no rule fires: row entropy {value['row_entropy']:.0%} of the largest, {times('self', 'ring'):.1f} x uniform "
        f"within one hop, similarity of the queries' rows {value['stripe']:.2f}",
    )


def unique_names(names: Sequence[str]) -> list[str]:
    """Names made unique by numbers: uniform, row, row 2, …"""
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if counts[name] == 1 else f"{name} {counts[name]}")
    return result
