"""Whether every file of a study is as it was written: read again, hashed, and compared with the records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from vitscope.errors import MissingError, StorageError
from vitscope.progress import CountedStage, Progress
from vitscope.storage.stores import Store
from vitscope.studies.descriptions import damaged_descriptions
from vitscope.studies.manifest import Manifest
from vitscope.studies.plan_files import PlanFiles
from vitscope.studies.records import Records, ShardRecord


@dataclass(frozen=True)
class Fault:
    """A file that is not as it was written. stage, shard: which made it; ``""`` and -1 for the description of an array,
    which the next run writes anew."""

    stage: str
    shard: int
    path: str
    what: str


def verify(store: Store, manifest: Manifest, progress: Progress | None = None) -> list[Fault]:
    """Hash every file that a record names; records of shards whose files differ are withdrawn, so that a run makes them
    again.

    Raises DamagedError when the list of pictures itself is damaged: no run can mend that.
    """
    PlanFiles(store, manifest).check()
    records = Records(store, manifest)
    known = [
        (stage.name, shard) for stage in manifest.stages for shard in sorted(records.finished(stage.name))
    ]
    counted = CountedStage(progress, "verifying", len(known), unit="shards")
    found = [Fault("", -1, path, what) for path, what in damaged_descriptions(store, manifest).items()]
    for stage, shard in known:
        counted.check()
        record = records.read(stage, shard)
        faults = (
            [Fault(stage, shard, "", "its record is damaged")]
            if record is None
            else list(_faults(store, record))
        )
        if faults:
            records.withdraw(stage, shard)
            found += faults
        counted.advance()
    return found


def _faults(store: Store, record: ShardRecord) -> Iterator[Fault]:
    for path, known in record.files.items():
        try:
            content = store.read(path)
        except MissingError:
            yield Fault(record.stage, record.shard, path, "missing")
            continue
        except StorageError as error:
            yield Fault(record.stage, record.shard, path, str(error))
            continue
        if len(content) != known["bytes"]:
            yield Fault(record.stage, record.shard, path, f"{len(content)} bytes instead of {known['bytes']}")
        elif hashlib.sha256(content).hexdigest() != known["sha256"]:
            yield Fault(record.stage, record.shard, path, "changed")
