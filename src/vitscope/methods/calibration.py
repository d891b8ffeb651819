"""kappa, the factor on the MLP branches' gradient, chosen by conservation: never by a metric.

With the constant-gate backward a block's MLP explains more than it adds, since its biases, mostly negative, take
relevance away that nobody gives back. kappa is the one factor at which the relevance on the residual stream adds up,
on average over pictures and over blocks, to what is explained: mean_l sum_n rho_l[n] = score.

It belongs to the model: it is kept in memory for as long as the model is open, and between runs under the fingerprint
of the weights (see ``calibration_store``) when it was found on 16 pictures. One found on fewer is not: on DeiT-Tiny
single photographs gave .33 to .69, sets of 16 gave .50 to .57.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from vitscope.errors import MethodError, TraceError
from vitscope.methods import calibration_store
from vitscope.models.fingerprint import fingerprint
from vitscope.tracing import Capture, Custom, Target, TopK, Trace, Vit, constant_gate
from vitscope.tracing.forward_pass import Inputs, batch_of
from vitscope.tracing.resume import select
from vitscope.tracing.targets import output_tensor

PICTURES = 16
"""At most this many pictures are used; only what was found on as many is kept between runs."""

RANGE = (0.0, 2.0)
TOLERANCE = 0.005
RECIPE = "kappa by conservation, 1"
"""Changes when another way of calibrating would give another kappa."""


@dataclass(frozen=True)
class Calibration:
    """kappa, and how it was found: ``relevance`` is the mean over blocks and pictures of sum_n rho at that kappa,
    ``score`` the mean explained score. ``pictures`` is how many were used; ``earlier``: in an earlier run."""

    kappa: float
    relevance: float
    score: float
    pictures: int
    earlier: bool = False

    @property
    def conserves(self) -> bool:
        """True when a kappa inside the allowed range makes both equal."""
        return abs(self.relevance - self.score) <= 0.02 * max(abs(self.score), 1e-6)

    def describe(self) -> str:
        """One line for metadata."""
        end = (
            ""
            if self.conserves
            else f"; no kappa in {RANGE[0]:g}…{RANGE[1]:g} conserves, the nearest was taken"
        )
        pictures = "1 picture" if self.pictures == 1 else f"{self.pictures} pictures"
        when = " in an earlier run" if self.earlier else ""
        return (
            f"kappa {self.kappa:.2f} by conservation on {pictures}{when}: mean relevance per block "
            f"{self.relevance:.4g}, mean score {self.score:.4g}{end}"
        )


_FOUND: WeakKeyDictionary[Vit, dict[tuple[str, int], Calibration]] = WeakKeyDictionary()


def stream_relevance(trace: Trace) -> Tensor:
    """rho_l[n] = <X_l[n], g_l[n]>, (B, L, N) float32: input times gradient on every block's input.

    Blocks that run before the class token joins (CaiT, XCiT, ConViT) have none there."""
    rows = []
    for tokens, gradient in zip(trace.block_inputs, trace.block_input_gradients, strict=True):
        row = (tokens.float() * gradient.float()).sum(-1)
        rows.append(torch.nn.functional.pad(row, (trace.layout.tokens - row.shape[1], 0)))
    return torch.stack(rows, 1)


def calibrate_kappa(vit: Vit, images: Any, *, force: bool = True) -> Calibration:
    """Find kappa on up to 16 of these pictures and keep it for this model (and these weights).

    Later calls of ``dart`` with ``kappa="auto"`` use what is kept, in later runs too when there were 16 pictures.
    Without a call of this function the pictures of their first batch serve; a later batch with more of them, up to
    16, takes its place, so that within one call of ``explain`` kappa is one. ``force`` False returns what is kept.
    The score is the predicted class's logit; for a model without classifier it is the length of its output vector.
    One to seven passes of forward and backward."""
    kept = _FOUND.setdefault(vit, {})
    key = (vit.fingerprint, _writes(vit))
    inputs = vit.inputs(images)
    count = min(batch_of(inputs), PICTURES)
    if not force and key in kept and kept[key].pictures >= count:
        return kept[key]
    if count < batch_of(inputs):
        inputs = select(inputs, torch.arange(count))
    classes = vit.probe_for(inputs).anatomy.classes
    what = {"recipe": RECIPE, "explains": "logit" if classes else "length", "precision": vit.precision}
    name = f"kappa-{fingerprint(vit.model)}"  # not vit.fingerprint, which is that of the weights when first asked
    found = None if force else _read(calibration_store.load(name), what)
    if found is None:
        found = _solve(vit, inputs, count)
        if count == PICTURES:
            calibration_store.save(name, {**what, **asdict(found)})
    kept.clear()
    kept[key] = found
    return found


def _read(record: Mapping[str, Any] | None, what: Mapping[str, str]) -> Calibration | None:
    """A kept record as a Calibration, None when it was found in another way or makes no sense."""
    if record is None or any(record.get(name) != value for name, value in what.items()):
        return None
    numbers = [record.get(name) for name in ("kappa", "relevance", "score", "pictures")]
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n) for n in numbers):
        return None
    kappa, relevance, score, pictures = (float(n) for n in numbers if n is not None)
    if not RANGE[0] <= kappa <= RANGE[1] or pictures != PICTURES:
        return None
    return Calibration(kappa, relevance, score, PICTURES, earlier=True)


def kept_calibration(vit: Vit) -> Calibration | None:
    """What ``calibrate_kappa`` found last for this model, None when its weights changed or it was not called."""
    return _FOUND.get(vit, {}).get((vit.fingerprint, _writes(vit)))


def kappa_of(vit: Vit, inputs: Any, options: Mapping[str, Any]) -> float:
    """The factor that a method's ``kappa`` option asks for. Raises MethodError for neither "auto" nor a number >= 0."""
    kappa = options["kappa"]
    if kappa == "auto":
        return calibrate_kappa(vit, inputs, force=False).kappa
    try:
        number = float(kappa)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number < float("inf"):
        raise MethodError(f"expected kappa 'auto' or a number of at least 0, got {kappa!r}")
    return number


