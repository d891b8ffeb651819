"""One run of a study: what is left to do is found on disk, done stage by stage, and can be stopped at any moment."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vitscope.errors import LockLost, StoreFault
from vitscope.progress import CountedStage, Progress
from vitscope.storage.stores import Hold, Store
from vitscope.storage.stores.faults import in_words
from vitscope.studies.attempts import Attempts
from vitscope.studies.contents import Contents
from vitscope.studies.descriptions import mend_descriptions
from vitscope.studies.engines.engine import Engine, Outcome
from vitscope.studies.events import Events, Listener
from vitscope.studies.manifest import Manifest, Stage, require_there
from vitscope.studies.records import Records
from vitscope.studies.stages import States

STALE = 3600.0
"""Seconds after which what is being written is taken to be left by a writer that died, where a lease cannot exclude
that it is still at work. A lock on this disk does, so there it is swept at once."""


@dataclass(frozen=True)
class Retry:
    """What is done again that an earlier run left: shards that were given up, shards with skipped pictures.

    Example:
        >>> Retry(failed=True)  # study.run(retry=Retry(failed=True))
        Retry(failed=True, skipped=False)
    """

    failed: bool = False
    skipped: bool = False


@dataclass
class Report:
    """How a run ended.

    shards: how many were computed. failed: by (stage, shard), why a shard was given up. waiting: stages that wait for
    these. skipped: pictures that could not be used, of the whole study as far as it is. limited: the run was told to
    stop here.

    Example:
        >>> Report(shards=4).whole, Report(shards=3, failed={("main", 2): "out of memory"}).whole
        (True, False)
    """

    shards: int = 0
    failed: dict[tuple[str, int], str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    skipped: int = 0
    limited: bool = False

    @property
    def whole(self) -> bool:
        """Whether the study is finished."""
        return not (self.failed or self.waiting or self.limited)


def new_run() -> str:
    """A name for a run."""
    return uuid.uuid4().hex[:12]


class Run:
    """A run of a study, by whichever engine.

    Args:
        store: The study's place.
        manifest: The study.
        run: Names the run.
        hold: The study's lock, which somebody else may have taken over.
        progress: Told of the pictures, stage by stage, and asked whether to stop.
        listener: Told of every event.
    """

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        run: str,
        hold: Hold,
        progress: Progress | None = None,
        listener: Listener | None = None,
    ) -> None:
        self._store, self._manifest, self._run, self._hold = store, manifest, run, hold
        self._progress = progress
        self.events = Events(store, run, listener=listener)
        self._records = Records(store, manifest)
        self._contents = Contents(manifest, self._records, States(store, self._records))

    def go(self, engine: Callable[[], Engine], retry: Retry, limit: int | None = None) -> Report:
        """Do what is left, with an engine that is made when there is anything to do.

        Raises StoreFault and SourceError when a place fails, LockLost when another run took over, Cancelled.
        """
        report = Report()
        self.events.tell("start", pictures=self._manifest.input.count, shards=self._manifest.shards)
        self._store.sweep(0.0 if self._store.is_local else STALE)
        mend_descriptions(self._store, self._manifest)
        if retry.skipped:
            self._withdraw_skipped()
        made: Engine | None = None
        try:
            for stage in self._manifest.stages:
                if not self._ready(stage):
                    report.waiting.append(stage.name)
                    continue
                left = self._left(stage, retry, report)
                if limit is not None and report.shards + len(left) > limit:
                    left, report.limited = left[: max(0, limit - report.shards)], True
                if left:
                    made = made or engine()
                    self._stage(stage, left, made, report)
        except LockLost:
            require_there(self._store, self._manifest)  # a lock is also lost with its place
            raise
        except StoreFault as error:
            raise self._with_all_that_is_left(error) from None
        finally:
            if made is not None:
                made.close()
        report.skipped = sum(r.skipped for r in self._records.all(self._manifest.main.name).values())
        self.events.tell("end", shards=report.shards, failed=len(report.failed), skipped=report.skipped)
        return report

    def _with_all_that_is_left(self, error: StoreFault) -> StoreFault:
        """The fault of a place that is full, with the bytes that the rest of the study takes."""
        if error.why != "full":
            return error
        stages = [stage for stage in self._manifest.stages if stage.kind == "shard"]
        left = 0.0
        for stage in stages:
            records = self._records.all(stage.name).values()
            written = sum(file["bytes"] for record in records for file in record.files.values())
            whole = self._manifest.estimate.get("bytes", 0.0) / len(stages)
            if records:
                whole = written / len(records) * self._manifest.shards
            left += whole - written
        cause, _, remedy = str(error).rpartition("; ")
        return StoreFault(
            f"{cause}, about {in_words(round(left))} for the rest of the study; {remedy}",
            error.why,
            error.needed,
        )

    def _ready(self, stage: Stage) -> bool:
        return all(
            len(self._records.all(need)) == self._manifest.shards_of(self._manifest.stage(need))
            for need in stage.needs
        )

    def _left(self, stage: Stage, retry: Retry, report: Report) -> list[int]:
        """The shards without a record; those at which a worker died before come last."""
        for shard, record in self._records.all(stage.name).items():
            if record.rests_on != self._contents.rests_on(stage, shard):
                self._records.withdraw(stage.name, shard)
        attempts = Attempts(self._store, stage.name, self._run)
        done = set(self._records.all(stage.name))
        given_up = attempts.given_up()
        for shard in sorted(given_up):
            if retry.failed or shard in done:
                attempts.forgive(shard)
            else:
                report.failed[stage.name, shard] = given_up[shard]
        died = attempts.left()
        for shard in done.intersection(died):  # its process died after its record was written
            attempts.finish(shard, died.pop(shard))
        whole = range(self._manifest.shards_of(stage))
        left = [shard for shard in whole if shard not in done and (stage.name, shard) not in report.failed]
        return sorted(left, key=lambda shard: (len(died.get(shard, ())), shard))

    def _stage(self, stage: Stage, shards: Sequence[int], engine: Engine, report: Report) -> None:
        attempts = Attempts(self._store, stage.name, self._run)
        died = attempts.left()
        sizes = [self._size(stage, shard) for shard in range(self._manifest.shards_of(stage))]
        total = sum(sizes)
        counted = CountedStage(self._progress, f"stage {stage.name}", total, checkpoint=self._store.name)
        counted.begin(total - sum(sizes[shard] for shard in shards))

        def told(outcome: Outcome) -> None:
            if outcome.reason is not None:
                attempts.give_up(outcome.shard, outcome.reason)
                report.failed[stage.name, outcome.shard] = outcome.reason
                self.events.tell("failed", stage=stage.name, shard=outcome.shard, reason=outcome.reason)
            else:
                attempts.finish(outcome.shard, died.get(outcome.shard, ()))
                report.shards += 1
            counted.advance(sizes[outcome.shard])

        def check() -> None:
            self._hold.check()
            counted.check()

        engine.run(stage, shards, told, check)

    def _size(self, stage: Stage, shard: int) -> int:
        """Steps of progress of a shard: its pictures, one for a reduction."""
        if stage.kind == "reduce":
            return 1
        start, stop = self._manifest.bounds(shard)
        return stop - start

    def _withdraw_skipped(self) -> None:
        """Take back the records of shards with skipped pictures; what rests on other contents then follows."""
        found = [(stage, self._records.all(stage.name)) for stage in self._manifest.stages]
        skipped = {shard for _, records in found for shard, record in records.items() if record.skipped}
        for stage, records in found:
            for shard in skipped.intersection(records):
                if stage.kind == "shard":
                    self._records.withdraw(stage.name, shard)
