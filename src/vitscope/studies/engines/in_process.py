"""Shards one after the other in this process; threads read pictures ahead of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vitscope.storage.stores import Store
from vitscope.studies.attempts import Attempts, GivenUp, compute
from vitscope.studies.engines.engine import Outcome
from vitscope.studies.events import Events
from vitscope.studies.manifest import Stage
from vitscope.studies.worker import Worker


class LocalEngine:
    """The engine of one process and one device.

    Args:
        store: The study's place.
        worker: Computes shards.
        events: Told of everything.
        run: Identifies the run.
    """

    def __init__(self, store: Store, worker: Worker, events: Events, run: str) -> None:
        self._store, self._worker, self._events, self._run = store, worker, events, run

    def run(
        self, stage: Stage, shards: Sequence[int], told: Callable[[Outcome], None], check: Callable[[], None]
    ) -> None:
        """As `Engine.run`."""
        attempts = Attempts(self._store, stage.name, self._run)
        for shard in shards:
            check()
            try:
                finished = compute(lambda: self._worker, attempts, self._events, stage, shard, check)
            except GivenUp as error:
                told(Outcome(shard, reason=str(error)))
                continue
            record = finished.record
            told(Outcome(shard, record.ok, record.skipped, sum(finished.seconds.values())))

    def close(self) -> None:
        """Nothing was started."""
