"""The opened model with what was looked at last: what the model's process holds."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import torch

import vitscope as vs
from vitscope.app.answers.methods import shown_first
from vitscope.app.model.asked import PREDICTED, Asked, MapAsked, Off
from vitscope.app.model.recent import Recent
from vitscope.errors import TargetError, VitscopeError
from vitscope.heads import HeadTable
from vitscope.methods import Explanation
from vitscope.progress import Progress
from vitscope.tracing import HeadAblation, Trace, Vit
from vitscope.tracing.targets.parsing import TargetLike

TRACES, EXPLANATIONS, TABLES = 4, 32, 32
"""How many are kept: a trace holds queries, keys and values of every block, the others little."""


class Bench:
    """A model, and the last traces, explanations and tables of heads that were made with it.

    Args:
        vit: The opened model.
    """

    def __init__(self, vit: Vit) -> None:
        self.vit = vit
        self._traces: Recent[Trace] = Recent(TRACES)
        self._explanations: Recent[Explanation] = Recent(EXPLANATIONS)
        self._tables: Recent[HeadTable] = Recent(TABLES)

    def ablation(self, off: Off) -> HeadAblation | None:
        """The heads that are switched off, None for none."""
        return HeadAblation.of(self.vit.anatomy, off) if off else None

    def trace(self, asked: Asked, *, whole: bool = False) -> Trace:
        """One forward over the picture with its attention in hand; ``whole``: with no head off."""
        off = () if whole else asked.off
        tag = Asked(asked.picture, off).tag
        found = self._traces.get(tag)
        if found is None:
            found = self.vit.trace(asked.picture.source(), gradient=False, ablation=self.ablation(off))
            self._traces.put(tag, found)
        return found

    def explanation(self, asked: MapAsked, progress: Progress | None = None) -> Explanation:
        """The picture's explanation, as ``vs.explain`` gives it."""
        plain = MapAsked(asked.picture, asked.off, asked.method, asked.options, asked.target)
        found = self._explanations.get(plain.tag)
        if found is None:
            found = vs.explain(
                self.vit,
                asked.picture.source(),
                asked.method,
                target_of(asked.target),
                ablation=self.ablation(asked.off),
                progress=progress,
                **asked.chosen(),
            )
            self._explanations.put(plain.tag, found)
        return found

    def heads(self, asked: Asked, exact: bool, progress: Progress | None = None) -> HeadTable:
        """What every head matters on the picture, as ``vs.heads.importance`` gives it; ``exact``: every head removed in
        turn, else the first-order scores alone, from one backward."""
        tag = f"{Asked(asked.picture).tag} {exact}"
        found = self._tables.get(tag)
        if found is None:
            found = vs.heads.importance(self.vit, asked.picture.source(), exact=exact, progress=progress)
            self._tables.put(tag, found)
        return found

    def warm(self, repeats: int = 2) -> tuple[float, float]:
        """Look at a grey picture once, so that the first real one is not the slowest.

        Returns:
            How many seconds a forward and a backward over one picture take here.
        """
        size = self.vit.anatomy.image_size
        if size is None or self.vit.anatomy.film or self.vit.preprocessor is None:
            return 0.0, 0.0
        picture = torch.zeros(1, self.vit.preprocessor.channels, *size)
        with contextlib.suppress(VitscopeError):  # a grey picture may have nothing to explain
            vs.explain(self.vit, picture, shown_first(self.vit.anatomy))
        forward = _fastest(lambda: self.vit.trace(picture, gradient=False), repeats)
        if not self.vit.anatomy.classes:
            return forward, 2 * forward
        both = _fastest(lambda: self.vit.trace(picture), repeats)
        return forward, max(0.0, both - forward)


def target_of(text: str) -> TargetLike:
    """What is explained, from what a page may ask for. Raises TargetError for anything else: the target of another
    picture would name a file of this machine."""
    text = text.strip()
    if text in (PREDICTED, ""):
        return None
    if text.startswith("picture:"):
        raise TargetError("a page cannot explain the likeness to a file of this machine; choose a class")
    return text


def _fastest(run: Any, repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return min(taken)
