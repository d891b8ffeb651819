"""``calibrate``: kappa by conservation on pictures of your choice, to be passed on explicitly.

kappa multiplies the gradient of each MLP branch in DART and GMAR+. By conservation it is the one factor at which the
relevance on the residual stream adds up, on average over pictures and over blocks, to what is explained:
mean_l sum_n rho_l[n] = score. It is found on the pictures that are given, never by a metric, and nothing of it is
kept: what is explained later does not know of it unless it is passed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from vitscope.errors import AnswerError, MethodError
from vitscope.methods.explaining.explain import input_batches
from vitscope.methods.fullgrad import STREAMS, stream_methods, stream_relevance
from vitscope.methods.kappa import HIGHEST, default_kappa
from vitscope.options.door import checked
from vitscope.tracing import Target, TopK, Vit, constant_gate
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.targets.custom import OutputLength

RECIPE = "kappa by conservation, 2"
"""How a calibration finds kappa; another number when another way would give another kappa for the same pictures."""

TOLERANCE = 0.005
STEPS = 7
"""At most so many values of kappa are tried."""


@dataclass(frozen=True)
class Calibration:
    """kappa, and how it was found: ``relevance`` is the mean over blocks and pictures of sum_n rho at that kappa,
    ``score`` the mean explained score, ``pictures`` how many were used, ``recipe`` by which way."""

    kappa: float
    relevance: float
    score: float
    pictures: int
    recipe: str = RECIPE

    @property
    def conserves(self) -> bool:
        """True when a kappa inside the allowed range makes both equal."""
        return abs(self.relevance - self.score) <= 0.02 * max(abs(self.score), 1e-6)

    def describe(self) -> str:
        """One line in words."""
        end = "" if self.conserves else f"; no kappa in 0…{HIGHEST:g} conserves, the nearest was taken"
        pictures = "1 picture" if self.pictures == 1 else f"{self.pictures} pictures"
        return (
            f"kappa {self.kappa:.2f} by conservation on {pictures}: mean relevance per block "
            f"{self.relevance:.4g}, mean score {self.score:.4g}{end}"
        )


@checked(MethodError)
@unaffected
def calibrate(vit: Vit, images: Any, *, batch_size: int = 16) -> Calibration:
    """Find the kappa of DART and GMAR+ by conservation on these pictures.

    The score is the predicted class's logit; for a model without classifier it is the length of its output vector.
    Sixteen pictures are enough to fix kappa to about .04; single ones differ much more.

    Args:
        vit: an open model whose residual stream is seen.
        images: pictures in any form that ``explain`` takes.
        batch_size: pictures in one pass; changes nothing but time and memory.

    Returns:
        A Calibration; pass its ``kappa`` on. The model and later explanations are as if this had not been called.

    Raises:
        MethodError: when the method does not apply to the model.
        AnswerError: when the model's answer to a picture is no finite number.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2).images()
        >>> found = vs.calibrate(vit, pictures)
        >>> e = vs.explain(vit, pictures, "dart", kappa=found.kappa)
    """
    first = next(input_batches(vit, images, batch_size))
    anatomy = vit.probe_for(first.inputs).anatomy
    reason = stream_methods(anatomy)
    if reason is not None:
        raise MethodError(f"kappa does not apply to '{vit.source}': {reason}")
    target: Target = TopK() if anatomy.classes else OutputLength()

    @cache
    def means(kappa: float) -> tuple[float, float, int]:
        """Mean relevance per block and mean score at this kappa, and over how many pictures."""
        relevance, scores = [], []
        for batch in input_batches(vit, images, batch_size):
            try:
                trace = vit.trace(batch.inputs, target, rules=constant_gate(kappa), capture=STREAMS)
            except AnswerError as error:
                raise error.among(batch.positions) from error
            relevance.append(stream_relevance(trace).double().sum(2).mean(1).cpu())
            scores.append(trace.scores.double().cpu())
            finite = relevance[-1].isfinite()
            if not bool(finite.all()):
                which = batch.positions[int(finite.logical_not().nonzero()[0, 0])]
                raise MethodError(
                    f"the relevance of picture {which} is no finite number in '{vit.source}', so no kappa conserves "
                    "it; leave that picture out"
                )
        count = sum(len(part) for part in scores)
        return float(torch.cat(relevance).mean()), float(torch.cat(scores).mean()), count

    def excess(kappa: float) -> float:
        relevance, score, _ = means(kappa)
        return relevance - score

    if default_kappa(vit, first.inputs) == 1.0:  # there is no MLP branch to scale
        return Calibration(1.0, *means(1.0))
    found, _ = find_root(excess, 0.0, HIGHEST, start=(1.0, 0.5), tolerance=TOLERANCE, limit=STEPS)
    return Calibration(round(found, 2), *means(found))


def find_root(
    function: Callable[[float], float],
    low: float,
    high: float,
    *,
    start: tuple[float, float],
    tolerance: float,
    limit: int = STEPS,
) -> tuple[float, float]:
    """(x, f(x)) with f(x) nearly 0 inside [low, high], by secants; the end with the smaller |f| when there is none.

    ``limit``: at most so many values are tried; the best of them is returned."""
    tried = {x: function(x) for x in start}
    before, last = start
    while len(tried) < limit:
        slope = (tried[last] - tried[before]) / (last - before)
        step = -tried[last] / slope if slope else high - low
        following = min(max(last + step, low), high)
        if min(abs(following - x) for x in tried) < tolerance:
            break
        tried[following] = function(following)
        before, last = last, following
    best = min(tried, key=lambda x: abs(tried[x]))
    return best, tried[best]
