"""Planted-evidence worlds: methods scored against exact truth, without any pictures of your own."""

from __future__ import annotations

from typing import Any

from vitscope.errors import EvaluationError
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.running.dataset import EvaluationSet
from vitscope.evaluation.running.evaluate import evaluate
from vitscope.options.bounds import Count, Names, Seed
from vitscope.options.door import checked
from vitscope.progress import Progress
from vitscope.tracing import Vit, open_model
from vitscope.worlds.planted import world, worlds

WORLD_METRICS = ("mass", "rank-accuracy", "auroc", "srg")
WORLD_PROTOCOL = Protocol(removal="drop", steps=12, target="label")
"""The explained class is the true one, whose evidence the masks hold; ``drop`` has the value of ``mask``."""


@checked(EvaluationError)
def world_set(name: str, count: Count = 100, seed: Seed = 0) -> EvaluationSet:
    """Pictures of a planted-evidence world, with labels and the masks of the evidence.

    The bundled models were trained on other seeds, so no model has seen these pictures. A larger set begins with the
    pictures of a smaller one.

    Args:
        name: One of :func:`world_names`.
        count: How many pictures, 1 or more.
        seed: 0 or more.

    Returns:
        The set, ready for :func:`vitscope.evaluate`.

    Raises:
        DataError: An unknown world, a count below 1 or a negative seed.

    Example:
        >>> import vitscope as vs
        >>> data = vs.evaluation.world_set("position", count=2)
        >>> data.keys, data.masks[0].shape
        (['position/0/00000', 'position/0/00001'], (96, 96))
    """
    sample = world(name).sample(count, seed)
    keys = [f"{name}/{seed}/{index:05d}" for index in range(count)]
    return EvaluationSet(list(sample.pictures), keys, sample.labels.tolist(), list(sample.masks))


@checked(EvaluationError)
def evaluate_world(
    name: str,
    methods: Names = ("all",),
    metrics: Names = WORLD_METRICS,
    protocol: Protocol | None = None,
    *,
    count: Count = 100,
    seed: Seed = 0,
    vit: Vit | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Leaderboard:
    """Score methods on a planted-evidence world, where the mask of what decides the class is known exactly.

    Args:
        name: One of :func:`world_names`.
        methods: Names of methods; ``"all"`` stands for every method that applies.
        metrics: Names of metrics. The default is mass, rank accuracy and AUROC against the mask, and SRG (symmetric
            relevance gain).
        protocol: None removes by ``drop`` in 12 steps and explains the true class.
        count: How many pictures.
        seed: Of the pictures.
        vit: The model; None opens the world's bundled one.
        progress: Reports progress, and is asked whether to stop, see :mod:`vitscope.progress`.
        options: Further arguments of :func:`vitscope.evaluate`.

    Returns:
        The leaderboard.

    Raises:
        DataError: An unknown world.
        EvaluationError: As :func:`vitscope.evaluate`.

    Example:
        >>> import vitscope as vs
        >>> vs.evaluation.evaluate_world("shapes", ["dart"], ["mass"], count=2, controls=("uniform",)).names
        ['dart', 'uniform']
    """
    data = world_set(name, count, seed)
    opened = open_model(f"bundled/{name}") if vit is None else vit
    chosen = protocol or WORLD_PROTOCOL
    return evaluate(opened, data, None, methods, metrics, chosen, progress=progress, **options)


def world_names() -> tuple[str, ...]:
    """Names of the planted-evidence worlds.

    Returns:
        The names, in a fixed order.

    Example:
        >>> import vitscope as vs
        >>> "clever-hans" in vs.evaluation.world_names()
        True
    """
    return worlds()
