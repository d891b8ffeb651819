"""What a study holds in memory does not grow with its pictures or its shards."""

from __future__ import annotations

import ctypes
import gc
import os
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import vitscope as vs
from tests.studies.worlds import folder_of_pictures, made
from vitscope.pictures import Batch, PictureSource
from vitscope.storage.stores import open_store
from vitscope.studies import Sizes, records
from vitscope.studies.events import Events
from vitscope.studies.records import Records, ShardRecord
from vitscope.studies.worker import Worker

SHARD, SHARDS = 100, 20
"""2,000 pictures."""


def resident() -> float:
    """MiB that this process needs in memory now."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc's: what was freed goes back to the system
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_of_a_worker_is_flat_over_its_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 64 pixels as the model takes it is 0.05 MiB: kept by anybody, the later half would add 50 MiB."""
    few = sorted(folder_of_pictures(tmp_path / "few", 12).iterdir())
    (tmp_path / "many").mkdir()
    for number in range(SHARD * SHARDS):
        os.link(few[number % len(few)], tmp_path / "many" / f"{number:05d}.png")
    vit = vs.open_model("timm/test_vit", pretrained=False, image_size=64)
    sizes = Sizes(shard_size=SHARD, batch_size=20, threads=1)
    study = made(
        tmp_path / "study",
        tmp_path / "many",
        model=vit,
        methods=["gmar"],
        analyses=["explain", "strength"],
        sizes=sizes,
    )
    alive: list[weakref.ref[Batch]] = []
    most = 0
    made_batch = Batch.__init__

    def counted(self: Batch, *given: Any, **named: Any) -> None:
        nonlocal most
        made_batch(self, *given, **named)
        alive[:] = [each for each in [*alive, weakref.ref(self)] if each() is not None]
        most = max(most, len(alive))

    monkeypatch.setattr(Batch, "__init__", counted)
    worker = Worker(study._store, study.manifest, vit, decode_threads=2)
    held = []
    for shard in range(SHARDS):
        assert worker.run(study.manifest.main, shard).record.ok == SHARD
        held.append(resident())
    # What is kept stays to the end; what an allocator or another thread takes for a while does not.
    assert min(held[-SHARDS // 4 :]) - max(held[: SHARDS // 2]) < 8, held
    # Two threads at work, as many results that wait, one with the model, and its copies for two analyses.
    assert 1 <= most <= 12


def test_threads_that_read_ahead_stay_a_few_batches_ahead(tmp_path: Path) -> None:
    pictures = folder_of_pictures(tmp_path / "pictures", 24)
    source: PictureSource = vs.pictures.picture_source(pictures)
    source.threads = 2
    opened: list[int] = []
    read = source.open

    def counted(index: int, channels: int = 3) -> Any:
        opened.append(index)
        return read(index, channels)

    source.open = counted  # type: ignore[method-assign]
    batches = source.batches(vs.open_model("bundled/shapes"), 2)
    next(batches)
    assert len(opened) <= 2 * 5
    batches.close()  # type: ignore[attr-defined]
    assert len(opened) < 24


def test_records_are_held_without_what_they_say_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = made(tmp_path / "study", folder_of_pictures(tmp_path / "pictures", 2))
    monkeypatch.setattr(records, "FILES_KEPT", 10)
    store = open_store("memory://records-of-many-shards")
    store.make_root(["shards/main"])
    files = {f"tables/table{n}/000000.parquet": {"bytes": 1, "sha256": f"{n:064x}"} for n in range(12)}
    many = 600
    writing = Records(store, study.manifest)
    for shard in range(many):
        record = ShardRecord(study.manifest.study, "main", shard, 0, 4, 4, 0, files, "cpu x86_64 AVX2", "abc")
        assert writing.write(record)
    reading = Records(store, study.manifest)
    reading.read("main", 0)
    tracemalloc.start()
    found = reading.all("main")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == many and found[5].ok == 4 and not found[5].files
    assert held / many < 1500
    assert reading.vouches("main", 3, "tables/table7/000000.parquet") == 1


def test_speed_is_that_of_the_run_that_began_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of runs are random, so their order says nothing."""
    study = made(tmp_path / "study", folder_of_pictures(tmp_path / "pictures", 2))
    for name, at, seconds in (("aaa", 200.0, 1.0), ("zzz", 100.0, 4.0)):
        monkeypatch.setattr("time.time", lambda at=at: at)
        events = Events(study._store, name)
        events.tell("start")
        for shard in range(3):
            events.tell(
                "shard_done",
                shard=shard,
                ok=8,
                skipped=0,
                seconds={"model": seconds * (1 + 9 * (shard == 0))},
            )
    assert study.status().rate == 8.0 and study.status().workers == 1
