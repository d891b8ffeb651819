"""Shards as tasks of Ray: placement, lost workers and GPUs are Ray's; which shards are left is the folder's."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vitscope.errors import OutputError, StorageError, brief
from vitscope.interruption import held
from vitscope.storage.stores import Store
from vitscope.studies.attempts import MOST, Attempts
from vitscope.studies.engines.engine import Outcome
from vitscope.studies.engines.overdue import PATIENCE, Overdue
from vitscope.studies.engines.ray_cluster import Cluster
from vitscope.studies.engines.ray_task import Answer, Order, compute_order
from vitscope.studies.errors import StudyError
from vitscope.studies.events import Events
from vitscope.studies.manifest import Manifest, Stage
from vitscope.studies.models import Placed

CALLS = 200
"""Shards after which a worker process is replaced, so that memory stays flat. It must be said: with a GPU, Ray's own
number is one, and the model would be opened for every shard."""
RETRIES = 2 * MOST
"""How often Ray begins a shard again whose worker died. The attempts on disk end it sooner, with a reason; this is for
workers that die before they could count any."""
WINDOW = 2
"""Tasks that wait or run, for each worker of a cluster that cannot run more at the same time than it was asked to."""
GRACE = 5.0
"""Seconds in which tasks may put back what they began, when the run ends early."""
LOOK = 10.0
"""Seconds after which the size of a cluster is asked for again."""


class RayEngine:
    """The engine of a Ray cluster, see :class:`Cluster` for which one.

    Args:
        store: The study's place, which every worker must reach by the same name.
        manifest: The study.
        placed: Where workers run its model.
        run: Names the run.
        events: Told of what workers cannot tell; its listener hears of theirs, too.
        workers: How many shards are computed at the same time; None for as many as there is room for.
        address: Of a cluster.
        decode_threads: Of each worker.

    Raises StudyError when there is no cluster and none was asked for, MissingExtraError without Ray.
    """

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        placed: Placed,
        run: str,
        events: Events,
        *,
        workers: int | None,
        address: str | None,
        decode_threads: int,
    ) -> None:
        self._store, self._manifest, self._run, self._events = store, manifest, run, events
        gpu = (placed.device or "cpu").startswith("cuda")
        # Which GPU is Ray's to say; workers may stand in other folders.
        self._placed = Placed(
            "cuda" if gpu else placed.device,
            None if placed.weights is None else os.path.abspath(placed.weights),
        )
        self._threads, self._asked = decode_threads, workers
        self._cluster = Cluster(workers, address, gpu=gpu)
        self._room, self._looked = 1, float("-inf")
        options: dict[str, Any] = {"max_calls": CALLS, "max_retries": RETRIES}
        options |= {"num_gpus": 1} if gpu else {"num_cpus": 1}
        self._ray = self._cluster.ray
        self._task = self._ray.remote(**options)(compute_order)
        self._late: dict[int, int] = {}

    def run(
        self, stage: Stage, shards: Sequence[int], told: Callable[[Outcome], None], check: Callable[[], None]
    ) -> None:
        """As `Engine.run`: a window of tasks, refilled as they end."""
        left = deque(shards)
        running: dict[Any, int] = {}
        attempts = Attempts(self._store, stage.name, self._run)
        overdue = Overdue(attempts, self._run)
        self._late.clear()
        try:
            while left or running:
                check()
                while left and len(running) < self._window():
                    shard = left.popleft()
                    running[self._task.remote(self._order(stage, shard))] = shard
                done, _ = self._ray.wait(list(running), num_returns=1, timeout=1.0)
                for reference in done:
                    outcome = self._outcome(stage, reference, running.pop(reference), overdue)
                    told(outcome)
                left.extend(self._given_up_on(stage, running, overdue))
        finally:
            self._recall(running, attempts)

    def _window(self) -> int:
        """How many tasks wait or run. A larger cluster would run at once whatever waits."""
        if self._asked is not None:
            return self._asked * (WINDOW if self._cluster.own else 1)
        if time.monotonic() - self._looked > LOOK:
            self._room, self._looked = max(1, self._cluster.room()), time.monotonic()
        return self._room * WINDOW

    def _order(self, stage: Stage, shard: int) -> Order:
        return Order(
            self._store.url(),
            self._store.alone,
            self._manifest.study,
            stage.name,
            shard,
            self._run,
            self._placed,
            self._threads,
        )

    def _outcome(self, stage: Stage, reference: Any, shard: int, overdue: Overdue) -> Outcome:
        """How a shard ended. Raises what ends the run."""
        try:
            answer: Answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            # A task answers whatever happens, so its process could not even begin it.
            raise StudyError(
                f"workers of Ray cannot compute ({brief(error.cause or error)}); install the same vitscope on all of "
                "the cluster's machines"
            ) from None
        except self._ray.exceptions.RayError as error:
            return Outcome(shard, reason=brief(error))
        for event in answer.events:
            self._events.hear(event)
        late = self._late.pop(shard, 0)
        if answer.lost > late:
            self._events.tell("lost_worker", stage=stage.name, shard=shard, times=answer.lost - late)
        if answer.stop is not None:
            answer.stop.raise_here()
        outcome = answer.outcome
        assert outcome is not None
        if outcome.reason is None:
            overdue.finished(outcome.seconds)
        elif late:
            words = f"it took more than {overdue.limit or 0:.0f} s, {PATIENCE:g} times as long as others, {late} times"
            outcome = replace(outcome, reason=words)
        return outcome

    def _given_up_on(self, stage: Stage, running: dict[Any, int], overdue: Overdue) -> list[int]:
        """Shards that take far too long, whose workers are ended here; they are begun again, as often as any other."""
        late = set(overdue.among(running.values()))
        for reference in [reference for reference, shard in running.items() if shard in late]:
            shard = running.pop(reference)
            self._ray.cancel(reference, force=True)
            self._late[shard] = self._late.get(shard, 0) + 1
            reason = f"it takes more than {overdue.limit or 0:.0f} s"
            self._events.tell("retry", stage=stage.name, shard=shard, reason=reason)
        return sorted(late)

    def _recall(self, running: Mapping[Any, int], attempts: Attempts) -> None:
        """End tasks: first as Ctrl-C would, so that they take back what they began, then whatever it takes.

        That they were ended is not held against their shards.
        """
        left = list(running)
        if not left:
            return
        with held():
            for reference in left:
                self._ray.cancel(reference)
            _, left = self._ray.wait(left, num_returns=len(left), timeout=GRACE)
            for reference in left:
                self._ray.cancel(reference, force=True)
            if left:
                self._ray.wait(left, num_returns=len(left), timeout=GRACE)
            with contextlib.suppress(OutputError, StorageError):
                for shard in running.values():
                    attempts.finish(shard)

    def close(self) -> None:
        """Leave the cluster, and end it when it is ours."""
        self._cluster.close()
