"""The pictures that a page shows: for each method those on which it does worst and best, and its maps on them.

Kept while the run goes through the pictures: what a page can need is the extremes of every method, and those of a
whole are among those of its parts. So memory does not grow with the number of pictures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from vitscope.evaluation.board.records import Place, State
from vitscope.evaluation.metric import get_metric

SHOWN = 4
"""The worst and the best pictures of each method that are kept."""


def ordering_metric(metrics: Sequence[str]) -> str | None:
    """By which metric pictures are called worst and best: the first that is ranked and scores pictures, no mosaics."""
    for name in metrics:
        info = get_metric(name)
        if info.higher_is_better is not None and "mosaics" not in info.requires:
            return name
    return None


def extremes(state: State, kept: Collection[str], count: int = SHOWN) -> tuple[list[str], list[str]]:
    """Keys of the worst pictures (worst first) and of the best (best first) among those that are ``kept``.

    Never the same picture twice: with few pictures there are fewer of each. Those without a value are left out.
    """
    return _ends(_values(state, kept), count)


def values_of(
    states: Mapping[Place, State], metrics: Sequence[str], kept: Collection[str]
) -> dict[str, dict[str, float]]:
    """For each method the values of the kept pictures by the ordering metric, with the sign that more is better."""
    metric = ordering_metric(metrics)
    return {method: _values(state, kept) for (method, name), state in states.items() if name == metric}


def oriented(state: State, values: Mapping[str, float]) -> dict[str, float]:
    """Values with the sign that more is better, in the metric's own sense; and back."""
    sign = 1 if state.info.higher_is_better else -1
    return {key: sign * value for key, value in values.items()}


def prune(
    values: Mapping[str, dict[str, float]], pictures: dict[str, np.ndarray], maps: dict[Place, np.ndarray]
) -> None:
    """Forget the pictures that are no extreme of any method, the maps on them, and their ``values``."""
    if len(pictures) <= 2 * SHOWN:
        return
    wanted: set[str] = set()
    for known in values.values():
        for keys in _ends(known, SHOWN):
            wanted.update(keys)
    for key in [key for key in pictures if key not in wanted]:
        del pictures[key]
    for place in [place for place in maps if place[1] not in pictures]:
        del maps[place]
    for known in values.values():
        for key in [key for key in known if key not in pictures]:
            del known[key]


def _values(state: State, kept: Collection[str]) -> dict[str, float]:
    return {key: value for key, value in oriented(state, state.values_of(kept)).items() if value == value}


def _ends(values: Mapping[str, float], count: int) -> tuple[list[str], list[str]]:
    ordered = sorted(values, key=lambda key: (values[key], key))
    shown = min(count, len(ordered) // 2)
    return ordered[:shown], ordered[::-1][:shown]
