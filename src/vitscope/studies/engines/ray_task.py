"""What a worker of Ray does with one shard: the same as any other worker, with its model kept from shard to shard."""

from __future__ import annotations

import functools
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from vitscope.errors import DamagedError, SourceError, StoreFault, VitscopeError, brief
from vitscope.storage.stores import open_store
from vitscope.studies.attempts import MOST, Attempts, GivenUp, compute
from vitscope.studies.engines.engine import Outcome
from vitscope.studies.errors import OtherStudyError, StudyError
from vitscope.studies.events import Events
from vitscope.studies.manifest import Manifest, read_manifest
from vitscope.studies.models import Placed, opened_for
from vitscope.studies.worker import Worker
from vitscope.tracing import Vit

WRITER = uuid.uuid4().hex[:12]
"""Names this process among all workers on all machines."""


@dataclass(frozen=True)
class Order:
    """One shard to compute. place, alone: the study's store."""

    place: str
    alone: bool
    study: str
    stage: str
    shard: int
    run: str
    placed: Placed
    decode_threads: int


@dataclass(frozen=True)
class Stop:
    """Why the whole run has to end: the name of the error, its message, and what a `StoreFault` knows."""

    error: str
    message: str
    why: str = ""
    needed: int | None = None

    def raise_here(self) -> None:
        """Raise it in the process that gave the order."""
        if self.error == "StoreFault":
            raise StoreFault(self.message, self.why, self.needed)
        kinds: dict[str, type[VitscopeError]] = {
            "DamagedError": DamagedError,
            "SourceError": SourceError,
            "OtherStudyError": OtherStudyError,
        }
        raise kinds.get(self.error, StudyError)(self.message)


@dataclass
class Answer:
    """How an order ended. It holds plain values only: an error of any class might not be read back.

    outcome: of the shard; None when the run has to stop. events: what the worker told on the way. lost: workers of this
    run that died at this shard before.
    """

    outcome: Outcome | None = None
    stop: Stop | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    lost: int = 0


class _Unusable(Exception):
    """This process cannot compute any shard."""


def compute_order(order: Order) -> Answer:
    """Compute one shard."""
    answer = Answer()
    try:
        store = open_store(order.place, alone=order.alone)
        attempts = Attempts(store, order.stage, order.run)
        events = Events(store, order.run, WRITER, answer.events.append)
        stage = _manifest(order.place, order.alone, order.study).stage(order.stage)
        finished = compute(lambda: _bench(order, events), attempts, events, stage, order.shard)
    except GivenUp as error:
        answer.outcome = Outcome(order.shard, reason=str(error))
    except StoreFault as error:
        answer.stop = Stop("StoreFault", str(error), error.why, error.needed)
    except _Unusable as error:
        cause = error.__cause__
        assert cause is not None
        words = str(cause) if isinstance(cause, VitscopeError) else f"a worker cannot begin: {brief(cause)}"
        answer.stop = Stop(type(cause).__name__, words)
    except VitscopeError as error:
        answer.stop = Stop(type(error).__name__, str(error))
    else:
        record, seconds = finished.record, sum(finished.seconds.values())
        answer.outcome = Outcome(order.shard, record.ok, record.skipped, seconds)
    if answer.stop is None:
        starts = [event["attempt"] for event in answer.events if event["event"] == "shard_start"]
        answer.lost = starts[0] - 1 if starts else MOST
    return answer


def _bench(order: Order, events: Events) -> Worker:
    """What this process computes with. Raises _Unusable for whatever hinders it, which is no fault of a shard."""
    begun, before = time.perf_counter(), _model.cache_info().misses
    try:
        found = _worker(order.place, order.alone, order.study, order.run, order.placed, order.decode_threads)
    except StoreFault:
        raise
    except Exception as error:
        raise _Unusable from error
    if _model.cache_info().misses > before:
        events.tell("opened", seconds=round(time.perf_counter() - begun, 4))
    return found


@functools.lru_cache(maxsize=1)
def _worker(place: str, alone: bool, study: str, run: str, placed: Placed, decode_threads: int) -> Worker:
    """The worker of a run: another run may have withdrawn what this one has read."""
    manifest = _manifest(place, alone, study)
    vit = _model(place, alone, study, placed)
    return Worker(open_store(place, alone=alone), manifest, vit, decode_threads=decode_threads)


@functools.lru_cache(maxsize=1)
def _model(place: str, alone: bool, study: str, placed: Placed) -> Vit:
    """The opened model of a study, once for a process."""
    return opened_for(_manifest(place, alone, study), placed)


@functools.lru_cache(maxsize=1)
def _manifest(place: str, alone: bool, study: str) -> Manifest:
    manifest = read_manifest(open_store(place, alone=alone))
    if manifest.study != study:
        raise StoreFault(f"another study lies at {place} now; nothing was written to it", "gone")
    return manifest
