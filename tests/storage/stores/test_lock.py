"""One run at a time: the lock of a disk, and the lease of every other place."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import S3
from vitscope.errors import LockLost, LockTaken, OutputError, StoreFault
from vitscope.storage.stores import Store, hold, open_store
from vitscope.storage.stores.lease import Lease, Pace, leased

QUICK = Pace(beat=0.15, stale=1.5, look=0.05)
NUMBERS = itertools.count()


def quiet(words: str) -> None:
    """Hears nothing."""


@pytest.fixture
def disk(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "study")
    store.make_root([])
    return store


@pytest.fixture(params=("disk", "memory", "s3"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place in which a lease is taken; on a disk it is when workers are on several machines."""
    if request.param == "disk":
        made = str(tmp_path / "study")
    elif request.param == "memory":
        made = f"memory://leases{next(NUMBERS)}"
    else:
        server: S3 = request.getfixturevalue("s3")
        made = f"{server.bucket()}/study"
    open_store(made).make_root([])
    return made


HOLDER = """
import os, sys, time
from vitscope.storage.stores import hold, open_store
from vitscope.storage.stores.lease import Pace
with hold(open_store(sys.argv[1]), lease="lease" in sys.argv, pace=Pace(0.15, 1.5, 0.05)):
    ready, begun = os.pipe()
    child = os.fork() if "fork" in sys.argv else -1
    if child > 0:
        os.read(ready, 1)
    if child:
        print(child, flush=True)
    else:
        os.write(begun, b"1")
    time.sleep(600)
"""


