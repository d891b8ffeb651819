"""What happens during a run, for people and machines that watch it: one JSON object a line, a file for each writer.

Events hold what a clock says, and are no part of any result.
"""

from __future__ import annotations

import io
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from vitscope.errors import MissingError
from vitscope.storage.stores import Store
from vitscope.studies import layout

Listener = Callable[[dict[str, Any]], None]


class Events:
    """The events of one writer of a run.

    Args:
        store: The study's place.
        run: Identifies the run.
        writer: Distinguishes its workers; empty for the driver.
        listener: Told of every event, too.
    """

    def __init__(self, store: Store, run: str, writer: str = "", listener: Listener | None = None) -> None:
        self._store, self._run, self._listener = store, run, listener
        self._path = layout.events_file(f"{run}-{writer}" if writer else run)
        self._worker = f"{socket.gethostname()}:{os.getpid()}"

    def tell(self, event: str, **fields: Any) -> None:
        """Write one event."""
        values = {
            "t": round(time.time(), 3),
            "run": self._run,
            "event": event,
            **fields,
            "worker": self._worker,
        }
        self._store.append(self._path, json.dumps(values).encode() + b"\n")
        self.hear(values)

    def hear(self, event: dict[str, Any]) -> None:
        """Tell the listener of an event that is written already, by this process or another one."""
        if self._listener is not None:
            self._listener(event)


def read_events(store: Store, run: str | None = None) -> Iterator[dict[str, Any]]:
    """The events of one run or of all, file by file; lines that are cut off are left out."""
    for name in store.list(layout.EVENTS):
        if run is not None and not name.startswith(run):
            continue
        try:
            content = store.read(f"{layout.EVENTS}/{name}")
        except MissingError:
            continue
        for line in io.BytesIO(content):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event
