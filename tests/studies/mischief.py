"""What goes wrong in workers of Ray when a test says so, in a file beside the study."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from vitscope.errors import SourceError, StoreFault
from vitscope.studies.engines.ray_task import Answer, Order, compute_order
from vitscope.studies.worker import Worker


@contextmanager
def mischief(place: Path, **told: object) -> Iterator[None]:
    """In this block the workers of a study do as they are told: ``dies=1`` is shard 1, and ``once=True`` the first time
    only; ``slow=0.5`` is every shard."""
    note = Path(f"{place}.mischief.json")
    note.write_text(json.dumps(told))
    try:
        with mock.patch("vitscope.studies.engines.ray.compute_order", disturbed):
            yield
    finally:
        note.unlink()


def disturbed(order: Order) -> Answer:
    """An order, computed by a worker that does what the file says."""
    told = json.loads(Path(f"{order.place}.mischief.json").read_text())
    real = Worker.run

    def run(self: Worker, stage, shard, check=lambda: None):
        time.sleep(told.get("slow", 0.0))
        for name, chosen in told.items():
            if name in KINDS and chosen == shard and (not told.get("once") or first_time(order)):
                KINDS[name]()
        return real(self, stage, shard, check)

    with mock.patch.object(Worker, "run", run):
        return compute_order(order)


def first_time(order: Order) -> bool:
    try:
        os.close(os.open(f"{order.place}.{order.run}.done", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crashes() -> None:
    ctypes.string_at(0)


def hangs() -> None:
    time.sleep(600)


def unreadable() -> None:
    class Odd(Exception):
        def __init__(self) -> None:
            super().__init__("of a class that no other process knows")
            self.lock = threading.Lock()

    raise Odd


def full() -> None:
    raise StoreFault("the disk of the study is full (7 bytes were to be written); free some space", "full", 7)


def unplugged() -> None:
    raise SourceError("the place of the pictures does not answer; try again")


KINDS = {
    "killed": killed,
    "crashes": crashes,
    "hangs": hangs,
    "unreadable": unreadable,
    "full": full,
    "unplugged": unplugged,
}
