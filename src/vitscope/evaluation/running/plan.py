"""What one run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from vitscope.evaluation.metric import MetricInfo
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.running.subjects import Contestant


@dataclass(frozen=True)
class Plan:
    """Every contestant against every metric under one protocol.

    batch_size: pictures explained together. perturbed_batch_size: perturbed pictures the model sees at once.
    keep_pictures: whether those on which each method does worst and best are kept for a page.
    """

    protocol: Protocol
    rows: list[Contestant]
    metrics: list[MetricInfo]
    batch_size: int = 16
    perturbed_batch_size: int = 64
    keep_pictures: bool = True
