"""Work that is done ahead of its use by threads: in order, no more than a few results at a time, the same results."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")
Stopped = Callable[[], bool]
"""Whether nobody waits for the result any more: a long task asks in between and may end early."""


def ahead(
    tasks: Iterable[Callable[[Stopped], Result]], threads: int, waiting: int | None = None
) -> Generator[Result, None, None]:
    """The results of tasks, in order, made by threads while the caller is busy with those before.

    What a task raises is raised where its result would have come. When the caller stops early, for whatever reason
    (Ctrl-C, too), tasks that were not begun are dropped, those at work are told, and all threads have ended when the
    iterator is closed.

    Args:
        tasks: Called once each with a question whether to stop; taken one by one, as there is room.
        threads: How many threads work; 0 calls each task when its result is asked for.
        waiting: How many finished results may wait; default: as many as there are threads.

    Yields:
        The result of each task.

    Example:
        >>> list(ahead(((lambda stopped, number=number: number**2) for number in range(5)), threads=2))
        [0, 1, 4, 9, 16]
    """
    if threads < 1:
        for task in tasks:
            yield task(lambda: False)
        return
    stop = threading.Event()
    most = threads + (threads if waiting is None else waiting)
    given = iter(tasks)
    begun: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="vitscope-pictures")
    try:
        while True:
            for task in itertools.islice(given, most - len(begun)):
                begun.append(pool.submit(task, stop.is_set))
            if not begun:
                return
            yield begun.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
