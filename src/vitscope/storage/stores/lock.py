"""One run at a time in a store.

On a disk of this machine the system's own lock says who works there: it is free as soon as its holder is gone, however
it ended. Elsewhere a lease does. Both only spare double work: whoever writes results writes them whole, and the same
ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

from vitscope.errors import LockLost, LockTaken, OutputError, StorageError
from vitscope.storage.stores import faults
from vitscope.storage.stores.disk import LocalStore
from vitscope.storage.stores.lease import PACE, Lease, Pace
from vitscope.storage.stores.store import Store

LOCK, HOLDER = ".lock", ".lock.json"


class Hold(Protocol):
    """What a run has while no other one may work in its store."""

    def check(self) -> None:
        """Raise LockLost when another run has taken over, StoreFault when the place is gone."""


@contextlib.contextmanager
def hold(
    store: Store,
    *,
    alone: bool = False,
    lease: bool = False,
    pace: Pace = PACE,
    tell: Callable[[str], None] = lambda words: None,
) -> Iterator[Hold]:
    """Let no other run work in a store while this block runs.

    Args:
        store: Its root and folders are there (``make_root``).
        alone: The user says that no other run works there: nothing is locked.
        lease: Take the lease on a local disk, too: for runs whose workers are on several machines.
        pace: How often a lease is renewed, and after how long it is another's.
        tell: Is told in a sentence when it has to be waited for.

    Returns:
        What says whether the run still holds the store; ask before anything is finished.

    Raises:
        LockTaken: another run works there; the message says which.
        OutputError: the place cannot keep runs apart, and nobody has said that this one is alone.

    Example:
        >>> from vitscope.storage.stores import open_store
        >>> with hold(open_store("memory://held")) as held:
        ...     held.check()
    """
    if alone or store.alone:
        yield _Nothing()
    elif isinstance(store, LocalStore) and not lease and not store.on_a_network:
        with _locked(store) as lock:
            yield lock
    else:
        held = Lease(store, pace, tell)
        try:
            held.acquire()
            yield held
        finally:
            held.release()


class _Nothing:
    def check(self) -> None:
        """Nothing can be lost."""


class _Lock:
    """The system's lock on a file, which lies there for ever and means nothing by itself."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._file = self._identity()

    def check(self) -> None:
        """Raise when the file that is locked is not the one that lies there."""
        if self._identity() != self._file:
            raise LockLost(
                f"the lock of {self._store.name} was removed, so another run may work there; let only one go on"
            )

    def _identity(self) -> tuple[int, int] | None:
        if not self._store.exists(LOCK):
            return None
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(self._store.url(LOCK))
            return found.st_dev, found.st_ino
        return None


@contextlib.contextmanager
def _locked(store: LocalStore) -> Iterator[_Lock]:
    import filelock

    store.exists(LOCK)  # filelock would make a root that is gone
    lock = filelock.FileLock(store.url(LOCK), timeout=0, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise LockTaken(
            f"another run{_holder(store)} works in {store.name}; wait for its end, or end it"
        ) from None
    except (OSError, NotImplementedError) as error:
        words = getattr(error, "strerror", None) or str(error)
        why = faults.why(error) if isinstance(error, OSError) else None
        if why is not None:
            raise faults.fault("lock the folder", store.name, words, why) from None
        raise _cannot_lock(store, words) from None
    try:
        if isinstance(lock, filelock.SoftFileLock):  # what filelock falls back on would outlive a kill
            raise _cannot_lock(store, "the system has no lock there")
        held = _Lock(store)
        store.put(HOLDER, json.dumps(who()).encode())
        yield held
    finally:
        lock.release()


def who() -> dict[str, object]:
    """This process, as messages of other runs name it."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": now}


def _holder(store: Store) -> str:
    with contextlib.suppress(StorageError, ValueError, KeyError, TypeError):
        note = json.loads(store.read(HOLDER))
        return f" (process {note['process']} on {note['host']}, since {note['since']})"
    return ""


def _cannot_lock(store: Store, words: str) -> OutputError:
    return OutputError(
        f"the file system of {store.name} cannot keep two runs apart ({words}); "
        "use another disk, or --i-am-alone when no other run works there"
    )
