"""Shards as tasks of Ray: placement, lost workers and GPUs are Ray's; which shards are left is the folder's."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vitscope.errors import MissingExtraError, SourceError, StoreFault, brief
from vitscope.storage.stores import Store
from vitscope.studies.engines.engine import Outcome
from vitscope.studies.engines.ray_task import Order, compute_order
from vitscope.studies.errors import StudyError
from vitscope.studies.manifest import Manifest, Stage
from vitscope.studies.models import Placed

CALLS = 200
"""Shards after which a worker process is replaced, so that memory stays flat. It must be said: with a GPU, Ray's own
number is one, and the model would be opened for every shard."""
WINDOW = 2
"""Tasks that wait or run, for each worker."""
PATIENCE, LEAST = 20.0, 300.0
"""A shard may take so many times the median, and at least so many seconds, before its worker gives itself up."""
OBJECT_STORE = 80_000_000
"""Bytes of shared memory of a cluster of our own: orders and outcomes are small. Ray refuses less than 78,643,200."""


class RayEngine:
    """The engine of a Ray cluster: the one at ``address``, the one of this environment, or one on this machine.

    Args:
        store: The study's place, which every worker must reach by the same name.
        manifest: The study.
        placed: Where workers run its model.
        run: Names the run.
        workers: How many shards are computed at the same time.
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
        workers: int | None,
        address: str | None,
        decode_threads: int,
    ) -> None:
        self._store, self._manifest, self._placed, self._run = store, manifest, placed, run
        self._threads = decode_threads
        self._temporary: Path | None = None
        handler = signal.getsignal(signal.SIGTERM)
        self._ray = self._connected(workers, address)
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own there, which ends the process at once
        self._gpu = str(placed.device or "cpu").startswith("cuda")
        self._workers = workers or self._room()
        options: dict[str, Any] = {"max_calls": CALLS, "max_retries": -1}
        options |= {"num_gpus": 1} if self._gpu else {"num_cpus": 1}
        self._task = self._ray.remote(**options)(compute_order)

    def _connected(self, workers: int | None, address: str | None) -> Any:
        """Ray, connected; a cluster of our own knows neither passwords nor the network."""
        where = address or os.environ.get("RAY_ADDRESS")
        if where is None and workers is not None:
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise MissingExtraError("ray", "ray", "the engine ray") from None
        quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if ray.is_initialized():
            return ray
        if where is not None:
            try:
                ray.init(address=where, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise StudyError(
                    f"no Ray cluster answers at {where} ({brief(error)}); check the address"
                ) from None
            self._started = True
            return ray
        if workers is None:
            raise StudyError(
                "there is no Ray cluster; give --workers N to start one on this machine, or --address"
            )
        # Short, because it becomes part of the name of a socket, which may have 107 bytes.
        self._temporary = Path("/tmp" if os.path.isdir("/tmp") else ".") / f"vs-{uuid.uuid4().hex[:8]}"
        cuda = str(self._placed.device or "cpu").startswith("cuda")
        ray.init(
            address="local",
            num_cpus=workers,
            num_gpus=None if cuda else 0,
            object_store_memory=OBJECT_STORE,
            include_dashboard=False,
            _temp_dir=str(self._temporary),
            **quiet,
        )
        self._started = True
        return ray

    _started = False

    def _room(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("GPU" if self._gpu else "CPU", 1)))

    def run(
        self, stage: Stage, shards: Sequence[int], told: Callable[[Outcome], None], check: Callable[[], None]
    ) -> None:
        """As `Engine.run`: a window of tasks, refilled as they end."""
        left = list(reversed(shards))
        running: dict[Any, int] = {}
        seconds: list[float] = []
        try:
            while left or running:
                while left and len(running) < WINDOW * self._workers:
                    shard = left.pop()
                    running[self._task.remote(self._order(stage, shard, seconds))] = shard
                check()
                done, _ = self._ray.wait(list(running), num_returns=1, timeout=1.0)
                for reference in done:
                    outcome = self._outcome(reference, running.pop(reference))
                    if outcome.reason is None:
                        seconds.append(outcome.seconds)
                    told(outcome)
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)

    def _order(self, stage: Stage, shard: int, seconds: Sequence[float]) -> Order:
        most = max(LEAST, PATIENCE * statistics.median(seconds)) if len(seconds) >= 3 else None
        device = "cuda" if self._gpu else self._placed.device  # which one is Ray's to say
        return Order(
            self._store.url(),
            self._store.alone,
            self._manifest.study,
            stage.name,
            shard,
            self._run,
            Placed(device, self._placed.weights),
            self._threads,
            most,
        )

    def _outcome(self, reference: Any, shard: int) -> Outcome:
        try:
            values = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Outcome(shard, reason=brief(error.cause if getattr(error, "cause", None) else error))
        if "fault" in values:
            raise StoreFault(values["fault"], values["why"], values["needed"])
        if "source" in values:
            raise SourceError(values["source"])
        return Outcome(**values)

    def close(self) -> None:
        """Leave the cluster, and end it when it is ours."""
        if self._started:
            self._ray.shutdown()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
