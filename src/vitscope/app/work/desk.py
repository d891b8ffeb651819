"""The queue before the model's process: equal questions are one, short ones come first, nobody's are given up.

Everything here runs on the event loop's thread; what the process says comes in through ``call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence

from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import Asked
from vitscope.app.model.facts import Facts
from vitscope.app.model.opening import Opening
from vitscope.app.model.recent import Recent
from vitscope.app.work.job import Job, JobFailed, State
from vitscope.app.work.messages import Advanced, Done, Failed, Message, Order, Refused, Stop
from vitscope.app.work.process import ModelProcess

REMEMBERED = 50
"""Jobs that are listed after they are over."""
STARTS = 3
"""How often in a row the process may end without an answer before it is given up."""
DIED = (
    "the model's process ended while it computed this (it was killed, or out of memory); it is started again, try "
    "once more"
)


class Desk:
    """Questions in, answers out.

    Args:
        opening: How the model is opened.
        cap: Bytes of answers that are kept.
        changed: Called whenever a job or what is kept has changed.
        methods: Those that a study beside the model keeps maps of.
    """

    def __init__(
        self, opening: Opening, cap: int, changed: Callable[[], object], methods: Sequence[str] = ()
    ) -> None:
        self.opening = opening
        self.kept: Recent[Answer] = Recent(cap, lambda answer: len(answer.content))
        self.jobs: deque[Job] = deque(maxlen=REMEMBERED)
        self.facts: Facts | None = None
        self.refused: str | None = None
        self._changed = changed
        self._methods = methods
        self._numbers = itertools.count(1)
        self._live: dict[int, Job] = {}
        self._running: Job | None = None
        self._process: ModelProcess | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened = asyncio.Event()
        self._starts = 0

    # ---- the process -----------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the process; its facts come later."""
        self._loop = loop = asyncio.get_running_loop()
        process: ModelProcess

        def heard(message: Message) -> None:
            loop.call_soon_threadsafe(self._hear, process, message)

        def ended() -> None:
            loop.call_soon_threadsafe(self._end, process)

        self._starts += 1
        process = self._process = ModelProcess(self.opening, heard, ended)

    async def wait_opened(self) -> None:
        """Wait until the model is open, or cannot be."""
        await self._opened.wait()

    async def opened(self) -> Facts:
        """What is known of the model, as soon as it is open. Raises JobFailed where it cannot be opened."""
        await self.wait_opened()
        if self.facts is None:
            raise JobFailed("model", self.refused or "the model cannot be opened")
        return self.facts

    def give_up(self) -> None:
        """Tell everybody who waits that there will be no answer."""
        self.refused = "the server ends"
        self._opened.set()
        for job in list(self._live.values()):
            self._finish(job, "cancelled", JobFailed("cancelled", self.refused))

    async def close(self) -> None:
        """End the process, and everything that waits for it."""
        process, self._process = self._process, None
        self.give_up()
        if process is not None:
            await asyncio.to_thread(process.end)

    @property
    def number(self) -> int | None:
        """The process's number in the system."""
        return None if self._process is None else self._process.number

    # ---- questions -------------------------------------------------------------------------------------------
    async def ask(self, asked: Asked, expected: float = 0.0) -> Answer:
        """The answer, kept or computed.

        Args:
            asked: The question.
            expected: How many seconds it will take: short ones come first.

        Raises:
            JobFailed: There is no answer.
            asyncio.CancelledError: The one who asked is gone; the job ends with the last one that waits for it.
        """
        kept = self.kept.get(asked.tag)
        if kept is not None:
            return kept
        if self.refused is not None:
            raise JobFailed("model", self.refused)
        job = self._same(asked.tag) or self._add(asked, expected)
        job.waiting += 1
        try:
            return await asyncio.shield(job.answer)
        finally:
            job.waiting -= 1
            if not job.waiting and job.live:
                self.cancel(job)

    def find(self, number: int) -> Job | None:
        """The job of a number, where it is still listed."""
        return next((job for job in self.jobs if job.number == number), None)

    def cancel(self, job: Job) -> None:
        """End a job; whoever waits for it is told so."""
        if not job.live:
            return
        if job is self._running and self._process is not None:
            job.stopping = True
            self._process.send(Stop(job.number))
            return
        self._finish(job, "cancelled", JobFailed("cancelled", "this was cancelled; ask again to compute it"))

    # ---- inside ----------------------------------------------------------------------------------------------
    def _same(self, tag: str) -> Job | None:
        """An equal question that is on its way, and not about to be given up."""
        return next((job for job in self._live.values() if job.tag == tag and not job.stopping), None)

    def _add(self, asked: Asked, expected: float) -> Job:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_looked_at)
        job = Job(next(self._numbers), asked.tag, asked, expected, future)
        self._live[job.number] = job
        self.jobs.append(job)
        self._next()
        self._changed()
        return job

    def _next(self) -> None:
        """Hand the shortest waiting question on, when the process is free."""
        if self._running is not None or self._process is None or not self._opened.is_set():
            return
        waiting = [job for job in self._live.values() if job.state == "waiting"]
        if not waiting:
            return
        job = min(waiting, key=lambda each: (each.expected, each.number))
        job.state, self._running = "running", job
        self._process.send(Order(job.number, job.asked))

    def _hear(self, process: ModelProcess, message: Message) -> None:
        if process is not self._process:
            return
        if isinstance(message, Facts):
            self.facts = message.beside(self._methods)
            self._opened.set()
        elif isinstance(message, Refused):
            self._refuse(message.message)
        else:
            self._hear_of_job(message)
        self._next()
        self._changed()

    def _hear_of_job(self, message: Advanced | Done | Failed) -> None:
        job = self._running
        if job is None or job.number != message.job:
            return
        if isinstance(message, Advanced):
            job.stage, job.done, job.total = message.stage, message.done, message.total
            return
        self._running, self._starts = None, 0
        if isinstance(message, Done):
            job.seconds = message.seconds
            self.kept.put(job.tag, message.answer)
            self._finish(job, "done", message.answer)
        else:
            state: State = "cancelled" if message.kind == "cancelled" else "failed"
            self._finish(job, state, JobFailed(message.kind, message.message))

    def _end(self, process: ModelProcess) -> None:
        """The process is gone: its job is told so, and the next ones wait for a new process."""
        if process is not self._process:
            return
        job, self._running, self._process = self._running, None, None
        if job is not None:
            failure = JobFailed("cancelled" if job.stopping else "died", DIED)
            self._finish(job, "cancelled" if job.stopping else "failed", failure)
        if self.refused is None and self._starts < STARTS:
            self._opened.clear()
            self.start()
        elif self.refused is None:
            self._refuse(f"the model's process ended {STARTS} times in a row; start vitscope serve again")
        self._changed()

    def _refuse(self, message: str) -> None:
        self.refused = message
        self.facts = None
        self._opened.set()
        for job in list(self._live.values()):
            self._finish(job, "failed", JobFailed("model", message))

    def _finish(self, job: Job, state: State, outcome: Answer | JobFailed) -> None:
        job.state = state
        self._live.pop(job.number, None)
        if isinstance(outcome, JobFailed):
            job.message = str(outcome)
            if not job.answer.done():
                job.answer.set_exception(outcome)
        elif not job.answer.done():
            job.answer.set_result(outcome)


def _looked_at(future: asyncio.Future[Answer]) -> None:
    """A failure that nobody waits for any more is no fault of the program."""
    if not future.cancelled():
        future.exception()
