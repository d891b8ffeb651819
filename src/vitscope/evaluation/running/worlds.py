"""Planted-evidence worlds: every method against exact truth, with no picture of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.running.dataset import EvaluationSet
from vitscope.evaluation.running.evaluate import evaluate
from vitscope.progress import Progress
from vitscope.tracing import Vit, open_model
from vitscope.worlds.planted import world, worlds

WORLD_METRICS = ("mass", "rank-accuracy", "auroc", "srg")
WORLD_PROTOCOL = Protocol(removal="drop", steps=12, target="label")
"""The explained class is the true one, whose evidence the masks hold; ``drop`` has the value of ``mask``."""


def world_set(name: str, count: int = 100, seed: int = 0) -> EvaluationSet:
    """Pictures of a world with labels and the masks of the planted evidence.

    Seeds are below those that the bundled models were trained on, so no model has seen these pictures. A larger
    count begins with the pictures of a smaller one. Raises DataError for an unknown world.
    """
    sample = world(name).sample(count, seed)
    keys = [f"{name}/{seed}/{index:05d}" for index in range(count)]
    return EvaluationSet(list(sample.pictures), keys, sample.labels.tolist(), list(sample.masks))


def evaluate_world(
    name: str,
    methods: Sequence[str] = ("all",),
    metrics: Sequence[str] = WORLD_METRICS,
    protocol: Protocol | None = None,
    *,
    count: int = 100,
    seed: int = 0,
    vit: Vit | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Leaderboard:
    """Score methods on a world against its planted evidence, on the world's bundled model or on ``vit``.

    ``progress`` is told how far it is, and asked whether to stop; other options go to :func:`vitscope.evaluate`.
    """
    data = world_set(name, count, seed)
    opened = open_model(f"bundled/{name}") if vit is None else vit
    chosen = protocol or WORLD_PROTOCOL
    return evaluate(opened, data, None, methods, metrics, chosen, progress=progress, **options)


def world_names() -> tuple[str, ...]:
    """The names of the worlds."""
    return worlds()
