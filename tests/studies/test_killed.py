"""Runs that are ended from outside: killed at any step, asked to end, cancelled."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.studies.surviving import FinishedOnce, forked, killed_at_step, left_behind, records_of, started
from tests.studies.worlds import files_of
from vitscope.errors import Cancelled, LockTaken
from vitscope.progress import Callback
from vitscope.studies import Study
from vitscope.studies.worker import Worker

KILLS = 20


def test_killed_at_any_step_it_goes_on_to_the_same_bytes(once: FinishedOnce, tmp_path: Path) -> None:
    draw = random.Random(0)
    kills = studies = 0
    while kills < KILLS:
        place = tmp_path / str(studies)
        study = once.copy(place)
        studies += 1
        before: dict[str, int] = {}
        with once.replayed():
            # A run takes 700 steps, its largest shard 200: most lives finish one or two.
            while killed_at_step(study.run, draw.randint(1, 330)):
                kills += 1
                begun = started(place)
                assert all(begun.count(name) == times for name, times in before.items()), "done again"
                assert before.keys() <= records_of(place), "a finished shard was lost"
                before = {name: begun.count(name) for name in records_of(place)}
            assert study.run().shards == 0
        assert study.status(verified=True).faults == ()
        assert files_of(place) == once.expected
        assert left_behind(place) == []


def test_killed_from_outside_with_the_model_at_work(once: FinishedOnce, tmp_path: Path) -> None:
    study = once.copy(tmp_path / "study")
    draw = random.Random(1)
    killed = []
    for _ in range(3):
        child = forked(study.run)
        time.sleep(0.05 + draw.random() * 1.5)
        os.kill(child, signal.SIGKILL)
        killed.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL)
    assert killed[0]
    child = forked(study.run)
    assert os.waitpid(child, 0)[1] == 0
    assert study.status().finished
    assert files_of(tmp_path / "study") == once.expected
    assert left_behind(tmp_path / "study") == []


def test_a_shard_that_kills_its_process_goes_last(once: FinishedOnce, tmp_path: Path) -> None:
    study = once.copy(tmp_path / "study")
    real = Worker._write

    def deadly(this: Worker, stage: object, shard: int, *more: object) -> object:
        if (stage.name, shard) == ("means", 1):  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGKILL)
        return real(this, stage, shard, *more)  # type: ignore[arg-type]

    with once.replayed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_write", deadly)
        assert killed_at_step(study.run, 10**9)
        assert records_of(tmp_path / "study") == {"shards/means/000000.json"}
        for _ in range(5):  # and is never given up for it: the user may have killed the process
            assert killed_at_step(study.run, 10**9)
        assert records_of(tmp_path / "study") == {f"shards/means/{shard:06d}.json" for shard in (0, 2)}
        assert study.status().stages[0].died == (1,) and not study.status().stages[0].failed
    with once.replayed():
        assert study.run().whole
    assert files_of(tmp_path / "study") == once.expected and left_behind(tmp_path / "study") == []


def ended_in_the_middle(study: Study, how: str, out: int) -> None:
    """Run a study, say so when its second batch is at work, and wait for the end or bring it about."""
    real, number = Worker._of_batch, [0]

    def slow(*given: Any) -> Any:
        number[0] += 1
        if number[0] == 2:
            os.write(out, b"middle\n")
            if how == "SIGTERM":
                time.sleep(60)
            else:
                signal.raise_signal(signal.SIGINT)
        return real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_of_batch", slow)
        try:
            study.run()
        except KeyboardInterrupt:
            kept = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            os.write(out, f"interrupted {kept}\n".encode())


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ended_in_the_middle_it_leaves_whole_shards_only(
    once: FinishedOnce, tmp_path: Path, name: str
) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    from_child, to_us = os.pipe()
    child = forked(lambda: ended_in_the_middle(study, name, to_us))
    os.close(to_us)
    with open(from_child) as told:
        assert told.readline() == "middle\n"
        if name == "SIGTERM":
            with pytest.raises(LockTaken, match=rf"another run \(process {child} on [^\n]+ works in [^\n]+;"):
                study.run()
            os.kill(child, signal.SIGTERM)
        assert told.read() == "interrupted True\n"
    os.waitpid(child, 0)
    assert records_of(place) == {"shards/means/000000.json"}
    assert left_behind(place) == []
    assert study.status(verified=True).faults == ()
    with once.replayed():  # and the lock is free
        assert study.run().whole
    assert files_of(place) == once.expected


def test_cancelled_it_leaves_whole_shards_only(once: FinishedOnce, tmp_path: Path) -> None:
    study = once.copy(tmp_path / "study")
    seen: list[int] = []

    def tell(stage: str, done: int, total: int) -> None:
        seen.append(done)

    with once.replayed():
        with pytest.raises(Cancelled):
            study.run(progress=Callback(tell, cancelled=lambda: bool(seen) and seen[-1] >= 2))
        assert records_of(tmp_path / "study") == {"shards/means/000000.json"}
        assert left_behind(tmp_path / "study") == []
        assert study.run().whole
    assert files_of(tmp_path / "study") == once.expected


def test_events_are_lines_whatever_was_killed(once: FinishedOnce, tmp_path: Path) -> None:
    study = once.copy(tmp_path / "study")
    with once.replayed():
        lives = next(life for life in itertools.count(1) if not killed_at_step(study.run, 97 * life))
    assert lives > 2
    for path in (tmp_path / "study" / "events").iterdir():
        for line in path.read_bytes().splitlines():
            assert {"t", "run", "event", "worker"} <= json.loads(line).keys()
    assert study.status().finished