def _writes(vit: Vit) -> int:
    # in-place changes of the weights (randomisation tests) count a tensor's version up; the fingerprint is cached
    return sum(parameter._version for parameter in vit.model.parameters() if not parameter.is_inference())


def _length(output: Any) -> Tensor:
    vector = output_tensor(output).float()
    vector = vector.flatten(1)
    direction = vector.detach() / vector.detach().norm(dim=1, keepdim=True).clamp_min(1e-12)
    length: Tensor = (vector * direction).sum(1)
    return length


def _solve(vit: Vit, inputs: Inputs, count: int) -> Calibration:
    target: Target = TopK() if vit.probe_for(inputs).anatomy.classes else Custom(_length, "output length")
    scores: list[float] = []

    @cache
    def excess(kappa: float) -> float:
        trace = vit.trace(inputs, target, rules=constant_gate(kappa), capture=Capture(streams=True))
        scores.append(float(trace.scores.mean()))
        return float(stream_relevance(trace).sum(2).mean()) - scores[-1]

    whole = excess(1.0)
    try:
        excess(0.5)
    except TraceError:
        # no MLP branch can be told from the attention's (parallel blocks): nothing is there to scale
        return Calibration(1.0, whole + scores[-1], scores[-1], count)
    kappa, difference = find_root(excess, *RANGE, start=(1.0, 0.5), tolerance=TOLERANCE)
    return Calibration(round(kappa, 2), difference + scores[-1], scores[-1], count)


def find_root(
    function: Callable[[float], float],
    low: float,
    high: float,
    *,
    start: tuple[float, float],
    tolerance: float,
    limit: int = 7,
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
