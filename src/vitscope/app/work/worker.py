"""The model's process: opens the model, answers one question after the other, and stops in the middle when told to.

A question is stopped as Ctrl-C stops a command: the library leaves the model as it was, at whatever line it is. Ctrl-C
itself, which reaches every process of a terminal, is left to the server.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import signal
import threading
import time
from multiprocessing.connection import Connection
from types import FrameType

import torch

from vitscope.app.answers.methods import methods_answer
from vitscope.app.answers.models import model_answer
from vitscope.app.model.bench import Bench
from vitscope.app.model.facts import Facts
from vitscope.app.model.opening import Opening
from vitscope.app.work.messages import Advanced, Done, End, Failed, Order, Refused, Stop
from vitscope.app.work.tasks import answer
from vitscope.errors import Cancelled, MissingExtraError, VitscopeError, brief
from vitscope.progress import Callback
from vitscope.storage.recipe import digest_of
from vitscope.tracing.recipe import library_versions, model_identity

BETWEEN = 0.05
"""Seconds between two messages on how far a job is."""


def work(connection: Connection, opening: Opening) -> None:
    """What the process does until the server closes the connection, or is gone."""
    Worker(connection).run(opening)


class Worker:
    """The state of the process.

    Args:
        connection: To the server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._stopped: set[int] = set()
        self._current: int | None = None
        self._raised = False
        self._told = 0.0
        self._main = threading.get_ident()

    def run(self, opening: Opening) -> None:
        """Open the model, and answer. One core is left to the server and the browser, which wait for each other."""
        signal.signal(signal.SIGINT, self._interrupt)
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(min(torch.get_num_threads(), max(1, (os.cpu_count() or 1) - 1)))
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            bench = Bench(opening.open())
            facts = facts_of(bench)
        except Exception as error:
            known = isinstance(error, VitscopeError)
            self._connection.send(
                Refused(str(error) if known else f"the model cannot be opened ({brief(error)})")
            )
            return
        self._connection.send(facts)
        while (order := self._orders.get()) is not None:
            self._answer(bench, order)

    def _listen(self) -> None:
        """Take what the server sends, on a thread of its own; the process ends with the server."""
        try:
            while not isinstance(message := self._connection.recv(), End):
                if isinstance(message, Order):
                    self._orders.put(message)
                elif isinstance(message, Stop):
                    self._stopped.add(message.job)
                    signal.pthread_kill(self._main, signal.SIGINT)
        except (EOFError, OSError):
            pass
        os._exit(0)  # nobody waits for what is being computed

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Raised once for the job that is to stop, and never between two jobs."""
        if self._current in self._stopped and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def _answer(self, bench: Bench, order: Order) -> None:
        job = order.job
        if job in self._stopped:
            self._connection.send(_cancelled(job))
            return
        started = time.perf_counter()
        progress = Callback(
            lambda stage, done, total: self._tell(job, stage, done, total), lambda: job in self._stopped
        )
        told: Done | Failed
        try:
            self._raised, self._current = False, job
            found = answer(bench, order.asked, progress)
            self._current = None
            told = Done(job, found, time.perf_counter() - started)
        except KeyboardInterrupt:
            told = _cancelled(job)
        except Exception as error:
            told = _failure(job, error)
        self._current = None
        self._connection.send(told)

    def _tell(self, job: int, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == 0 or done == total or now - self._told > BETWEEN:
            self._told = now
            self._connection.send(Advanced(job, stage, done, total))


def facts_of(bench: Bench) -> Facts:
    """What the server must know of the model."""
    vit = bench.vit
    forward, backward = bench.warm()
    names = vit.class_names
    return Facts(
        model_answer(vit),
        methods_answer(vit.anatomy),
        None if names is None else tuple(names),
        vit.preprocessor,
        forward,
        backward,
        digest_of([model_identity(vit), library_versions()]),
        importlib.util.find_spec("av") is not None,
    )


def _cancelled(job: int) -> Failed:
    return Failed(job, "cancelled", "this was cancelled; ask again to compute it")


def _failure(job: int, error: Exception) -> Failed:
    if isinstance(error, Cancelled):
        return _cancelled(job)
    if isinstance(error, MissingExtraError):
        return Failed(job, "extra", str(error))
    if isinstance(error, VitscopeError):
        return Failed(job, "input", str(error))
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return Failed(job, "memory", f"out of memory ({brief(error)}); take a smaller model or fewer options")
    return Failed(job, "bug", f"{brief(error)}; this is a bug of vitscope")
