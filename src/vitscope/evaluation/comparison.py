"""What a leaderboard says about its methods: rankings, paired differences, who is best within noise."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from vitscope.evaluation.metric import get_metric
from vitscope.evaluation.statistics import Difference, holm, paired_difference, quantiles, resampled_sums

if TYPE_CHECKING:
    from vitscope.evaluation.leaderboard import Leaderboard


def ranking(board: Leaderboard, metric: str) -> list[str]:
    """Methods from best to worst by value; those without a value at the end."""
    sign = 1.0 if get_metric(metric).higher_is_better is False else -1.0
    values = {name: board.interval(name, metric).value for name in board.names}
    return sorted(
        board.names,
        key=lambda n: (values[n] != values[n], sign * values[n] if values[n] == values[n] else 0),
    )


def difference(board: Leaderboard, first: str, second: str, metric: str) -> Difference:
    """Value of ``first`` minus value of ``second`` over the pictures that both have, with interval and p."""
    keys = shared_keys(board, [first, second], metric)
    if len(keys) < 2:
        nan = float("nan")
        return Difference(first, second, nan, nan, nan, nan, nan, 0)
    one, other = (rows_of(board, name, metric, keys) for name in (first, second))
    gap, low, high, p = paired_difference(one, other, get_metric(metric).finalise, board.protocol.seed)
    return Difference(first, second, gap, low, high, p, p, len(keys))


def compare(
    board: Leaderboard, metric: str, pairs: Iterable[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Paired differences of all pairs of methods (or the given ones), p values corrected by Holm together."""
    chosen = list(itertools.combinations(ranking(board, metric), 2)) if pairs is None else list(pairs)
    found = [difference(board, first, second, metric) for first, second in chosen]
    corrected = holm([each.p for each in found])
    sign = -1 if get_metric(metric).higher_is_better is False else 1
    rows = []
    for each, p in zip(found, corrected, strict=True):
        winner = each.first if sign * each.difference > 0 else each.second
        rows.append({**vars(replace(each, p_holm=p)), "better": winner if p < 0.05 else ""})
    return pd.DataFrame(rows, columns=[*Difference.__dataclass_fields__, "better"])


def best(board: Leaderboard, metric: str) -> list[str]:
    """The first method and all that are not worse than it beyond noise (Holm over the comparisons with it)."""
    if get_metric(metric).higher_is_better is None:
        return []
    ranked = [name for name in ranking(board, metric) if board.interval(name, metric).n > 0]
    if len(ranked) < 2:
        return ranked
    leader, rest = ranked[0], ranked[1:]
    corrected = holm([difference(board, leader, other, metric).p for other in rest])
    return [leader] + [other for other, p in zip(rest, corrected, strict=True) if not p < 0.05]


def rank_stability(board: Leaderboard, metric: str, resamples: int) -> pd.DataFrame:
    """How sure the ranking is: for each method the 95 % interval of its rank over resampled pictures."""
    names = [name for name in board.names if board.interval(name, metric).n > 1]
    shared = shared_keys(board, names, metric)
    if not shared:
        return pd.DataFrame(columns=["method", "rank", "low", "high"])
    info = get_metric(metric)
    values = []
    for name in names:
        rows = rows_of(board, name, metric, shared)
        drawn = info.finalise(resampled_sums(rows, board.protocol.seed, resamples))
        values.append(torch.cat([info.finalise(rows.sum(0)).view(1), drawn]))
    higher = info.higher_is_better is not False
    table = torch.stack(values, dim=1).nan_to_num(nan=-torch.inf if higher else torch.inf)
    ranks = table.argsort(dim=1, descending=higher, stable=True).argsort(1).double() + 1
    rows_out = []
    for place, name in enumerate(names):
        low, high = quantiles(ranks[1:, place])
        rows_out.append({"method": name, "rank": int(ranks[0, place]), "low": low, "high": high})
    return pd.DataFrame(rows_out).sort_values("rank", ignore_index=True)


def shared_keys(board: Leaderboard, names: Sequence[str], metric: str) -> list[str]:
    """The pictures for which every one of the methods has a value, sorted."""
    defined = []
    for name in names:
        state = board.state(name, metric)
        if state is None:
            return []
        used = (state.rows != 0).any(1).tolist()
        defined.append({key for key, ok in zip(state.keys, used, strict=True) if ok})
    return sorted(set.intersection(*defined)) if defined else []


def rows_of(board: Leaderboard, name: str, metric: str, keys: Sequence[str]) -> Tensor:
    """The statistics of a method on these pictures, (n, K) in their order."""
    state = board.state(name, metric)
    assert state is not None
    place = {key: index for index, key in enumerate(state.keys)}
    return state.rows[[place[key] for key in keys]]
