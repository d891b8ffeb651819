"""What an evaluation depends on, as one recipe: the model, the methods with every option, the pictures, the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.metric import MetricInfo
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.running.dataset import EvaluationSet
from vitscope.evaluation.running.subjects import Contestant
from vitscope.storage.recipe import Recipe, pictures_digest
from vitscope.tracing import Vit
from vitscope.tracing.recipe import library_versions


def truth_used(metrics: Sequence[MetricInfo], target: str | int) -> set[str]:
    """What these metrics and this target look at, of labels, masks and boxes; the rest changes no score."""
    needs = {need for info in metrics for need in info.requires}
    shapes = {"masks", "boxes"} if needs & {"masks", "boxes"} else set()
    if "mosaics" in needs:
        return {"labels", "masks", "boxes"}
    return shapes | ({"labels"} if "labels" in needs or target == "label" else set())


def bind(
    protocol: Protocol,
    vit: Vit,
    model: dict[str, Any],
    data: EvaluationSet,
    rows: Sequence[Contestant],
    metrics: Sequence[MetricInfo],
    inputs: Tensor,
) -> Protocol:
    """The protocol with everything filled in that the user does not choose.

    Args:
        model: From :func:`vitscope.tracing.recipe.model_identity`, made once for the whole run.
        inputs: (B, 3, H, W), some of the pictures as the model takes them; options are resolved for this size.
    """
    layout = vit.anatomy.layout
    if vit.anatomy.classes is None:
        raise EvaluationError(
            f"'{vit.source}' has no classifier, so there is no class score to evaluate; choose another"
        )
    grid = None if layout is None else layout.grid
    chosen = replace(protocol, grid=grid, recipe=None)
    names = sorted(info.name for info in metrics)
    options: dict[str, Any] = {
        "protocol": {**chosen.choices(), "target": None},
        "size": list(inputs.shape[1:]),
        "methods": {row.name: {**row.identity(vit, inputs), "metrics": names} for row in rows},
    }
    if any("mosaics" in info.requires for info in metrics) and not data.mosaics:
        # A mosaic is made of other pictures of the set, so those of another set are other mosaics.
        options["mosaics of"] = pictures_digest(data.keys, data.ids)
    recipe = Recipe(
        analysis="evaluate",
        model=model,
        options=options,
        target=str(protocol.target),
        pictures=pictures_digest(data.keys, data.ids),
        truth=data.truth(),
        count=len(data),
        versions=library_versions(),
    )
    return replace(chosen, recipe=recipe)


def of_shard(protocol: Protocol, shard: EvaluationSet) -> Protocol:
    """The protocol of a part of the pictures."""
    assert protocol.recipe is not None
    pictures = pictures_digest(shard.keys, shard.ids)
    recipe = replace(protocol.recipe, pictures=pictures, truth=shard.truth(), count=len(shard))
    return replace(protocol, recipe=recipe)
