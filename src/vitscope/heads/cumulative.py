"""Pruning several heads: cumulatively in an order, and a chosen set against the sum of its single effects.

Single scores are not additive; these two analyses show by how much (sheet "Visual analytics of attention", 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vitscope.heads.batches import PictureSource, Progress, picture_source, quiet
from vitscope.heads.change_metrics import check_labels, js_bits
from vitscope.heads.importance import resolve_replacement
from vitscope.heads.problems import HeadsError
from vitscope.heads.resuming import Resumer
from vitscope.heads.sites import head_grid
from vitscope.heads.sweep import clean_run, measure
from vitscope.heads.table import HeadTable, write_frame
from vitscope.storage import tables
from vitscope.storage.notes import decoding
from vitscope.tracing import HeadAblation, Vit
from vitscope.tracing.caller import unaffected

Head = tuple[int, int]
KIND = "cumulative pruning"
COLUMNS = (
    "order", "repeat", "removed", "kept_share", "probability", "accuracy", "agreement", "js_divergence",
)  # fmt: skip


@dataclass(frozen=True)
class CumulativePruning:
    """One row per order, repetition and number of removed heads.

    curves: order, repeat, removed, kept_share, probability (mean probability of the reference class), accuracy (NaN
    without labels), agreement (share of predictions equal to the full model's), js_divergence; all means over pictures.
    The reference class is the label where there are labels, else the full model's prediction.
    """

    curves: pd.DataFrame
    orders: Mapping[str, list[Head]]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def area(self, column: str = "probability") -> pd.DataFrame:
        """Mean of a column over the whole curve per order (random orders: mean and std over repetitions); high means
        that the order removes what matters last."""

        def integrate(frame: pd.DataFrame) -> float:
            x, y = frame["removed"].to_numpy(np.float64), frame[column].to_numpy(np.float64)
            return float(np.trapezoid(y, x) / (x[-1] - x[0]))

        rows = []
        for order, frame in self.curves.groupby("order", sort=False):
            areas = [integrate(part) for _, part in frame.groupby("repeat")]
            rows.append(
                {
                    "order": order,
                    "area": float(np.mean(areas)),
                    "area_std": float(np.std(areas, ddof=1)) if len(areas) > 1 else np.nan,
                }
            )
        return pd.DataFrame(rows).sort_values("area", ascending=False, ignore_index=True)

    def save(self, path: str | Path) -> Path:
        """Write the curves as .parquet (loads back whole, with the orders) or as .csv."""
        path = Path(path)
        if path.suffix != tables.ENDING:
            return write_frame(self.curves, path, self.metadata)
        return tables.save(path, self.curves, KIND, {"orders": self.orders, "metadata": self.metadata})

    @classmethod
    def load(cls, path: str | Path) -> CumulativePruning:
        """Read what `save` wrote as .parquet. Raises StorageError for a damaged file, or one of another kind."""
        curves, note = tables.load(path, KIND, COLUMNS)
        with decoding(path, KIND):
            orders = {
                str(name): [(int(block), int(head)) for block, head in order]
                for name, order in note["orders"].items()
            }
            return cls(curves, orders, dict(note["metadata"]))


@unaffected
def cumulative_pruning(
    vit: Vit,
    images: Any,
    orders: Mapping[str, Sequence[Head]] | HeadTable,
    labels: Any = None,
    *,
    metrics: Sequence[str] | None = None,
    random_orders: int = 3,
    steps: int | None = None,
    replacement: str | Tensor = "zero",
    batch_size: int = 32,
    seed: int = 0,
    progress: Progress = quiet,
) -> CumulativePruning:
    """Remove more and more heads and watch the model's answers.

    orders: named lists of heads, first removed first; or a HeadTable, of which every metric (or the named ones) gives
    the order "least important first". random_orders: so many random orders are added as the control.
    steps: numbers of heads are spread over so many steps (default: one head per step).
    """
    L, H = head_grid(vit.anatomy)
    everything = [(b, h) for b in range(L) for h in range(vit.anatomy.blocks[b].heads)]
    if isinstance(orders, HeadTable):
        orders = {m: orders.order(m, most_important_first=False) for m in (metrics or orders.metrics)}
    named = {name: list(order) for name, order in orders.items()}
    for name, order in named.items():
        if sorted(order) != everything:
            raise HeadsError(
                f"expected every head once in the order {name!r}, got {len(order)} of {len(everything)} heads; "
                "an order from a screened table lacks the heads that were not confirmed"
            )
    random = np.random.default_rng(seed)
    runs = [(name, 0, order) for name, order in named.items()]
    runs += [
        ("random", r, [everything[i] for i in random.permutation(len(everything))])
        for r in range(random_orders)
    ]
    counts = np.unique(np.linspace(0, len(everything), (steps or len(everything)) + 1).round().astype(int))
    source = picture_source(images)
    means = resolve_replacement(vit, source, replacement, batch_size, progress)
    given = None if labels is None else check_labels(labels, vit.anatomy.classes or 0, len(source.names))
    totals: dict[tuple[int, int], np.ndarray[Any, Any]] = {}
    seen, done = 0, 0
    for batch in source.batches(vit, batch_size):
        clean = clean_run(vit, batch.pixels, None if given is None else given[list(batch.positions)])
        resumer = Resumer(vit, clean)
        seen += clean.pictures
        for run, (_, _, order) in enumerate(runs):
            for count in counts.tolist():
                logits = _masked_logits(resumer, order[:count], means, L, H)
                sums = _answers(clean.cache.logits.cpu(), logits.cpu(), clean.labels).sum(0).numpy()
                totals[run, count] = totals.get((run, count), 0) + sums
                done += clean.pictures
            progress("cumulative pruning", done, len(source) * len(runs) * len(counts))
    rows = []
    for run, (name, repeat, _) in enumerate(runs):
        for count in counts.tolist():
            probability, accuracy, agreement, divergence = totals[run, count] / seen
            rows.append(
                {
                    "order": name,
                    "repeat": repeat,
                    "removed": count,
                    "kept_share": 1 - count / len(everything),
                    "probability": probability,
                    "accuracy": accuracy,
                    "agreement": agreement,
                    "js_divergence": divergence,
                }
            )
    return CumulativePruning(
        pd.DataFrame(rows),
        named,
        {
            "analysis": "cumulative pruning",
            "model": vit.source,
            "fingerprint": vit.fingerprint,
            "pictures": seen,
            "replacement": replacement if isinstance(replacement, str) else "given",
            "labels": labels is not None,
        },
    )


def _masked_logits(resumer: Resumer, heads: Sequence[Head], means: Tensor | None, L: int, H: int) -> Tensor:
    """Logits with these heads away, resumed from the earliest of their blocks."""
    if not heads:
        return resumer.clean.cache.logits
    keep = torch.ones(1, L, H)
    for block, head in heads:
        keep[0, block, head] = 0
    index = torch.arange(resumer.clean.pictures)
    logits, _ = resumer.run(min(b for b, _ in heads), HeadAblation(keep, means), index)
    return logits


def _answers(full: Tensor, logits: Tensor, labels: Tensor | None) -> Tensor:
    """(n, 4): probability of the reference class, accuracy, agreement, Jensen-Shannon divergence."""
    p_log, q_log = full.double().log_softmax(-1), logits.double().log_softmax(-1)
    reference = full.argmax(-1) if labels is None else labels
    probability = q_log.exp().gather(1, reference[:, None]).squeeze(1)
    predicted = logits.argmax(-1)
    accuracy = torch.full_like(probability, torch.nan) if labels is None else (predicted == labels).double()
    return torch.stack(
        [probability, accuracy, (predicted == full.argmax(-1)).double(), js_bits(p_log, q_log)], 1
    )


def joint_effect(
    vit: Vit,
    images: Any,
    heads: Sequence[Head],
    labels: Any = None,
    *,
    replacement: str | Tensor = "zero",
    batch_size: int = 32,
) -> pd.DataFrame:
    """A chosen set of heads removed together against the sum of removing each alone.

    One row per output metric: joint, sum_of_singles, interaction (joint minus sum; above 0 the heads stand in for each
    other, below 0 they share one effect), with the std of the interaction over pictures, and n.
    """
    L, H = head_grid(vit.anatomy)
    heads = list(dict.fromkeys((int(b), int(h)) for b, h in heads))
    wrong = [head for head in heads if not (0 <= head[0] < L and 0 <= head[1] < H)]
    if wrong or not heads:
        raise HeadsError(
            f"expected heads (block, head) within {L} x {H}, got {wrong or 'none'}; name at least one"
        )
    source: PictureSource = picture_source(images)
    means = resolve_replacement(vit, source, replacement, batch_size)
    given = None if labels is None else check_labels(labels, vit.anatomy.classes or 0, len(source.names))
    joint: dict[str, list[Tensor]] = {}
    single: dict[str, list[Tensor]] = {}
    for batch in source.batches(vit, batch_size):
        clean = clean_run(vit, batch.pixels, None if given is None else given[list(batch.positions)])
        resumer = Resumer(vit, clean)
        index = torch.arange(clean.pictures)

        def effect(
            chosen: Sequence[Head], resumer: Resumer = resumer, index: Tensor = index
        ) -> dict[str, Tensor]:
            return measure(resumer.clean, _masked_logits(resumer, chosen, means, L, H), {}, 0, index, "none")

        for name, value in effect(heads).items():
            joint.setdefault(name, []).append(value)
        parts = [effect([head]) for head in heads]
        for name in parts[0]:
            single.setdefault(name, []).append(torch.stack([part[name] for part in parts]).sum(0))
    rows = []
    for name in joint:
        together, apart = torch.cat(joint[name]), torch.cat(single[name])
        difference = together - apart
        rows.append(
            {
                "metric": name,
                "joint": float(together.mean()),
                "sum_of_singles": float(apart.mean()),
                "interaction": float(difference.mean()),
                "interaction_std": float(difference.std()) if len(difference) > 1 else float("nan"),
                "n": len(together),
            }
        )
    return pd.DataFrame(rows)
