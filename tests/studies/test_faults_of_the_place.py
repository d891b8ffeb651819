"""A study whose place fails, really: full, read-only, forbidden, gone, another's. The run stops, no shard is blamed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.studies.surviving import FinishedOnce, disk_of, forked, left_behind, records_of
from tests.studies.worlds import files_of
from vitscope.errors import LockTaken, StoreFault
from vitscope.storage.stores import hold, open_store
from vitscope.studies import Study
from vitscope.studies.worker import Worker


def finished(study: Study, place: Path, once: FinishedOnce) -> None:
    """The next run ends the study with the bytes of one that was never disturbed, and blames nothing."""
    assert all(not stage.failed for stage in study.status().stages)
    assert study.status(verified=True).faults == ()
    with once.replayed():
        report = study.run()
    assert report.whole and not report.failed
    assert files_of(place) == once.expected and left_behind(place) == []


def before_shard(number: int, what: Callable[[], object]) -> Any:
    """A patch that does something when so many shards are written, before the next one is."""
    real, begun = Worker._write, [0]

    def write(this: Worker, *given: Any) -> Any:
        begun[0] += 1
        if begun[0] == number + 1:
            what()
        return real(this, *given)

    patch = pytest.MonkeyPatch()
    patch.setattr(Worker, "_write", write)
    return patch


def stopped(study: Study, once: FinishedOnce, number: int, what: Callable[[], object]) -> StoreFault:
    """The fault that ends a run when something happens before a shard is written."""
    patch = before_shard(number, what)
    try:
        with once.replayed(), pytest.raises(StoreFault) as caught:
            study.run()
    finally:
        patch.undo()
    assert "\n" not in str(caught.value) and "; " in str(caught.value)
    return caught.value


def size_of(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def test_a_full_disk(once: FinishedOnce, tmp_path: Path) -> None:
    with disk_of(tmp_path / "disk", "60m") as disk:
        place = disk / "study"
        study = once.copy(place)
        whole = sum(map(len, once.expected.values())) - size_of(once.created)
        left: list[int] = []
        for room in (0, 40_000, whole // 3, whole // 2):
            used = os.statvfs(disk).f_blocks - os.statvfs(disk).f_bfree
            size = used * os.statvfs(disk).f_frsize + room
            subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
            with once.replayed(), pytest.raises(StoreFault) as caught:
                study.run()
            told = re.fullmatch(
                rf"cannot write \S+ in {place}: No space left on device \([\d.]+ k?M?B needed, [\d.]+ k?M?B free\)"
                r"(, about ([\d.]+) (k?M?)B for the rest of the study)?; make room there and run it again",
                str(caught.value),
            )
            assert told and caught.value.why == "full", str(caught.value)
            assert bool(told[1]) == bool(room)  # without any room there is not even a lock
            if told[1]:
                left.append(round(float(told[2]) * {"": 1, "k": 1e3, "M": 1e6}[told[3]]))
            assert left_behind(place) == []
            for name in records_of(place):
                named = json.loads((place / name).read_bytes())["files"]
                assert all((place / path).stat().st_size == known["bytes"] for path, known in named.items())
        # What the first stage writes is known as soon as one shard of it is written.
        assert left[0] > 0 and 0.2 * whole < left[-1] < 1.2 * whole, (left, whole)
        assert 0 < len(records_of(place)) < len(list(once.place.glob("shards/*/*.json")))
        subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)
        finished(study, place, once)


def test_a_disk_that_becomes_read_only(once: FinishedOnce, tmp_path: Path) -> None:
    with disk_of(tmp_path / "disk", "60m") as disk:
        once.copy(disk / "study")
        # A lock is an open file, and a disk with one is not made read-only at a command.
        study = Study.open(disk / "study", vit=once.vit, alone=True)

        def turn(how: str) -> None:
            subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)

        error = stopped(study, once, 2, lambda: turn("ro"))
        assert error.why == "read-only" and "Read-only file system" in str(error)
        for _ in range(2):
            with (
                once.replayed(),
                pytest.raises(StoreFault, match=r"Read-only file system.*; make it writable"),
            ):
                study.run()
        assert len(records_of(disk / "study")) == 2 and study.status().stages[0].done == 2
        turn("rw")
        finished(Study.open(disk / "study", vit=once.vit), disk / "study", once)


def test_a_mount_that_vanishes_is_not_made_anew_beneath(once: FinishedOnce, tmp_path: Path) -> None:
    for inside in ("study", ""):
        with disk_of(tmp_path / f"disk{inside}", "60m") as disk:
            place = disk / inside if inside else disk
            study = once.copy(place)
            keeper = os.open(disk, os.O_RDONLY)  # the file system itself lives on
            try:
                error = stopped(
                    study, once, 3, lambda: subprocess.run(["umount", "--lazy", str(disk)], check=True)
                )
                assert error.why == "gone" and "mount it or put it back and run it again" in str(error)
                for _ in range(2):
                    with (
                        once.replayed(),
                        pytest.raises(StoreFault, match="mount it or put it back") as caught,
                    ):
                        study.run()
                    assert caught.value.why == "gone"
                assert list(disk.iterdir()) == []
                beneath = Path(f"/proc/self/fd/{keeper}") / inside
                shutil.copytree(beneath, tmp_path / f"back{inside}")
            finally:
                os.close(keeper)
        back = tmp_path / f"back{inside}"
        assert len(records_of(back)) == 3
        finished(Study.open(back, vit=once.vit), back, once)


def test_a_study_that_is_deleted_or_moved_away(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    error = stopped(study, once, 1, lambda: place.rename(tmp_path / "away"))
    assert error.why == "gone" and not place.exists()
    (tmp_path / "away").rename(place)
    finished(study, place, once)
    error = stopped(once.copy(tmp_path / "lost"), once, 1, lambda: shutil.rmtree(tmp_path / "lost"))
    assert error.why == "gone" and not (tmp_path / "lost").exists()


def test_another_study_in_its_place_is_left_alone(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    other = once.copy(tmp_path / "other", finished=True)
    manifest = (tmp_path / "other" / "manifest.json").read_text()
    text = manifest.replace(other.manifest.study, "f" * 32)
    values = json.loads(text)
    from vitscope.storage.recipe import digest_of

    del values["checksum"]
    values["checksum"] = digest_of(values)
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(values))
    expected = files_of(tmp_path / "other")

    def swap() -> None:
        place.rename(tmp_path / "mine")
        (tmp_path / "other").rename(place)

    error = stopped(study, once, 1, swap)
    assert error.why == "gone" and f"another study lies at {place} by now" in str(error)
    assert files_of(place) == expected
    with pytest.raises(StoreFault, match="another study lies at"):
        study.run()
    assert files_of(place) == expected
    finished(Study.open(tmp_path / "mine", vit=once.vit), tmp_path / "mine", once)


def test_a_folder_of_somebody_else(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    for folder in (place, *place.rglob("*")):
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    answer, says = os.pipe()

    def somebody_else() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        try:
            found = Study.open(place, vit=once.vit)
            os.write(says, f"{found.status().finished}\n".encode())
            found.run()
        except StoreFault as error:
            os.write(says, f"StoreFault {error.why} {error}\n".encode())

    child = forked(somebody_else)
    os.close(says)
    with open(answer) as stream:
        told = stream.read().splitlines()
    assert os.waitpid(child, 0)[1] == 0
    assert told[0] == "False" and len(told) == 2, told
    assert told[1].startswith("StoreFault forbidden cannot ") and "Permission denied" in told[1]
    assert told[1].endswith("; give yourself the right to use it and run it again")
    for folder in (place, *place.rglob("*")):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    finished(study, place, once)


def test_two_runs_at_once(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    with hold(open_store(place)):
        with pytest.raises(
            LockTaken,
            match=rf"^another run \(process {os.getpid()} on [^,\n]+, since [^\n]+\) works in {place}; wait",
        ):
            Study.open(place, vit=once.vit).run()
        assert not study.status().finished  # reading needs no lock
    assert records_of(place) == set() and not list(place.glob("events/*"))
    finished(study, place, once)


def test_parts_of_a_dead_writer_are_swept(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    for folder in ("tables/pictures", "shards/main", "arrays.zarr/maps/gmar"):
        (place / folder / f"000000.{'0' * 32}.part").write_bytes(b"cut off")
    finished(study, place, once)
