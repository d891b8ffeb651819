"""Which heads matter: exact leave-one-head-out for every head, all metrics in one sweep, and a first-order screen.

Sheet "Visual analytics of attention", 1 (Li et al. 2023).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitscope.heads.batches import PictureSource, Progress, picture_source, quiet
from vitscope.heads.change_metrics import check_labels
from vitscope.heads.correlation import spearman
from vitscope.heads.first_order import first_order_scores
from vitscope.heads.means import mean_outputs
from vitscope.heads.problems import HeadsError
from vitscope.heads.resuming import TAILS, Resumer, Started, head_masks
from vitscope.heads.sites import head_grid
from vitscope.heads.sweep import (
    check_representation,
    clean_run,
    groups,
    measure_output,
    measure_tokens,
    stacked_index,
)
from vitscope.heads.table import HeadTable
from vitscope.tracing import ClassIndex, HeadAblation, TopK, Vit
from vitscope.tracing.caller import unaffected

REPLACEMENTS = ("zero", "mean", "mean-per-query")


@unaffected
def importance(
    vit: Vit,
    images: Any,
    labels: Any = None,
    *,
    replacement: str | Tensor = "zero",
    screen: float | None = None,
    exact: bool = True,
    representation: str = "standard",
    gradient: bool = True,
    batch_size: int = 32,
    progress: Progress = quiet,
) -> HeadTable:
    """Take away every head in turn and measure what changes, per picture.

    images: folder, paths, pictures or a tensor. labels: one class index per picture, or None (metrics of the label
    are then left out). replacement: "zero", "mean" (over the given pictures and all queries), "mean-per-query", or a
    tensor (L, H, d) or (L, H, N, d) of means, for example from `mean_outputs` on another data set.
    screen: confirm exactly only this share of the heads, best first by the first-order score; the rest is NaN.
    exact=False: first-order scores only. gradient=False: no first-order scores. representation: "standard" (class
    token after the block and at the last one, patch tokens after the block), "all" (also the patch tokens of the last
    block, which then cannot be run for the class query alone) or "none" (output metrics only).

    Returns a HeadTable whose metadata hold the cost (forwards in units of one full forward) and, where both are
    known, the rank correlation of first-order and exact scores over the heads that were confirmed.
    """
    check_representation(representation)
    if screen is not None and not 0 < screen <= 1:
        raise HeadsError(
            f"expected screen to be a share above 0 and at most 1, got {screen:g}; for example screen=0.2"
        )
    if (screen is not None or not exact) and not gradient:
        raise HeadsError(
            "expected gradient=True for a screen, got gradient=False; the screen is the first-order score"
        )
    source = picture_source(images)
    L, H = head_grid(vit.anatomy)
    started = time.monotonic()
    means = resolve_replacement(vit, source, replacement, batch_size, progress)
    sweep = _Sweep(vit, source, labels, means, representation, batch_size, progress, L, H)
    values: dict[str, Any] = {}
    if gradient:
        values.update(sweep.first_order())
    heads = [(block, head) for block in range(L) for head in range(vit.anatomy.blocks[block].heads)]
    if screen is not None:
        scores = values["first_order"].mean(0)
        ranked = sorted(heads, key=lambda item: -scores[item])
        heads = sorted(ranked[: max(1, round(screen * len(heads)))])
    if exact:
        values.update(sweep.exact(heads))
    metadata: dict[str, Any] = {
        "analysis": "importance",
        "model": vit.source,
        "fingerprint": vit.fingerprint,
        "pictures": len(sweep.names),
        "replacement": replacement if isinstance(replacement, str) else "given",
        "labels": labels is not None,
        "screen": screen,
        "heads_confirmed": len(heads) if exact else 0,
        "representation": representation,
        "full_forwards": sweep.forwards,
        "seconds": round(time.monotonic() - started, 3),
        "savings": sweep.savings,
        "skipped": {source.names[i]: why for i, why in source.skipped.items()},
    }
    if exact and gradient:
        metadata["first_order_spearman"] = _first_order_agreement(values)
    return HeadTable(values, tuple(sweep.names), metadata)


def resolve_replacement(
    vit: Vit, source: PictureSource, replacement: str | Tensor, batch_size: int, progress: Progress = quiet
) -> Tensor | None:
    """None for zero, else the means as a tensor. Raises HeadsError for an unknown name or a wrong shape."""
    if isinstance(replacement, Tensor):
        L, H = head_grid(vit.anatomy)
        if replacement.dim() not in (3, 4) or tuple(replacement.shape[:2]) != (L, H):
            raise HeadsError(
                f"expected means of shape ({L}, {H}, d) or ({L}, {H}, N, d), got {tuple(replacement.shape)}; "
                "make them with vs.heads.mean_outputs on this model"
            )
        return replacement
    if replacement not in REPLACEMENTS:
        raise HeadsError(
            f"expected a replacement among {', '.join(REPLACEMENTS)}, got {replacement!r}; choose one or pass a tensor"
        )
    if replacement == "zero":
        return None
    return mean_outputs(
        vit, source, per_query=replacement == "mean-per-query", batch_size=batch_size, progress=progress
    )


def _first_order_agreement(values: dict[str, Any]) -> dict[str, float]:
    """Spearman's rho over heads between the first-order score and each exact output metric's mean."""
    found = {}
    for metric, column in (
        ("js_divergence", "first_order"),
        ("kl_divergence", "first_order"),
        ("logit_drop_top", "first_order_signed"),
        ("probability_drop_top", "first_order_signed"),
    ):
        if metric in values:
            found[metric] = spearman(
                values[column].mean(0).ravel().astype(np.float64),
                values[metric].mean(0).ravel().astype(np.float64),
            )
    return found


class _Sweep:
    """One pass over the pictures for each of the two questions; collects values per picture."""

    def __init__(
        self,
        vit: Vit,
        source: PictureSource,
        labels: Any,
        means: Tensor | None,
        representation: str,
        batch_size: int,
        progress: Progress,
        L: int,
        H: int,
    ) -> None:
        self.vit, self.source, self.means = vit, source, means
        self.representation, self.batch_size, self.progress = representation, batch_size, progress
        self.L, self.H = L, H
        self.labels = (
            None if labels is None else check_labels(labels, vit.anatomy.classes or 0, len(source.names))
        )
        self.names: list[str] = []
        self.forwards = 0.0
        self.savings: dict[str, bool] = {}

    def first_order(self) -> dict[str, Any]:
        """first_order |<T, dT>| and its signed form of the top class, and of the label where there are labels."""
        parts: list[Tensor] = []
        by_label: list[Tensor] = []
        done = 0
        for batch in self.source.batches(self.vit, self.batch_size):
            targets: list[Any] = [TopK(1)]
            if self.labels is not None:
                targets.append(ClassIndex(tuple(self.labels[list(batch.positions)].tolist())))
            traces = self.vit.traces(batch.pixels, targets)
            parts.append(first_order_scores(traces[0], self.means))
            if self.labels is not None:
                by_label.append(first_order_scores(traces[1], self.means))
            self.forwards += (1 + len(targets)) * len(batch.names)
            done += len(batch.names)
            self.progress("first-order scores", done, len(self.source))
        self.names = [n for i, n in enumerate(self.source.names) if i not in self.source.skipped]
        signed = torch.cat(parts).numpy()
        values: dict[str, Any] = {"first_order": np.abs(signed), "first_order_signed": signed}
        if by_label:
            values["first_order_label"] = torch.cat(by_label).numpy()
        return values

    def exact(self, heads: list[tuple[int, int]]) -> dict[str, Any]:
        """Every metric for every chosen head: name -> (n, L, H) float32."""
        collected: list[dict[str, Any]] = []
        names: list[str] = []
        done, total = 0, len(self.source) * len(heads)
        for batch in self.source.batches(self.vit, self.batch_size):
            labels = None if self.labels is None else self.labels[list(batch.positions)]
            resumer = Resumer(self.vit, clean_run(self.vit, batch.pixels, labels))
            self.savings = resumer.savings.as_dict()
            self.forwards += len(batch.names)
            values: dict[str, Any] = {}
            waiting: list[tuple[int, list[int], Started]] = []
            for block in range(self.L):
                mine = [head for b, head in heads if b == block]
                size = self.batch_size if resumer.stacks else 1
                for group in groups(mine, resumer.clean.pictures, size):
                    waiting.append((block, group, self._start(resumer, block, group, values)))
                if sum(len(started.index) for *_, started in waiting) >= TAILS or block == self.L - 1:
                    self._finish(resumer, waiting, values)
                    waiting = []
                done += len(mine) * len(batch.names)
                self.progress("pruning heads", done, total)
            collected.append(values)
            names += batch.names
        self.names = names
        return {name: np.concatenate([values[name] for values in collected]) for name in collected[0]}

    def _start(self, resumer: Resumer, block: int, heads: list[int], values: dict[str, Any]) -> Started:
        """Run copies without each of the heads of one block up to a shortened last block, and measure the block."""
        n = resumer.clean.pictures
        index = stacked_index(n, len(heads))
        keep = head_masks([(block, head) for head in heads], self.L, self.H)
        ablation = HeadAblation(keep if len(heads) == 1 else keep.repeat_interleave(n, 0), self.means)
        # Patch tokens after the last block need that block whole.
        patches = self.representation == "all" or (self.representation == "standard" and block == self.L - 1)
        started = resumer.start(block, ablation, index, patches=patches)
        self.forwards += len(index) * resumer.cost(block, patches)
        if self.representation != "none":
            after = started.outputs[block] if block == self.L - 1 else started.outputs.pop(block)
            self._write(values, block, heads, measure_tokens(resumer.clean, after, block, index, "block"))
        return started

    def _finish(
        self, resumer: Resumer, waiting: list[tuple[int, list[int], Started]], values: dict[str, Any]
    ) -> None:
        """The last block of what was started, and what is measured at the end."""
        clean, last = resumer.clean, self.L - 1
        finished = resumer.finish([started for *_, started in waiting])
        for (block, heads, started), (logits, outputs) in zip(waiting, finished, strict=True):
            found = measure_output(clean, logits, started.index)
            if self.representation != "none":
                every = self.representation == "all"
                found.update(measure_tokens(clean, outputs[last], last, started.index, "last", every))
            self._write(values, block, heads, found)

    def _write(
        self, values: dict[str, Any], block: int, heads: list[int], found: dict[str, Tensor]
    ) -> None:
        """Put values (heads * pictures,) into values[name] (n, L, H)."""
        for name, value in found.items():
            columns = value.reshape(len(heads), -1).T.float().numpy()
            if name not in values:
                values[name] = np.full((len(columns), self.L, self.H), np.nan, dtype=np.float32)
            values[name][:, block, heads] = columns
