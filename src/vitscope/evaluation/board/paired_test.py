"""Do two methods differ significantly? Sign flips of what each picture contributes to their difference.

If neither method is better, each picture could as well have spoken for the other one: the sign of its contribution is
a coin. p is the share of all 2ⁿ choices of signs whose sum is at least as far from 0 as the one observed, both ways
(Fisher, "The Design of Experiments", 1935, §21; Pitman 1937). For contributions that are differences of a score this
is the permutation form of the paired t test: the sum of flipped signs orders them as the t statistic does. It is exact
for any tails and ties when neither method is better in the sense above, and close to it for large n when only the
means are equal (Janssen 1997; Romano 1990).

Not every metric is a mean: mean IoU or PxAP is a function of summed statistics. There the contribution of a picture is
its influence on the difference (the infinitesimal jackknife, Jaeckel 1972; Efron 1982, "The Jackknife, the Bootstrap
and Other Resampling Plans", §6.3): how the difference moves when the picture weighs a little more. For a mean this is
the picture's own difference, so one test serves all metrics.

Its resolution is 2^(1 − n) and needs no drawing of random numbers: up to 24 contributions that are not 0 all signs are
counted; beyond that the tail is that of the saddlepoint approximation of a sum of independent signs (Lugannani and
Rice 1980; for sign flips Robinson 1982), with Daniels' (1987) correction where the contributions lie on a lattice, such
as hits and misses. Its relative error is a few per cent for p below 0.1, however small, so that p can fall as low as a
correction for any number of comparisons asks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.metric import Finalise

EXACT = 24
"""Up to so many contributions that are not 0, all choices of signs are counted: 2^12 sums of each half."""
EPSILON = 2.0**-52


def pictures_needed(comparisons: int = 1, level: float = 0.05) -> int:
    """From how many pictures on the clearest of so many comparisons could be told apart at all.

    All n pictures agreeing is a p of 2^(1 − n), which Holm's correction multiplies by the number of comparisons.

    Example:
        >>> pictures_needed(), pictures_needed(105)
        (6, 13)
    """
    count = 1
    while max(1, comparisons) * 2.0 ** (1 - count) >= level:
        count += 1
    return count


def influences(rows: Tensor, finalise: Finalise) -> Tensor:
    """What each picture contributes to ``finalise(sum of rows)``: (n, K) -> (n,), their mean is the value.

    The value plus n times its derivative by the sums along the picture's own row. NaN where the value is undefined.
    Raises EvaluationError for a ``finalise`` that torch cannot differentiate.
    """
    rows = rows.detach().double()
    with torch.inference_mode(False), torch.enable_grad():
        total = rows.sum(0).clone().requires_grad_()
        value = finalise(total)
        if not value.requires_grad:
            raise EvaluationError(
                "the finalise of a metric must be made of torch operations on the sums it is given"
            )
        (slope,) = torch.autograd.grad(value, total)
    pull = rows @ slope
    return value.detach() + len(rows) * (pull - pull.mean())


def paired_p(first: Tensor, second: Tensor) -> float:
    """Two-sided p of "neither method is better", from the influences of the same pictures, (n,) each, in one order.

    NaN where an influence is undefined, and for fewer pictures than could ever reach 5 %: see ``pictures_needed``.

    Example:
        >>> few = torch.ones(5, dtype=torch.float64)
        >>> paired_p(few, 0 * few), paired_p(few.repeat(2), 0 * few.repeat(2))  # all of 10 agree: 2 of 1024 signs
        (nan, 0.001953125)
    """
    contributions = first - second
    if len(first) < pictures_needed() or not bool(torch.isfinite(contributions).all()):
        return math.nan
    # Where the methods agree rounding is left over: agreement is 0, and no evidence.
    noise = 64 * EPSILON * max(float(first.abs().max()), float(second.abs().max()))
    return sign_flip_p(torch.where(contributions.abs() <= noise, 0.0, contributions))


def p_in_words(p: float) -> str:
    """Two digits, ``< 1e-4`` below that, ``n/a`` where there is none."""
    if p != p:
        return "n/a"
    return "< 1e-4" if p < 1e-4 else f"{p:.2g}"


def sign_flip_p(contributions: Tensor) -> float:
    """Share of all choices of signs of the contributions (n,) whose sum is as far from 0 as theirs, both ways.

    Never 0 and never below 2^(1 − m) of the m contributions that are not 0; 1 when they cancel or all are 0.
    """
    values = contributions.double()
    values = values[values != 0]
    if len(values) == 0:
        return 1.0
    values = values / values.abs().max()
    sizes, observed = values.abs().sort().values, abs(float(values.sum()))
    # Scores are often kept in single precision, where sums that are equal differ in the seventh digit.
    slack = 1e-6 * math.sqrt(len(sizes))
    if observed <= slack:
        return 1.0
    least = math.ldexp(1.0, 1 - len(sizes)) if len(sizes) < 1000 else math.ldexp(1.0, -999)
    if float(sizes.sum()) - observed <= slack:
        return least
    tail = _counted if len(sizes) <= EXACT else _saddlepoint
    return min(1.0, max(least, 2 * tail(sizes, observed, slack)))


def _counted(sizes: Tensor, observed: float, slack: float) -> float:
    """P(sum of the sizes under random signs ≥ observed), by the sums of each half: 2^(m/2) instead of 2^m."""
    halves = []
    for part in (sizes[::2], sizes[1::2]):
        sums = torch.zeros(1, dtype=torch.float64)
        for size in part.tolist():
            sums = torch.cat([sums - size, sums + size])
        halves.append(sums)
    left, right = halves[0], halves[1].sort().values
    reached = len(right) - torch.searchsorted(right, observed - slack - left)
    return int(reached.sum()) / (len(left) * len(right))


def _saddlepoint(sizes: Tensor, observed: float, _slack: float) -> float:
    """As ``_counted`` by the saddlepoint s, where the sum tilted by s has the mean ``observed``.

    K(s) = Σ log cosh(s a); r = √(2 (s x − K(s))), q = s √K''(s); P = 1 − Φ(r) + φ(r) (1/q − 1/r). On a lattice of
    unit d the sum moves in steps of 2 d: x becomes x − d and q is sinh(s d) / d · √K''(s).
    """
    unit = _lattice(sizes)
    observed = observed - unit
    if observed <= 0:
        return 0.5
    low, high = 0.0, 1.0
    while float((sizes * torch.tanh(high * sizes)).sum()) < observed and high < 1e12:
        high *= 2
    for _ in range(200):
        s = (low + high) / 2
        if float((sizes * torch.tanh(s * sizes)).sum()) < observed:
            low = s
        else:
            high = s
        if high - low <= 1e-13 * high:
            break
    s = (low + high) / 2
    scaled = s * sizes
    generating = float((scaled + torch.log1p(torch.exp(-2 * scaled)) - math.log(2)).sum())
    spread = math.sqrt(float((sizes.square() / torch.cosh(scaled.clamp_max(300)).square()).sum()))
    r = math.sqrt(max(0.0, 2 * (s * observed - generating)))
    q = (math.sinh(min(s * unit, 300.0)) / unit if unit > 0 else s) * spread
    if r < 1e-4 or q <= 0:
        return 0.5 * math.erfc(r / math.sqrt(2))
    density = math.exp(-r * r / 2) / math.sqrt(2 * math.pi)
    return 0.5 * math.erfc(r / math.sqrt(2)) + density * (1 / q - 1 / r)


def _lattice(sizes: Tensor) -> float:
    """The largest unit of which all sizes (largest 1) are odd or even multiples; 0 where there is none to speak of."""
    known = sizes.mul(1e9).round().unique()
    if len(known) > 64:
        return 0.0
    unit = 0.0
    for size in sizes.unique().tolist():
        while size > 1e-5:
            unit, size = size, unit % size if unit > 0 else 0.0
    return unit if unit > 1e-3 else 0.0
