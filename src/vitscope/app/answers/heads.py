"""What a study knows of all heads, as arrays and what is known of them: importance, distance, patterns, agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.app.answers.maps import Arrays
from vitscope.app.tensors import finite
from vitscope.heads import (
    METRICS,
    Agreement,
    CumulativePruning,
    HeadTable,
    JointEffect,
    PatternAtlas,
    StrengthProfile,
)
from vitscope.heads.numbers import HeadNumbers
from vitscope.heads.pruning.cumulative_parts import ANSWERS
from vitscope.heads.pruning.partial_curves import PartialPruning

Known = dict[str, Any]
PROFILES = ("mass", "strength", "offsets", "to_prefix", "patch_distance", "expected_distance", "entropy")
TREND = ("expected_distance", "patch_distance", "entropy")
NO_CLUSTER = 255
"""Stands for the cluster of a head that has no map."""


def table_answer(table: HeadNumbers) -> tuple[Arrays, Known]:
    """Means over pictures with their 95 % intervals, (M, L, H) float32 each, NaN where a head was not measured."""
    means = np.stack([table.mean(name) for name in table.metrics])
    ends = [table.interval(name) for name in table.metrics]
    arrays = {
        "mean": means,
        "low": np.stack([low for low, _ in ends]),
        "high": np.stack([high for _, high in ends]),
    }
    known = {"metrics": [metric_of(name) for name in table.metrics], "pictures": table.count}
    return {name: values.astype(np.float32) for name, values in arrays.items()}, known


def metric_of(name: str) -> Known:
    """What a column of a head table is called, and whether it has a sign."""
    found = METRICS.get(name)
    if found is None:
        return {"name": name, "title": name.replace("_", " "), "family": "other", "signed": False}
    return {"name": name, "title": found.title, "family": found.family, "signed": found.signed}


def agreement_answer(found: Agreement) -> tuple[Arrays, Known]:
    """Spearman's and Kendall's rank correlation of all pairs of metrics with their 95 % intervals, (M, M) float32."""
    arrays: Arrays = {}
    for statistic, sides in found.matrices.items():
        for side, values in zip(("", "_low", "_high"), sides, strict=True):
            arrays[f"{statistic}{side}"] = np.asarray(values, np.float32)
    return arrays, {
        "names": list(found.names),
        "rounds": found.rounds,
        "resample": found.resample,
        "pictures": found.pictures,
    }


def strength_answer(profile: StrengthProfile) -> tuple[Arrays, Known]:
    """Every profile by distance: means NAME (L, H, ...), spreads NAME_spread, and those of uniform attention
    NAME_uniform; float32."""
    arrays: Arrays = {}
    for name in PROFILES:
        arrays[name] = profile.values[name].astype(np.float32)
        arrays[f"{name}_spread"] = profile.spreads[name].astype(np.float32)
        arrays[f"{name}_uniform"] = np.atleast_1d(profile.uniform[name]).astype(np.float32)
    known = {
        "blocks": list(profile.blocks),
        "prefix": list(profile.prefix),
        "grid": list(profile.grid),
        "distance": profile.distance,
        "pictures": profile.count,
        "trend": {name: finite(profile.trend_correlation(name)) for name in TREND},
    }
    return arrays, known


def atlas_answer(atlas: PatternAtlas, shape: tuple[int, int]) -> tuple[Arrays, Known]:
    """Prototypes and examples (k, side, side), and of each head its mix of clusters ``shares`` (L, H, k), ``purity``
    and ``content_dependence`` (L, H), NaN for heads without maps; float32, of the sample the atlas was fitted to."""
    k = len(atlas.patterns)
    mine = atlas.heads[atlas.heads["model"] == atlas.heads["model"].iloc[0]]
    columns = {"purity": ["purity"], "content_dependence": ["content_dependence"]}
    columns["shares"] = [f"share_{cluster}" for cluster in range(k)]
    arrays = {name: _by_head(mine, names, shape) for name, names in columns.items()}
    arrays["purity"], arrays["content_dependence"] = (
        arrays[name][..., 0] for name in ("purity", "content_dependence")
    )
    known = {
        "clusters": [
            {
                "cluster": pattern.cluster,
                "name": name,
                "because": pattern.because,
                "maps": pattern.maps,
                "content_dependence": float(pattern.content_dependence),
            }
            for pattern, name in zip(atlas.patterns, atlas.names, strict=True)
        ],
        "form": atlas.form,
        "coder": atlas.coder_name,
        "verdict": atlas.verdict,
        "sampled": len(atlas.codes),
    }
    arrays |= {name: getattr(atlas, name).numpy().astype(np.float32) for name in ("prototypes", "examples")}
    return arrays, known


def _by_head(rows: pd.DataFrame, columns: list[str], shape: tuple[int, int]) -> NDArray[np.float32]:
    found = np.full((*shape, len(columns)), np.nan, np.float32)
    found[rows["block"].to_numpy(), rows["head"].to_numpy()] = rows[columns].to_numpy(np.float32)
    return found


def partial_answer(found: PartialPruning) -> tuple[Arrays, Known]:
    """Mean and spread over pictures of every metric at every step, (M, S) float32."""
    values = [np.asarray(found.values[name], np.float64) for name in found.values]
    nothing = np.full(len(found.steps), np.nan)
    spreads = [each.std(0, ddof=1) if len(each) > 1 else nothing for each in values]
    arrays = {
        "mean": np.stack([each.mean(0) for each in values]).astype(np.float32),
        "spread": np.stack(spreads).astype(np.float32),
    }
    known = {
        "block": found.block,
        "head": found.head,
        "steps": [[part, k] for part, k in found.steps],
        "metrics": [metric_of(name) for name in found.values],
        "pictures": len(found.pictures),
    }
    return arrays, known


def order_name(metric: str, largest_first: bool) -> str:
    """What an order of removal is called, as a problem with it says."""
    return f"{metric}, largest first" if largest_first else metric


def cumulative_answer(found: CumulativePruning, orders: Sequence[tuple[str, bool]]) -> tuple[Arrays, Known]:
    """What remains while heads are removed: ``mean`` (A, O, S) of each answer by order and number of removed heads,
    ``low`` and ``high`` the ends over the repetitions of random orders, the last of the orders; float32."""
    curves = found.curves
    removed = sorted(set(curves["removed"].tolist()))
    repeats = int(curves.loc[curves["order"] == "random", "repeat"].nunique())
    names = [order_name(*order) for order in orders] + (["random"] if repeats else [])
    grouped = curves.groupby(["order", "removed"])[list(ANSWERS)]
    arrays = {}
    for side, frame in {"mean": grouped.mean(), "low": grouped.min(), "high": grouped.max()}.items():
        tables = [frame.loc[name].loc[removed].to_numpy(np.float32).T for name in names]
        arrays[side] = np.stack(tables, axis=1)
    known = {
        "orders": [{**metric_of(name), "largest_first": turned} for name, turned in orders],
        "random": repeats,
        "removed": removed,
        "answers": list(ANSWERS),
        "pictures": len(found.pictures),
        "labelled": bool(found.metadata["labels"]),
    }
    return arrays, known


def ablation_answer(found: JointEffect) -> Known:
    """What heads do together and one by one: a row for each metric, means over pictures."""
    columns = ("joint", "sum_of_singles", "interaction", "interaction_std")
    rows = [
        {**metric_of(str(row["metric"])), **{name: finite(row[name]) for name in columns}}
        for row in found.to_pandas().to_dict("records")
    ]
    heads = [list(head) for head in found.heads]
    return {"heads": heads, "pictures": len(found.pictures), "metrics": rows}


def only_rows(table: HeadTable, rows: NDArray[np.bool_]) -> HeadTable:
    """A table of some of its pictures, by their places: keys may be given twice, places are not."""
    keys = tuple(key for key, chosen in zip(table.pictures, rows, strict=True) if chosen)
    return HeadTable({name: values[rows] for name, values in table.values.items()}, keys)
