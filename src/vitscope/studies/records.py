"""The record of a finished shard: the one thing that says so. It is written last, and never over another."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from vitscope.errors import MissingError
from vitscope.storage.recipe import digest_of, plain
from vitscope.storage.stores import Store
from vitscope.studies import layout
from vitscope.studies.errors import StudyError
from vitscope.studies.manifest import Manifest

FETCHERS = 16
"""Records that are fetched from a URL at the same time: waiting for an answer takes most of the time."""


@dataclass(frozen=True)
class ShardRecord:
    """One finished shard.

    study: the study's uuid; a worker of a study that was deleted writes another. start, stop: its pictures. ok,
    skipped: how many. files: by path, bytes and sha256. device_kind: what it was computed on. libraries: digest of
    their versions. contents: digest of the bytes of its pictures as they were read. rests_on: of the contents behind
    what it was made from, see `contents.Contents`.
    """

    study: str
    stage: str
    shard: int
    start: int
    stop: int
    ok: int
    skipped: int
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device_kind: str = ""
    libraries: str = ""
    contents: str = ""
    rests_on: str = ""
    status: str = "done"
    schema: int = 1

    def encode(self) -> bytes:
        """As JSON with a checksum."""
        values = plain(asdict(self))
        return json.dumps({**values, "checksum": digest_of(values)}, indent=1).encode()


def described(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """What a record says of files: how long each is, and its sha256."""
    return {
        path: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in files.items()
    }


def decode(content: bytes) -> ShardRecord | None:
    """A record from the bytes of its file; None for anything else."""
    try:
        values = json.loads(content)
        if values.pop("checksum") != digest_of(values):
            return None
        return ShardRecord(**values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


FILES_KEPT = 1000
"""Records that are held with the names and checksums of their files, which make up most of a record."""


class _Held:
    """Records that were read, by stage and shard: of the last ones all, of the others all but their files."""

    def __init__(self) -> None:
        self._whole: dict[tuple[str, int], ShardRecord] = {}
        self._brief: dict[tuple[str, int], ShardRecord] = {}
        self._lock = threading.Lock()

    def get(self, place: tuple[str, int]) -> ShardRecord | None:
        return self._whole.get(place)

    def brief(self, place: tuple[str, int]) -> ShardRecord | None:
        return self._brief.get(place)

    def __setitem__(self, place: tuple[str, int], record: ShardRecord) -> None:
        brief = replace(
            record,
            files={},
            study=sys.intern(record.study),
            stage=sys.intern(record.stage),
            device_kind=sys.intern(record.device_kind),
            libraries=sys.intern(record.libraries),
        )
        with self._lock:  # several are fetched at a time
            self._whole.pop(place, None)
            self._whole[place], self._brief[place] = record, brief
            if len(self._whole) > FILES_KEPT:
                self._whole.pop(next(iter(self._whole)))

    def pop(self, place: tuple[str, int], default: None = None) -> None:
        self._whole.pop(place, default)
        self._brief.pop(place, default)

    def clear(self) -> None:
        self._whole.clear()
        self._brief.clear()


class Records:
    """The records of a study, read when they are asked for.

    A record that is damaged, or that another study's worker wrote, is as if it were not there; the shard is then
    computed again, and the record replaced.
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store, self._manifest = store, manifest
        self._known = _Held()

    def forget(self) -> None:
        """Read every record anew from now on: another process may have taken some back."""
        self._known.clear()

    def finished(self, stage: str) -> set[int]:
        """The shards of a stage that have a record file, as the folder says now; the records are not read."""
        names = self._store.list(f"{layout.RECORDS}/{stage}")
        return {shard for name in names if (shard := layout.shard_of_record(name)) is not None}

    def read(self, stage: str, shard: int) -> ShardRecord | None:
        """The record of a shard, None without one that this study's workers wrote."""
        known = self._known.get((stage, shard))
        if known is not None:
            return known
        try:
            record = decode(self._store.read(layout.record_file(stage, shard)))
        except MissingError:
            return None
        if record is None or (record.study, record.stage, record.shard) != (
            self._manifest.study,
            stage,
            shard,
        ):
            return None
        self._known[stage, shard] = record
        return record

    def all(self, stage: str) -> dict[int, ShardRecord]:
        """Every good record of a stage, by shard, in their order, without what it says of files; under a URL several
        are fetched at a time."""
        shards = sorted(self.finished(stage))
        if self._store.is_local:
            found = [self._brief(stage, shard) for shard in shards]
        else:
            with ThreadPoolExecutor(FETCHERS) as pool:
                found = list(pool.map(lambda shard: self._brief(stage, shard), shards))
        return {shard: record for shard, record in zip(shards, found, strict=True) if record is not None}

    def _brief(self, stage: str, shard: int) -> ShardRecord | None:
        if self._known.brief((stage, shard)) is None and self.read(stage, shard) is None:
            return None
        return self._known.brief((stage, shard))

    def require(self, stage: str) -> list[int]:
        """Every shard of a stage, when all are finished. Raises StudyError otherwise, saying how many are missing."""
        whole = self._manifest.shards_of(self._manifest.stage(stage))
        found = list(self.all(stage))
        if len(found) < whole:
            raise StudyError(
                f"{whole - len(found)} of {whole} shards of stage '{stage}' are not finished; "
                f"run vitscope study run {self._store.name}"
            )
        return found

    def vouches(self, stage: str, shard: int, path: str) -> int | None:
        """How many bytes the file of a finished shard has; None where no record names it."""
        record = self.read(stage, shard)
        known = None if record is None else record.files.get(path)
        return None if known is None else int(known["bytes"])

    def withdraw(self, stage: str, shard: int) -> None:
        """Remove a record: the shard is not finished any more. Its files stay until it is computed again."""
        self._known.pop((stage, shard), None)
        self._store.remove(layout.record_file(stage, shard))

    def write(self, record: ShardRecord) -> bool:
        """Write a record; False when one is there already that says the same."""
        path = layout.record_file(record.stage, record.shard)
        if self._store.create(path, record.encode()):
            self._known[record.stage, record.shard] = record
            return True
        self._known.pop((record.stage, record.shard), None)
        if self.read(record.stage, record.shard) != record:
            self._store.put(path, record.encode())
            self._known[record.stage, record.shard] = record
            return True
        return False
