"""How often the computing of a shard was begun, counted on disk, because a worker that dies can tell nobody.

A worker leaves a file before it begins and takes it away when the shard is finished. In one run a shard is begun three
times at most. What earlier runs left says only that something died there, perhaps by the user's hand: such shards come
last, so that one that kills its worker cannot stop the others.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from vitscope.errors import (
    Cancelled,
    DamagedError,
    MissingError,
    OutputError,
    SourceError,
    StorageError,
    StoreFault,
    brief,
)
from vitscope.storage.stores import Store
from vitscope.studies import layout
from vitscope.studies.events import Events
from vitscope.studies.manifest import Stage
from vitscope.studies.worker import Check, Finished, Worker

MOST = 3
"""How often a shard is begun in one run."""


class GivenUp(Exception):
    """A shard that could not be computed, with the reason."""


class Attempts:
    """The attempts at the shards of one stage.

    Args:
        store: The study's place.
        stage: Name of the stage.
        run: Identifies this run.
    """

    def __init__(self, store: Store, stage: str, run: str) -> None:
        self._store, self._stage, self._run = store, stage, run

    def left(self) -> dict[int, list[str]]:
        """By shard, the files that attempts left which did not finish."""
        found: dict[int, list[str]] = {}
        folder = f"{layout.ATTEMPTS}/{self._stage}"
        for name in self._store.list(folder):
            parsed = layout.attempt_in(name)
            if parsed is not None:
                found.setdefault(parsed[0], []).append(f"{folder}/{name}")
        return found

    def begin(self, shard: int) -> int:
        """Count one more attempt of this run; returns its number, from 1.

        Raises GivenUp when the shard was begun often enough.
        """
        for number in range(1, MOST + 1):
            if self._store.create(layout.attempt_file(self._stage, shard, self._run, number), b""):
                return number
        raise GivenUp(f"its worker died {MOST} times in this run")

    def finish(self, shard: int, files: Iterable[str] = ()) -> None:
        """The shard is finished: its attempts, and those of earlier runs in ``files``, are forgotten."""
        for path in files:
            self._store.remove(path)
        for number in range(1, MOST + 1):
            path = layout.attempt_file(self._stage, shard, self._run, number)
            if not self._store.exists(path):
                break
            self._store.remove(path)

    @contextlib.contextmanager
    def unless_stopped(self, shard: int) -> Iterator[None]:
        """A block in which the shard is computed; whatever stops the run there is not held against the shard."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(OutputError, StorageError):
                self.finish(shard)
            raise

    def give_up(self, shard: int, reason: str) -> None:
        """Write down why a shard could not be computed."""
        content = json.dumps({"shard": shard, "reason": reason, "run": self._run})
        self._store.put(layout.failure_file(self._stage, shard), content.encode())

    def given_up(self) -> dict[int, str]:
        """By shard, why it was given up."""
        found: dict[int, str] = {}
        for name in self._store.list(f"{layout.ATTEMPTS}/{self._stage}"):
            shard = layout.shard_of_failure(name)
            if shard is not None:
                found[shard] = self._reason(f"{layout.ATTEMPTS}/{self._stage}/{name}")
        return found

    def forgive(self, shard: int) -> None:
        """Let a shard be tried again."""
        self._store.remove(layout.failure_file(self._stage, shard))

    def _reason(self, path: str) -> str:
        try:
            return str(json.loads(self._store.read(path))["reason"])
        except (MissingError, ValueError, KeyError, TypeError):
            return "unknown"


def compute(
    opened: Callable[[], Worker],
    attempts: Attempts,
    events: Events,
    stage: Stage,
    shard: int,
    check: Check = lambda: None,
) -> Finished:
    """Compute a shard, trying again after an error as long as this run may begin it.

    opened: the worker; called when the attempt is counted, because a process may die over opening a model, too.
    Raises GivenUp with the last reason; what ``opened`` raises, StoreFault, SourceError, DamagedError and Cancelled at
    once, because they are no fault of the shard.
    """
    reason: str | None = None
    while True:
        try:
            number = attempts.begin(shard)
        except GivenUp as error:
            raise GivenUp(reason or str(error)) from None
        with attempts.unless_stopped(shard):
            worker = opened()
            events.tell("shard_start", stage=stage.name, shard=shard, attempt=number)
            try:
                finished = worker.run(stage, shard, check)
            except (StoreFault, SourceError, DamagedError, Cancelled):
                raise
            except Exception as error:
                reason = brief(error)
                if number < MOST:
                    events.tell("retry", stage=stage.name, shard=shard, reason=reason)
                continue
        attempts.finish(shard)
        _tell(events, stage, shard, finished)
        return finished


def _tell(events: Events, stage: Stage, shard: int, finished: Finished) -> None:
    for key, why in finished.skipped.items():
        events.tell("skip", stage=stage.name, shard=shard, key=key, reason=why)
    record = finished.record
    fields: dict[str, Any] = {
        "ok": record.ok,
        "skipped": record.skipped,
        "seconds": {name: round(value, 4) for name, value in finished.seconds.items()},
        "bytes": finished.bytes,
        "peak_mib": finished.peak_mib,
    }
    events.tell("shard_done", stage=stage.name, shard=shard, **fields)
