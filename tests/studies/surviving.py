"""A study that was made once, and runs of it in processes that can be killed at any step.

Most of what is tested here is how a study is written. So a run can take what the model said of each shard from memory
(``Finished.replayed``) and then encodes, writes and records it as any other run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

import vitscope as vs
from tests.studies.worlds import CODER, QUICK, files_of, folder_of_pictures, made
from vitscope.studies import PatternsChoice, Sizes, Study, worker
from vitscope.studies.worker import Worker

PICTURES, BAD = 5, 1
EVERY_STAGE: Mapping[str, Any] = {
    "explain": {},
    "evaluate": {"protocol": QUICK, "controls": ("uniform",)},
    "importance": {"replacement": "mean", "representation": "none", "exact": False},
    "strength": {},
    "patterns": PatternsChoice(per_head=2, k=2, repeats=0, display="pca", autoencoder=CODER),
}
"""Every stage and every kind of file, at little cost."""


@dataclass
class FinishedOnce:
    """created: a study as ``create`` left it. place: the same, finished. pictures: its folder. said: by stage and
    shard, what was computed. expected: every file of its results."""

    vit: vs.Vit
    pictures: Path
    created: Path
    place: Path
    said: dict[tuple[str, int], tuple[Any, ...]]
    expected: dict[str, bytes]

    def copy(self, place: Path, *, finished: bool = False) -> Study:
        """The study elsewhere, with nothing computed, or finished."""
        shutil.copytree(self.place if finished else self.created, place, dirs_exist_ok=True)
        return Study.open(place, vit=self.vit)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Shards are written from memory."""

        def shard(this: Worker, stage: Any, number: int, check: Callable[[], None], clock: Any) -> Any:
            check()
            outputs, skipped, contents = self.said[stage.name, number]
            return this._write(stage, number, outputs, skipped, contents, clock)

        def reduced(stage: Any, *_: object) -> Any:
            return self.said[stage.name, 0][0]["states"].states

        with mock.patch.object(Worker, "_shard", shard), mock.patch.object(worker, "reduce_stage", reduced):
            yield


def finish_once(folder: Path) -> FinishedOnce:
    """Make a study with every analysis, of pictures of which one is none, and finish it."""
    pictures = folder_of_pictures(folder / "pictures", PICTURES, bad=BAD)
    vit = vs.open_model("bundled/shapes")
    made(
        folder / "created",
        pictures,
        methods=["gmar"],
        analyses=EVERY_STAGE,
        arrays=("maps", "flow", "class_rows", "attention"),
        sizes=Sizes(shard_size=2, batch_size=2, threads=1),
    )
    shutil.copytree(folder / "created", folder / "finished")
    said: dict[tuple[str, int], tuple[Any, ...]] = {}
    real = Worker._write

    def remembered(
        this: Worker, stage: Any, shard: int, outputs: Any, skipped: Any, contents: Any, clock: Any
    ) -> Any:
        said[stage.name, shard] = (outputs, skipped, contents)
        return real(this, stage, shard, outputs, skipped, contents, clock)

    with mock.patch.object(Worker, "_write", remembered):
        assert Study.open(folder / "finished", vit=vit).run().whole
    return FinishedOnce(
        vit, pictures, folder / "created", folder / "finished", said, files_of(folder / "finished")
    )


STEPS = ("open", "write", "fsync", "replace", "link", "unlink", "close", "fdopen")
"""What the system is asked on the way of a file to its place."""


def forked(work: Callable[[], object]) -> int:
    """Do work in a process of its own, with all that is loaded here; its number. It ends with 0 when it is done."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.alarm(120)
            torch.set_num_threads(1)  # threads do not come along
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def killed_at_step(work: Callable[[], object], step: int) -> bool:
    """Do work in a process of its own that dies by SIGKILL before so many steps of its files; whether it died of it."""

    def counted() -> None:
        _count_down(step)
        work()

    _, status = os.waitpid(forked(counted), 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _count_down(step: int) -> None:
    left = [step]
    for name in STEPS:
        real = getattr(os, name)

        def counted(*given: Any, real: Any = real, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **named)

        setattr(os, name, counted)


def records_of(place: Path) -> set[str]:
    """The records that lie there."""
    return {path.relative_to(place).as_posix() for path in place.glob("shards/*/*.json")}


def started(place: Path) -> list[str]:
    """The records of all shards that runs have started, in the order of each run."""
    found = []
    for path in place.glob("events/*.jsonl"):
        for line in path.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event["event"] == "shard_start":
                found.append(f"shards/{event['stage']}/{event['shard']:06d}.json")
    return found


def left_behind(place: Path) -> list[str]:
    """What a finished study should not have."""
    return [str(path) for path in [*place.rglob("*.part"), *place.glob("attempts/*/*")]]


def mount(place: Path, *options: str) -> None:
    """Mount, or skip the test where that is not allowed."""
    place.mkdir(exist_ok=True)
    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no right to mount: {done.stderr.strip()}")


@contextmanager
def disk_of(place: Path, size: str) -> Iterator[Path]:
    """A file system in memory."""
    mount(place, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True)
