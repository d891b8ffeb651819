"""A lease: one run at a time where files cannot be locked, with nothing but objects that are created once.

The objects are ``lease/000000.json``, ``lease/000001.json``, ...; the highest number holds. A run begins by creating
the next number. It overwrites its object again and again, each time with new content, and stops when a higher number
appears. Who finds an object whose content has not moved for long enough, by his own clock alone, creates the next
number. The clocks of two machines are never compared.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vitscope.errors import LockLost, LockTaken, MissingError, OutputError, StorageError
from vitscope.storage.stores.inside import LEASE
from vitscope.storage.stores.store import Store

_NAME = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True)
class Pace:
    """The times of a lease, in seconds.

    Args:
        beat: Between two signs of life of its holder.
        stale: Without a sign of life for so long, it is another's.
        look: Between two looks of who waits for it.
    """

    beat: float = 10.0
    stale: float = 60.0
    look: float = 1.0


PACE = Pace()


@contextlib.contextmanager
def leased(store: Store, pace: Pace, tell: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease of a store while this block runs. Raises LockTaken when another run gives signs of life."""
    lease = Lease(store, pace, tell)
    try:
        lease.acquire()
        yield lease
    finally:
        lease.release()


class Lease:
    """One run's lease of a store.

    Args:
        store: Where.
        pace: How often its holder gives a sign of life.
        tell: Is told in a sentence when it has to be waited for.
    """

    def __init__(self, store: Store, pace: Pace, tell: Callable[[str], None]) -> None:
        self._store, self._pace, self._tell = store, pace, tell
        self._number = -1
        self._beaten = 0.0
        self._lost: LockLost | None = None
        self._ended = threading.Event()
        self._turn = threading.Lock()  # one sign of life at a time, and none after the end
        self._heart = threading.Thread(target=self._keep_beating, name="vitscope lease", daemon=True)

    def acquire(self) -> None:
        """Take the lease: at once where nobody holds it, and after a while where its holder gives no sign of life.

        Raises LockTaken when there is a sign of life.
        """
        while True:
            number, content = self._highest()
            if number >= 0 and (content is None or not self._is_free(number, content)):
                continue
            if self._take(number + 1):
                break
        self._heart.start()

    def check(self) -> None:
        """Raise LockLost when another run has taken over, or may have."""
        if self._lost is None and time.monotonic() - self._beaten > 2 * self._pace.beat:
            with contextlib.suppress(OutputError, StorageError):
                self._beat()  # this process may have slept
        if self._lost is None and time.monotonic() - self._beaten > self._pace.stale:
            self._lost = LockLost(
                f"no sign of life reached {self._store.name} for {self._pace.stale:g} s, so another run may have taken "
                "over; run it again"
            )
        if self._lost is not None:
            raise self._lost

    def release(self) -> None:
        """Give the lease back, so that the next run need not wait."""
        self._ended.set()
        # Not for ever: a sign of life may hang in the network.
        if self._turn.acquire(timeout=self._pace.beat):
            try:
                with contextlib.suppress(OutputError, StorageError):
                    if self._number >= 0 and self._lost is None and self._highest()[0] <= self._number:
                        self._store.put(_path(self._number), _content(over=True))
            finally:
                self._turn.release()

    def _take(self, number: int) -> bool:
        """Create an object; whether it is this run's, and the highest."""
        begun, content = time.monotonic(), _content()
        try:
            # An answer may get lost on its way, and a second try then finds our own object.
            if not self._store.create(_path(number), content) and self._read(number) != content:
                return False
            numbers = self._numbers()
            if max(numbers, default=-1) > number:
                self._store.remove(_path(number))
                return False
            for lower in numbers:
                if lower < number:
                    self._store.remove(_path(lower))
        except BaseException:
            with contextlib.suppress(OutputError, StorageError):
                if self._read(number) == content:
                    self._store.put(_path(number), _content(over=True))
            raise
        self._number, self._beaten = number, begun
        return True

    def _is_free(self, number: int, content: bytes) -> bool:
        """Wait for a sign of life: True when none comes or its holder has ended, False when another one holds by now.

        Raises LockTaken at a sign of life.
        """
        if _is_over(content):
            return True
        since = time.monotonic()
        self._tell(
            f"waiting up to {self._pace.stale:g} s to see whether the run {_named(content)} is still at work in "
            f"{self._store.name}"
        )
        while time.monotonic() - since < self._pace.stale:
            time.sleep(self._pace.look)
            highest, now = self._highest()
            if highest != number or now is None:
                return False
            if _is_over(now):
                return True
            if now != content:
                raise LockTaken(
                    f"another run {_named(now)} works in {self._store.name}; wait for its end, or end it"
                )
        return True

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._pace.beat) and self._lost is None:
            # What fails once may work the next time; if not, check() sees how long it has failed.
            with contextlib.suppress(OutputError, StorageError):
                self._beat()

    def _beat(self) -> None:
        with self._turn:
            if self._ended.is_set() or self._lost is not None:
                return
            begun = time.monotonic()
            highest, content = self._highest()
            if highest > self._number:
                self._lost = LockLost(
                    f"another run {_named(content)} took over {self._store.name}; let that one go on, or end it "
                    "and run this one again"
                )
                return
            if highest < self._number:
                # To write it again would leave an object where nothing else is left.
                self._lost = LockLost(
                    f"the lease of {self._store.name} was removed, so another run may work there; let only one go on"
                )
                return
            self._store.put(_path(self._number), _content())
            self._beaten = begun

    def _numbers(self) -> list[int]:
        found = (_NAME.fullmatch(name) for name in self._store.list(LEASE))
        return [int(name[1]) for name in found if name is not None]

    def _highest(self) -> tuple[int, bytes | None]:
        """The number that holds, -1 when there was never any, and its content, None when it is not there any more."""
        number = max(self._numbers(), default=-1)
        return number, None if number < 0 else self._read(number)

    def _read(self, number: int) -> bytes | None:
        try:
            return self._store.read(_path(number))
        except MissingError:
            return None


def _path(number: int) -> str:
    return f"{LEASE}/{number:06d}.json"


def _content(*, over: bool = False) -> bytes:
    note = {"sign": uuid.uuid4().hex, "process": os.getpid(), "host": socket.gethostname(), "over": over}
    return json.dumps(note).encode()


def _note(content: bytes | None) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError):
        note = json.loads(content or b"")
        if isinstance(note, dict):
            return note
    return {}


def _is_over(content: bytes) -> bool:
    return _note(content).get("over") is True


def _named(content: bytes | None) -> str:
    note = _note(content)
    return f"(process {note.get('process', '?')} on {note.get('host', '?')})"
