"""What a worker of Ray does with one shard: the same as any other worker, with its model kept from shard to shard."""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import asdict, dataclass
from typing import Any

from vitscope.errors import SourceError, StoreFault
from vitscope.storage.stores import open_store
from vitscope.studies.attempts import Attempts, GivenUp, compute
from vitscope.studies.engines.engine import Outcome
from vitscope.studies.events import Events
from vitscope.studies.manifest import read_manifest
from vitscope.studies.models import Placed, opened_for
from vitscope.studies.worker import Worker

TOO_LONG = 75
"""How a worker ends that a shard has kept for far too long."""


@dataclass(frozen=True)
class Order:
    """One shard to compute. place, alone: the study's store. seconds: after which the worker gives itself up."""

    place: str
    alone: bool
    study: str
    stage: str
    shard: int
    run: str
    placed: Placed
    decode_threads: int
    seconds: float | None


def compute_order(order: Order) -> dict[str, Any]:
    """How an order ended, as plain values: an outcome, or the fault of a place, which ends the run."""
    try:
        worker, attempts, events = _bench(order)
        stage = worker.manifest.stage(order.stage)
        with _watch(order.seconds):
            finished = compute(worker, attempts, events, stage, order.shard)
    except GivenUp as error:
        return asdict(Outcome(order.shard, reason=str(error)))
    except StoreFault as error:
        return {"fault": str(error), "why": error.why, "needed": error.needed}
    except SourceError as error:
        return {"source": str(error)}
    record = finished.record
    return asdict(Outcome(order.shard, record.ok, record.skipped, sum(finished.seconds.values())))


def _bench(order: Order) -> tuple[Worker, Attempts, Events]:
    worker = _worker(order.place, order.alone, order.study, order.placed, order.decode_threads)
    attempts = Attempts(worker.store, order.stage, order.run)
    return worker, attempts, Events(worker.store, order.run, str(os.getpid()))


@functools.lru_cache(maxsize=1)
def _worker(place: str, alone: bool, study: str, placed: Placed, decode_threads: int) -> Worker:
    """The opened model of a study, once for a process."""
    store = open_store(place, alone=alone)
    manifest = read_manifest(store)
    if manifest.study != study:
        raise StoreFault(f"another study lies at {place} now; nothing was written to it", "gone", 0)
    return Worker(store, manifest, opened_for(manifest, placed), decode_threads=decode_threads)


class _watch:
    """End the process when the block takes longer than so many seconds; the engine begins the shard again."""

    def __init__(self, seconds: float | None) -> None:
        self._timer = None if seconds is None else threading.Timer(seconds, os._exit, (TOO_LONG,))

    def __enter__(self) -> None:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
