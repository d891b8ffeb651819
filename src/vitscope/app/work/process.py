"""The server's end of the model's process: started anew whenever it is gone."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from vitscope.app.model.opening import Opening
from vitscope.app.work.messages import End, Message, Order, Stop
from vitscope.app.work.worker import work

PATIENCE = 5.0
"""Seconds in which the process may end by itself."""


class ModelProcess:
    """One process that owns the model.

    Args:
        opening: How it opens the model.
        hear: Called with every message, on a thread of its own.
        gone: Called once, on that thread, when the process has ended by itself.
    """

    def __init__(
        self, opening: Opening, hear: Callable[[Message], object], gone: Callable[[], object]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=work, args=(theirs, opening), daemon=True, name="vitscope model"
        )
        self._process.start()
        theirs.close()  # with it the end of the process is the end of the connection
        self._hear, self._gone, self._ended = hear, gone, False
        self._thread = threading.Thread(target=self._listen, args=(self._connection,), daemon=True)
        self._thread.start()

    @property
    def number(self) -> int | None:
        """The process's number in the system."""
        return self._process.pid

    def send(self, message: Order | Stop | End) -> None:
        """Tell the process; nothing happens where it is gone, which is told apart."""
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def end(self) -> None:
        """End it, whatever it does."""
        self._ended = True
        self.send(End())
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(PATIENCE)
        self._connection.close()

    def _listen(self, connection: Connection) -> None:
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                break
            self._hear(message)
        if not self._ended:
            self._process.join(PATIENCE)
            self._gone()
