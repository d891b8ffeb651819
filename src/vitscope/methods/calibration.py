"""``calibrate``: kappa by conservation on pictures of your choice, to be passed on explicitly.

kappa multiplies the gradient of each MLP branch in DART and GMAR+. By conservation it is the one factor at which the
relevance on the residual stream adds up, on average over pictures and over blocks, to what is explained:
mean_l sum_n rho_l[n] = score. It is found on the pictures that are given, never by a metric, and nothing of it is
kept: what is explained later does not know of it unless it is passed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vitscope.errors import AnswerError, MethodError, OutputError, PictureError, StorageError
from vitscope.methods.explaining.inputs import input_batches
from vitscope.methods.explaining.recipe import sizes_of
from vitscope.methods.fullgrad import STREAMS, stream_methods, stream_relevance
from vitscope.methods.kappa import HIGHEST, default_kappa
from vitscope.options.bounds import BatchSize, FilePath
from vitscope.options.door import checked
from vitscope.pictures import Images, PictureSource
from vitscope.progress import CountedStage, Progress
from vitscope.shown import drawn_by
from vitscope.storage import documents
from vitscope.storage.notes import decoding
from vitscope.storage.recipe import Recipe, pictures_digest
from vitscope.tracing import Target, TopK, Vit, constant_gate
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.recipe import library_versions, model_identity
from vitscope.tracing.targets.custom import OutputLength

if TYPE_CHECKING:
    import pandas as pd

KIND = "calibration"
WAY = "conservation, 2"
"""How a calibration finds kappa; another number when another way would give another kappa for the same pictures."""
TOLERANCE = 0.005
STEPS = 7
"""At most so many values of kappa are tried."""


@dataclass(frozen=True)
class Calibration:
    """A value of kappa, with how it was found.

    Args:
        kappa: The factor on the gradient of each MLP branch.
        relevance: Mean over blocks and pictures of the summed relevance sum_n rho at that kappa, in units of the
            score.
        score: Mean explained score.
        pictures: How many pictures were used.
        recipe: The model, the procedure and the pictures. kappa is no sum over pictures, so calibrations are not
            merged: calibrate on all pictures at once.
    """

    kappa: float
    relevance: float
    score: float
    pictures: int
    recipe: Recipe = field(default_factory=lambda: Recipe("calibrate"))

    @property
    def conserves(self) -> bool:
        """True when relevance and score are equal within 2 %."""
        return abs(self.relevance - self.score) <= 0.02 * max(abs(self.score), 1e-6)

    def describe(self) -> str:
        """The result in one sentence."""
        end = "" if self.conserves else f"; no kappa in 0…{HIGHEST:g} conserves, the nearest was taken"
        pictures = "1 picture" if self.pictures == 1 else f"{self.pictures} pictures"
        return (
            f"kappa {self.kappa:.2f} by conservation on {pictures}: mean relevance per block "
            f"{self.relevance:.4g}, mean score {self.score:.4g}{end}"
        )

    def to_pandas(self) -> pd.DataFrame:
        """The result as a table of one row: kappa, relevance, score, conserves, pictures."""
        import pandas as pd

        names = ("kappa", "relevance", "score", "conserves", "pictures")
        return pd.DataFrame([{name: getattr(self, name) for name in names}])

    def _repr_html_(self) -> str:
        return str(drawn_by("notebook", "frame_html")(self.describe(), self.to_pandas()))

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write it to one JSON file; returns its path. Raises OutputError when it cannot be written."""
        numbers = {name: getattr(self, name) for name in ("kappa", "relevance", "score", "pictures")}
        return documents.save(path, KIND, {**numbers, "recipe": self.recipe.to_dict()})

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> Calibration:
        """Read what :meth:`save` wrote. Raises StorageError for a damaged file, or one of another kind or version."""
        note = documents.load(path, KIND)
        with decoding(path, KIND):
            kappa, relevance, score = (float(note[name]) for name in ("kappa", "relevance", "score"))
            return cls(kappa, relevance, score, int(note["pictures"]), Recipe.from_dict(note["recipe"]))


@checked(MethodError)
@unaffected
def calibrate(
    vit: Vit, images: Images, *, batch_size: BatchSize = 16, progress: Progress | None = None
) -> Calibration:
    """Find the kappa of DART and GMAR+ by conservation on pictures of your choice.

    kappa multiplies the gradient of every MLP branch. By conservation it is the value at which the relevance in the
    residual stream, summed over tokens and averaged over blocks and pictures, equals the explained score. That
    score is the predicted class's logit; for a model without classifier, the length of its output vector. Sixteen
    pictures fix kappa to about 0.04; single pictures differ much more.

    Args:
        vit: An opened model whose residual stream can be observed.
        images: Pictures in any form that :func:`vitscope.explain` takes.
        batch_size: Pictures in one pass; it changes time and memory, not the result.
        progress: Reports progress, a stage for each kappa that is tried, and is asked whether to stop; see
            :mod:`vitscope.progress`.

    Returns:
        The calibration; pass its ``kappa`` on. The model and later explanations are unchanged.

    Raises:
        MethodError: The method does not apply to the model.
        AnswerError: The model's answer to a picture is not finite.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> found = vs.calibrate(vit, pictures)
        >>> found.pictures, 0 < found.kappa <= 1
        (2, True)
        >>> vs.explain(vit, pictures, "dart", kappa=found.kappa).options["kappa"] == found.kappa
        True
    """
    first = next(input_batches(vit, images, batch_size), None)
    if first is None:
        if isinstance(images, PictureSource):
            images.refuse_all_skipped()
        raise PictureError("expected at least one picture to calibrate on, got none")
    anatomy = vit.probe_for(first.inputs).anatomy
    reason = stream_methods(anatomy)
    if reason is not None:
        raise MethodError(f"kappa does not apply to '{vit.source}': {reason}")
    target: Target = TopK() if anatomy.classes else OutputLength()
    seen: dict[str, str] = {}

    @cache
    def means(kappa: float) -> tuple[float, float, int]:
        """Mean relevance per block and mean score at this kappa, and over how many pictures."""
        relevance, scores = [], []
        stage = CountedStage(progress, f"calibrating, kappa {kappa:.3g}", first.count)
        for batch in input_batches(vit, images, batch_size):
            stage.check()
            seen.update(zip(batch.keys, batch.ids, strict=True))
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
            stage.reach(batch.positions[-1] + 1)
        stage.reach(first.count)
        count = sum(len(part) for part in scores)
        return float(torch.cat(relevance).mean()), float(torch.cat(scores).mean()), count

    def excess(kappa: float) -> float:
        relevance, score, _ = means(kappa)
        return relevance - score

    found = 1.0
    if default_kappa(vit, first.inputs) != 1.0:  # else there is no MLP branch to scale
        found, _ = find_root(excess, 0.0, HIGHEST, start=(1.0, 0.5), tolerance=TOLERANCE, limit=STEPS)
    relevance, score, count = means(found)
    recipe = Recipe(
        "calibrate",
        model_identity(vit),
        {"way": WAY, "tolerance": TOLERANCE, "steps": STEPS, "size": sizes_of(first.inputs)},
        target.describe(),
        pictures_digest(seen, seen.values()),
        count=count,
        versions=library_versions(),
    )
    return Calibration(round(found, 2), relevance, score, count, recipe)


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
