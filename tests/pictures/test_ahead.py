"""Work ahead of its use: the same results in the same order, few at a time, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.pictures.planned.making import Model, encoded, put
from vitscope.errors import PictureError
from vitscope.pictures import picture_source
from vitscope.pictures.ahead import Stopped, ahead


def workers() -> int:
    return sum(thread.name.startswith("vitscope-pictures") for thread in threading.enumerate())


def slow(number: int, stopped: Stopped) -> int:
    time.sleep(0.002 * (number % 3))  # so that later ones are finished before earlier ones
    return number


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_results_come_in_order(threads: int) -> None:
    tasks = [partial(slow, number) for number in range(20)]
    assert list(ahead(tasks, threads)) == list(range(20)) and workers() == 0
    assert list(ahead([], threads)) == []


def test_no_more_than_a_few_are_begun() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[Callable[[Stopped], int]]:
        for number in range(100):
            taken.append(number)
            yield partial(slow, number)

    results = ahead(tasks(), threads=2, waiting=3)
    for number in range(6):
        assert next(results) == number and len(taken) == 5 + number
    results.close()
    assert workers() == 0 and len(taken) == 10


def test_an_exception_is_raised_in_its_place() -> None:
    def work(number: int, stopped: Stopped) -> int:
        if number == 3:
            raise PictureError("the fourth is bad; leave it out")
        return number

    seen = []
    with pytest.raises(PictureError, match="the fourth is bad"):
        for number in ahead([partial(work, number) for number in range(9)], threads=3):
            seen.append(number)
    assert seen == [0, 1, 2] and workers() == 0


@pytest.mark.parametrize("how", [KeyboardInterrupt, GeneratorExit, ValueError])
def test_whoever_stops_early_leaves_no_thread(how: type[BaseException]) -> None:
    told = threading.Event()

    def work(number: int, stopped: Stopped) -> int:
        while number > 1 and not stopped():
            time.sleep(0.001)
        if number > 1:
            told.set()
        return number

    results = ahead([partial(work, number) for number in range(50)], threads=2)
    assert next(results) == 0
    with pytest.raises(how):
        results.throw(how("stop"))
    assert told.is_set() and workers() == 0


def test_batches_are_the_same(tmp_path: Path) -> None:
    files = {f"{n:02d}.png": encoded(n) for n in range(11)} | {"03.png": b"a letter", "07.png": b""}
    put(tmp_path, files)
    alone = picture_source(tmp_path, skip=True, labels=list(range(11)))
    wanted = list(alone.batches(Model(), 2))
    for threads in (1, 2, 4):
        source = picture_source(tmp_path, skip=True, labels=list(range(11)))
        source.threads = threads
        for again in (source, source.part(0, 11)):
            found = list(again.batches(Model(), 2))
            assert [batch.keys for batch in found] == [batch.keys for batch in wanted]
            assert all(torch.equal(a.images, b.images) for a, b in zip(found, wanted, strict=True))
            assert [batch.ids for batch in found] == [batch.ids for batch in wanted]
            assert list(again.skipped.items()) == list(alone.skipped.items()) and len(alone.skipped) == 2
        for _ in source.batches(Model(), 2):
            break
        assert workers() == 0
        source.skip = False
        with pytest.raises(PictureError, match=r"03\.png"):
            list(source.batches(Model(), 2))
        assert workers() == 0
