"""How far a study is, as its folder says."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from vitscope.storage.stores import Store
from vitscope.studies.attempts import Attempts
from vitscope.studies.events import read_events
from vitscope.studies.manifest import Manifest, Stage
from vitscope.studies.records import Records
from vitscope.studies.verifying import Fault

RECENT = 30
"""Shards whose speed the estimate of the rest is made from."""


@dataclass(frozen=True)
class StageStatus:
    """How far one stage is.

    shards, done: how many there are, and are finished. pictures, ok, skipped: of the finished shards. failed: by shard,
    why it was given up. died: shards at which a worker died that have not been finished since.

    Example:
        >>> StageStatus("main", shards=4, done=3, pictures=192, ok=190, skipped=2).finished
        False
    """

    name: str
    shards: int
    done: int
    pictures: int
    ok: int
    skipped: int
    failed: Mapping[int, str] = field(default_factory=dict)
    died: tuple[int, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether every shard is finished."""
        return self.done == self.shards


@dataclass(frozen=True)
class StudyStatus:
    """How far a study is.

    place: where it is. pictures: how many were listed. stages: how far each is. rate: pictures a second of one worker
    over its last shards, None without any. seconds_left: at that rate, with the workers that were last seen. workers:
    how many were seen in the last run. kinds: devices that shards were computed on. faults: files that ``verify`` found
    to be other than they were written; their shards will be made again.

    Example:
        >>> main = StageStatus("main", shards=4, done=4, pictures=256, ok=256, skipped=0)
        >>> status = StudyStatus("birds-study", pictures=256, stages=(main,))
        >>> status.finished, status.to_pandas()["done"].tolist()
        (True, [4])
    """

    place: str
    pictures: int
    stages: tuple[StageStatus, ...]
    rate: float | None = None
    seconds_left: float | None = None
    workers: int = 0
    kinds: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return all(stage.finished for stage in self.stages)

    def to_pandas(self) -> pd.DataFrame:
        """The stages as a table.

        Returns:
            Columns: stage, shards, done, failed, pictures, ok, skipped.
        """
        return pd.DataFrame(
            [
                {
                    "stage": stage.name,
                    "shards": stage.shards,
                    "done": stage.done,
                    "failed": len(stage.failed),
                    "pictures": stage.pictures,
                    "ok": stage.ok,
                    "skipped": stage.skipped,
                }
                for stage in self.stages
            ]
        )

    @property
    def skipped(self) -> int:
        """Pictures that could not be used."""
        return next((stage.skipped for stage in self.stages if stage.name == "main"), 0)


def status_of(store: Store, manifest: Manifest, faults: tuple[Fault, ...] = ()) -> StudyStatus:
    """How far the study at a place is."""
    records = Records(store, manifest)
    kinds: set[str] = set()
    stages = [_stage(store, manifest, records, stage, kinds) for stage in manifest.stages]
    rate, workers = _speed(store, manifest)
    left = _left(manifest, stages)
    seconds = None if rate is None else left / rate / max(1, workers)
    return StudyStatus(
        store.name, manifest.input.count, tuple(stages), rate, seconds, workers, tuple(sorted(kinds)), faults
    )


def _stage(store: Store, manifest: Manifest, records: Records, stage: Stage, kinds: set[str]) -> StageStatus:
    found = records.all(stage.name)
    kinds.update(record.device_kind for record in found.values())
    attempts = Attempts(store, stage.name, "")
    return StageStatus(
        stage.name,
        manifest.shards_of(stage),
        len(found),
        sum(record.stop - record.start for record in found.values()),
        sum(record.ok for record in found.values()),
        sum(record.skipped for record in found.values()),
        {shard: why for shard, why in attempts.given_up().items() if shard not in found},
        tuple(sorted(shard for shard in attempts.left() if shard not in found)),
    )


def _left(manifest: Manifest, stages: list[StageStatus]) -> int:
    """Pictures of the shards that are not finished, over all stages that read pictures."""
    whole = [stage for stage in stages if manifest.stage(stage.name).kind == "shard"]
    return sum(manifest.input.count - stage.pictures for stage in whole)


def _whole(event: dict[str, Any]) -> bool:
    """Whether an event tells the speed of a shard; a damaged line may tell anything."""
    seconds = event.get("seconds")
    numbers = [event.get(name) for name in ("ok", "skipped", "t")]
    if not isinstance(seconds, dict) or not {"run", "worker"} <= event.keys():
        return False
    return all(isinstance(each, int | float) for each in (*numbers, *seconds.values()))


@dataclass
class _Seen:
    """What the events of one run say. begun: when it began, last. workers: that finished a shard. first, later: (when,
    pictures a second) of the first shard of each worker, and of the last other ones."""

    begun: float = 0.0
    workers: set[str] = field(default_factory=set)
    first: list[tuple[float, float]] = field(default_factory=list)
    later: list[tuple[float, float]] = field(default_factory=list)

    def add(self, event: Mapping[str, Any]) -> None:
        spent, pictures = sum(event["seconds"].values()), event["ok"] + event["skipped"]
        known = event["worker"] in self.workers
        self.workers.add(event["worker"])
        if spent > 0 and pictures:
            kept = self.later if known else self.first
            heapq.heappush(kept, (event["t"], pictures / spent))
            if len(kept) > RECENT:
                heapq.heappop(kept)


def _speed(store: Store, manifest: Manifest) -> tuple[float | None, int]:
    """(pictures a second of one worker, workers seen): medians over the last shards of the last run, without the first
    of each worker, which paid for its start."""
    runs: dict[str, _Seen] = {}
    for event in read_events(store):
        seen = runs.setdefault(str(event.get("run")), _Seen())
        if event.get("event") == "start" and isinstance(event.get("t"), int | float):
            seen.begun = max(seen.begun, event["t"])
        if event.get("event") == "shard_done" and _whole(event):
            seen.add(event)
    last = max(runs.values(), key=lambda seen: seen.begun, default=_Seen())
    rates = [rate for _, rate in last.later or last.first]
    return (statistics.median(rates) if rates else None), len(last.workers)
