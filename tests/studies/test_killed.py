"""Runs that are ended from outside: killed at any step, asked to end, cancelled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.studies.surviving import FinishedOnce, killed_at_step, left_behind, records_of, started
from tests.studies.worlds import files_of
from vitscope.errors import Cancelled, LockTaken
from vitscope.progress import Callback
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


LIVES = """
import json, os, random, signal, sys, time
import torch
torch.set_num_threads(1)
import vitscope as vs
place, lives = sys.argv[1], int(sys.argv[2])
vit = vs.open_model("bundled/shapes")
draw = random.Random(1)
for life in range(lives):
    child = os.fork()
    if child == 0:
        vs.Study.open(place, vit=vit).run()
        os._exit(0)
    time.sleep(0.05 + draw.random() * 1.5)
    os.kill(child, signal.SIGKILL)
    print(os.WIFSIGNALED(os.waitpid(child, 0)[1]), flush=True)
print(vs.Study.open(place, vit=vit).run().whole)
"""


def test_killed_from_outside_with_the_model_at_work(once: FinishedOnce, tmp_path: Path) -> None:
    once.copy(tmp_path / "study")
    done = subprocess.run(
        [sys.executable, "-c", LIVES, str(tmp_path / "study"), "3"], capture_output=True, text=True
    )
    told = done.stdout.split()
    assert told[0] == told[-1] == "True", done.stderr
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


ENDED = """
import os, signal, sys, time
import torch
torch.set_num_threads(1)
import vitscope as vs
from vitscope.studies.worker import Worker
vit = vs.open_model("bundled/shapes")
study = vs.Study.open(sys.argv[1], vit=vit)
real, number = Worker._of_batch, [0]
def slow(*given):
    number[0] += 1
    if number[0] == int(sys.argv[3]):
        print("middle", flush=True)
        if sys.argv[2] == "SIGTERM":
            time.sleep(60)
        else:
            signal.raise_signal(signal.SIGINT)
    return real(*given)
Worker._of_batch = slow
try:
    study.run()
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ended_in_the_middle_it_leaves_whole_shards_only(
    once: FinishedOnce, tmp_path: Path, name: str
) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    child = subprocess.Popen(
        [sys.executable, "-c", ENDED, str(place), name, "2"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "middle\n"
    if name == "SIGTERM":
        with pytest.raises(LockTaken, match=rf"another run \(process {child.pid} on [^\n]+ works in [^\n]+;"):
            study.run()
        child.terminate()
    assert child.communicate()[0] == "interrupted True\n"
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
        while killed_at_step(study.run, 97):
            pass
    for path in (tmp_path / "study" / "events").iterdir():
        for line in path.read_bytes().splitlines():
            assert {"t", "run", "event", "worker"} <= json.loads(line).keys()
    assert study.status().finished
