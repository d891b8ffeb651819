"""What runs the shards of a study: this process, or workers elsewhere. All call the same function for each shard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vitscope.studies.manifest import Stage


@dataclass(frozen=True)
class Outcome:
    """How the computing of one shard ended. reason: why it failed, None when it did not."""

    shard: int
    ok: int = 0
    skipped: int = 0
    seconds: float = 0.0
    reason: str | None = None


class Engine(Protocol):
    """A way to compute shards."""

    def run(
        self, stage: Stage, shards: Sequence[int], told: Callable[[Outcome], None], check: Callable[[], None]
    ) -> None:
        """Compute these shards of a stage, in any order.

        told: called with the end of each. check: asked between pieces of work; raises when the run should stop.
        Raises StoreFault and SourceError, which stop the run.
        """

    def close(self) -> None:
        """Let go of whatever was started."""
