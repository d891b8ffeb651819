"""One run at a time in a store.

On a disk the system's own lock says who works there: it is free as soon as its holder is gone, however it ended. Where
other machines may work, too, a lease does. Both only spare double work: whoever writes results writes them whole, and
the same ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from vitscope.errors import LockLost, LockTaken, OutputError, StorageError
from vitscope.storage.stores import faults
from vitscope.storage.stores.disk import LocalStore
from vitscope.storage.stores.lease import PACE, Pace, leased
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
        lease: Take the lease on a local disk, too: for runs whose workers are on several machines. On a disk of the
            network it is always taken.
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
    with contextlib.ExitStack() as stack:
        held: list[Hold] = []
        if not alone and not store.alone:
            by_lease = lease or not isinstance(store, LocalStore) or store.on_a_network
            if isinstance(store, LocalStore):
                held.extend(stack.enter_context(_locked(store, must=not by_lease)))
            if by_lease:
                held.append(stack.enter_context(leased(store, pace, tell)))
        yield _Held(held)


class _Held:
    """All that keeps others out; nothing for a run that is alone."""

    def __init__(self, held: Sequence[Hold]) -> None:
        self._held = held

    def check(self) -> None:
        """Raise when one of them is lost."""
        for each in self._held:
            each.check()


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
def _locked(store: LocalStore, *, must: bool) -> Iterator[list[_Lock]]:
    """The system's lock; none where the file system has no locks and a lease does for it, too."""
    import filelock

    store.exists(LOCK)  # filelock would make a root that is gone
    lock = filelock.FileLock(store.url(LOCK), timeout=0, thread_local=False)
    words = ""
    try:
        lock.acquire()
    except filelock.Timeout:
        raise LockTaken(
            f"another run{_holder(store)} works in {store.name}; wait for its end, or end it"
        ) from None
    except (OSError, NotImplementedError) as error:
        words = getattr(error, "strerror", None) or str(error)
        if isinstance(error, OSError) and (why := faults.why(error)) is not None:
            raise faults.fault("lock the folder", store.name, words, why) from None
    try:
        if isinstance(lock, filelock.SoftFileLock):  # what filelock falls back on would outlive a kill
            words = "the system has no lock there"
        if words and must:
            raise OutputError(
                f"the file system of {store.name} cannot keep two runs apart ({words}); "
                "use another disk, or --i-am-alone when no other run works there"
            )
        held = [] if words else [_Lock(store)]
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