@contextlib.contextmanager
def holder(place: str, *how: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds a store, and its forked child if it has one."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, place, *how], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = -1
    try:
        child = int(process.stdout.readline())
        yield process, child
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if child > 0:
            os.kill(child, signal.SIGKILL)


def test_a_second_run_is_told_who_holds_the_disk(disk: Store) -> None:
    with holder(disk.url()) as (process, _), pytest.raises(LockTaken) as caught, hold(disk):
        pass
    note = json.loads(disk.read(".lock.json"))
    assert str(caught.value) == (
        f"another run (process {process.pid} on {note['host']}, since {note['since']}) works in {disk.name}; "
        "wait for its end, or end it"
    )
    with hold(disk) as held:
        held.check()


def test_the_lock_is_free_when_its_holder_was_killed_though_a_forked_child_lives(disk: Store) -> None:
    with holder(disk.url(), "fork") as (process, child):
        with pytest.raises(LockTaken), hold(disk):
            pass
        process.kill()
        process.wait()
        os.kill(child, 0)  # it lives
        with hold(disk) as held:
            held.check()


def test_a_removed_lock_is_noticed(disk: Store) -> None:
    with hold(disk) as held:
        os.unlink(disk.url(".lock"))
        with pytest.raises(LockLost, match="was removed, so another run may work there"):
            held.check()


def test_the_lock_makes_no_root(tmp_path: Path) -> None:
    for root in (tmp_path / "never", tmp_path / "gone"):
        store = open_store(root)
        if root.name == "gone":
            store.make_root([])
            with hold(store) as held:
                root.rename(tmp_path / "elsewhere")
                with pytest.raises(StoreFault, match="No such file or directory"):
                    held.check()
        with pytest.raises(StoreFault) as caught, hold(store):
            pass
        assert caught.value.why == "gone" and not root.exists()


def test_who_is_alone_locks_nothing(disk: Store) -> None:
    with hold(disk), hold(disk, alone=True) as held, hold(open_store(disk.url(), alone=True)):
        held.check()
    assert disk.list("lease") == []


def test_a_disk_that_cannot_lock_is_refused(disk: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OutputError) as caught, hold(disk):
        pass
    assert str(caught.value) == (
        f"the file system of {disk.name} cannot keep two runs apart (No locks available); "
        "use another disk, or --i-am-alone when no other run works there"
    )


def test_a_disk_of_the_network_has_both(disk: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "on_a_network", True)
    with hold(disk, pace=QUICK) as held:
        assert disk.list("lease") == ["000000.json"]
        with pytest.raises(LockTaken, match="since"), hold(open_store(disk.url())):
            pass
        disk.put("lease/000001.json", b"{}")
        with pytest.raises(LockLost, match="took over"):
            for _ in range(400):
                held.check()
                time.sleep(0.05)


def test_a_disk_of_the_network_without_locks_has_the_lease(
    disk: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with hold(disk, lease=True, pace=QUICK) as held:
        held.check()
        with pytest.raises(LockTaken, match="on "), hold(disk, lease=True, pace=QUICK):
            pass
    with hold(disk, lease=True, pace=Pace()) as held:
        held.check()


def test_a_lease_that_is_given_back_is_free_at_once(place: str) -> None:
    store = open_store(place)
    told: list[str] = []
    for number in range(3):
        with leased(store, Pace(), told.append) as held:
            held.check()
            assert store.list("lease") == [f"{number:06d}.json"]
    assert told == []


def test_a_lease_that_gives_signs_of_life_is_not_taken(place: str) -> None:
    store, told = open_store(place), list[str]()
    with leased(store, QUICK, quiet) as held:
        with pytest.raises(LockTaken) as caught, leased(store, QUICK, told.append):
            pass
        assert f"another run (process {os.getpid()} on " in str(caught.value) and place in str(caught.value)
        held.check()
        assert store.list("lease") == ["000000.json"]
    assert len(told) == 1 and told[0].startswith("waiting up to 1.5 s to see whether the run (process ")


def stop_beating(lease: Lease) -> None:
    """As if its process had been stopped."""
    lease._ended.set()
    lease._heart.join()
    lease._ended.clear()


def test_of_six_stealers_one_wins_and_the_old_holder_is_told(place: str) -> None:
    old = Lease(open_store(place), QUICK, quiet)
    old.acquire()
    old.check()
    stop_beating(old)
    leases = [Lease(open_store(place), QUICK, quiet) for _ in range(6)]
    outcomes: dict[int, str] = {}

    def steal(index: int) -> None:
        try:
            leases[index].acquire()
            outcomes[index] = "won"
        except LockTaken:
            outcomes[index] = "taken"

    stealers = [threading.Thread(target=steal, args=(index,)) for index in range(6)]
    for stealer in stealers:
        stealer.start()
    for stealer in stealers:
        stealer.join()
    assert sorted(outcomes.values()) == ["taken"] * 5 + ["won"]
    (winner,) = (lease for index, lease in enumerate(leases) if outcomes[index] == "won")
    winner.check()
    old._beat()
    with pytest.raises(LockLost, match=r"another run \(process \d+ on .*\) took over .*; let that one go on"):
        old.check()
    old.release()
    winner.check()
    assert open_store(place).list("lease") == ["000001.json"], "the old holder has written nothing more"
    winner.release()
    with leased(open_store(place), Pace(), quiet) as held:
        held.check()


def test_a_killed_holder_is_followed_by_another_process(s3: S3, tmp_path: Path) -> None:
    for place in (f"{s3.bucket()}/study", str(tmp_path / "study")):
        store = open_store(place)
        store.make_root([])
        with holder(place, "lease") as (process, _):
            with (
                pytest.raises(LockTaken, match=f"process {process.pid} on "),
                leased(store, QUICK, quiet),
            ):
                pass
            process.kill()
            process.wait()
            with leased(store, QUICK, quiet) as held:
                held.check()
            assert store.list("lease") == ["000001.json"]


def test_a_stopped_process_that_goes_on_is_told(s3: S3) -> None:
    """SIGSTOP is a laptop that sleeps: nothing beats, and then it believes that it still holds."""
    place = f"{s3.bucket()}/study"
    program = HOLDER.replace(
        "time.sleep(600)", "\n    ".join(["while True:", "    time.sleep(0.05)", "    held.check()"])
    )
    program = program.replace("0.05)):", "0.05)) as held:")
    process = subprocess.Popen(
        [sys.executable, "-c", program, place], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    try:
        with hold(open_store(place), pace=QUICK) as held:
            process.send_signal(signal.SIGCONT)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 1 and "LockLost: another run" in errors
            held.check()
    finally:
        process.kill()
        process.wait()


def test_who_cannot_give_signs_of_life_stops(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(place)
    with leased(store, QUICK, quiet) as held:

        def put(path: str, data: bytes) -> None:
            raise StoreFault("cannot write", "broken")

        monkeypatch.setattr(store, "put", put)
        held.check()  # once is nothing
        until = time.monotonic() + 60
        with pytest.raises(LockLost, match=r"no sign of life reached .* for 1.5 s"):
            while time.monotonic() < until:
                held.check()
                time.sleep(0.05)
        monkeypatch.undo()


def test_a_late_stealer_of_an_old_number_does_not_hold(place: str) -> None:
    """It saw number 0 go stale, slept, and creates number 1 when number 2 is at work already."""
    store = open_store(place)
    store.put("lease/000002.json", b'{"sign": "x", "process": 1, "host": "other", "over": false}')
    late = Lease(store, QUICK, quiet)
    assert late._take(1) is False
    assert store.list("lease") == ["000002.json"]


def test_a_damaged_lease_can_be_taken_over(place: str) -> None:
    store = open_store(place)
    store.put("lease/000004.json", b"\xff not a note")
    told: list[str] = []
    with leased(store, QUICK, told.append) as held:
        held.check()
        assert store.list("lease") == ["000005.json"]
    assert "(process ? on ?)" in told[0]
