"""The engine of Ray gives the bits of the local one, whatever happens to its workers and to who leads them.

One cluster of two workers serves the file; one run starts a cluster of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vitscope as vs
from tests.servers import S3
from tests.studies import leading
from tests.studies.leading import PATIENCE, alive, leads, wait_for
from tests.studies.mischief import mischief
from tests.studies.worlds import EVERYTHING, files_of, folder_of_pictures, made
from vitscope.errors import LockTaken, MissingExtraError, SourceError, StoreFault
from vitscope.storage.stores import hold, open_store
from vitscope.studies import Retry, Study, StudyError
from vitscope.studies.engines import overdue, ray, ray_cluster
from vitscope.studies.events import read_events

pytest.importorskip("ray", reason="Ray is not installed")
REPOSITORY = Path(__file__).parents[2]
ARRAYS = ("maps", "flow", "class_rows")


@pytest.fixture(scope="module")
def cluster(s3: S3) -> Iterator[str]:
    """The address of a Ray of two workers, to which this process is connected as a user would be."""
    paths = [str(REPOSITORY), str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join(paths))
        environment.delenv("RAY_ADDRESS", raising=False)
        found = ray_cluster.Cluster(2, None, gpu=False)
        try:
            yield found.ray.get_runtime_context().gcs_address
        finally:
            found.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_pictures(tmp_path_factory.mktemp("pictures"), 19, bad=1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A study of five shards in which nothing is computed, of a model with half precision."""
    place = tmp_path_factory.mktemp("small") / "study"
    made(place, pictures, precision="bf16")
    return place


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, small: Path) -> dict[str, bytes]:
    """What the local engine makes of it."""
    place = tmp_path_factory.mktemp("expected") / "study"
    shutil.copytree(small, place)
    assert Study.open(place).run().whole
    return files_of(place)


@pytest.fixture
def place(tmp_path: Path, small: Path) -> Path:
    shutil.copytree(small, tmp_path / "study")
    return tmp_path / "study"


def events_in(place: Path, *kinds: str) -> list[dict[str, Any]]:
    return [event for event in read_events(open_store(place)) if event["event"] in kinds]


def test_every_analysis_has_the_bits_of_the_local_engine(cluster, tmp_path, s3) -> None:
    pictures = folder_of_pictures(tmp_path / "pictures", 7, bad=1)
    here, there = tmp_path / "here", tmp_path / "there"
    made(here, pictures, analyses=EVERYTHING, arrays=ARRAYS)
    shutil.copytree(here, there)
    bucket = f"{s3.bucket()}/study"
    in_bucket = open_store(bucket)
    names = [path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()]
    in_bucket.make_root([])
    for name in names:
        in_bucket.put(name, (here / name).read_bytes())
    assert Study.open(here).run().whole
    expected = files_of(here)
    assert len(expected) > 20 and any(name.startswith("shards/code/") for name in expected)

    handler = signal.getsignal(signal.SIGTERM)
    report = Study.open(there).run(engine="ray")
    assert report.whole and report.shards == 2 * 3 + 2 and report.skipped == 1
    assert files_of(there) == expected
    opened = Counter(event["worker"] for event in events_in(there, "opened"))
    assert set(opened.values()) == {1} and len(opened) <= 2

    assert Study.open(bucket).run(engine="ray", workers=2).whole
    assert {name: in_bucket.read(name) for name in expected} == expected
    assert {name.rsplit("-", 1)[0] for name in in_bucket.list("events")} - {"events"}
    import ray

    assert ray.is_initialized() and signal.getsignal(signal.SIGTERM) is handler


def test_a_listener_hears_of_everything_once(cluster, place) -> None:
    heard: list[dict[str, Any]] = []
    Study.open(place).run(engine="ray", listener=heard.append)
    assert sorted(event["shard"] for event in heard if event["event"] == "shard_done") == [0, 1, 2, 3, 4]
    assert [event["key"] for event in heard if event["event"] == "skip"] == ["000-bad.png"]
    written = Counter(json.dumps(event) for event in read_events(open_store(place)))
    assert Counter(map(json.dumps, heard)) == written
    assert heard[0]["event"] == "start" and heard[-1]["event"] == "end"
    workers = {event["worker"] for event in heard if event["event"] == "shard_done"}
    assert f":{os.getpid()}" not in "".join(workers)
    # The lease is taken as well: workers may be on machines that do not see a lock.
    assert open_store(place).list("lease")


def test_a_worker_that_is_killed_costs_its_one_shard_again(cluster, place, expected) -> None:
    heard: list[dict[str, Any]] = []
    with mischief(place, killed=1, once=True):
        report = Study.open(place).run(engine="ray", listener=heard.append)
    assert report.whole and report.shards == 5 and files_of(place) == expected
    starts = [(event["shard"], event["attempt"]) for event in events_in(place, "shard_start")]
    assert sorted(starts) == [(0, 1), (1, 1), (1, 2), (2, 1), (3, 1), (4, 1)]
    lost = [(event["shard"], event["times"]) for event in heard if event["event"] == "lost_worker"]
    assert lost == [(1, 1)]
    assert not list(place.glob("attempts/*/*"))


def test_a_shard_that_always_kills_its_worker_is_given_up_and_the_rest_finished(
    cluster, place, expected
) -> None:
    with mischief(place, crashes=1):
        report = Study.open(place).run(engine="ray", workers=2)
    assert report.failed == {("main", 1): "its worker died 3 times in this run"} and not report.whole
    assert report.shards == 4
    assert Counter(event["shard"] for event in events_in(place, "shard_start"))[1] == 3
    (stage,) = Study.open(place).status().stages
    assert (stage.done, dict(stage.failed)) == (4, {1: "its worker died 3 times in this run"})
    assert Study.open(place).run(engine="ray").failed == report.failed
    assert Study.open(place).run(engine="ray", retry=Retry(failed=True)).whole
    assert files_of(place) == expected


def test_a_shard_that_takes_far_too_long_is_begun_again(cluster, place, expected, monkeypatch) -> None:
    monkeypatch.setattr(overdue, "LEAST", 3.0)
    monkeypatch.setattr(overdue, "PATIENCE", 1.0)
    heard: list[dict[str, Any]] = []
    with mischief(place, hangs=1, once=True):
        assert Study.open(place).run(engine="ray", listener=heard.append).whole
    assert files_of(place) == expected
    told = [event["reason"] for event in heard if event["event"] == "retry" and event["shard"] == 1]
    assert any(re.fullmatch(r"it takes more than \d+ s", reason) for reason in told)  # 3 on a quick machine


def test_an_error_of_a_class_that_cannot_be_read_back_is_a_failed_shard(cluster, place) -> None:
    with mischief(place, unreadable=2):
        report = Study.open(place).run(engine="ray")
    assert (
        report.failed == {("main", 2): "Odd: of a class that no other process knows"} and report.shards == 4
    )


@pytest.mark.parametrize(
    ("kind", "error", "line"),
    [
        ("full", StoreFault, "the disk of the study is full (7 bytes were to be written); free some space"),
        ("unplugged", SourceError, "the place of the pictures does not answer; try again"),
    ],
)
def test_a_fault_of_a_place_ends_the_run_and_blames_no_shard(
    cluster, place, expected, monkeypatch, kind: str, error: type[Exception], line: str
) -> None:
    monkeypatch.setattr(ray, "GRACE", PATIENCE)
    with mischief(place, **{kind: 1}), pytest.raises(error) as caught:
        Study.open(place).run(engine="ray")
    # What is still to come is told when a shard has ended before.
    assert re.sub(r", about [^;]+ for the rest of the study(?=;)", "", str(caught.value)) == line
    assert error is not StoreFault or (caught.value.why, caught.value.needed) == ("full", 7)
    assert not list(place.glob("attempts/*/*.failed.json"))
    # Whoever computed another shard takes back what it began, on a busy machine after the run has ended.
    wait_for(lambda: not list(place.rglob("*.part")) and not list(place.glob("attempts/*/*")))
    assert Study.open(place).run().whole and files_of(place) == expected


def test_a_model_that_a_worker_cannot_open_ends_the_run(cluster, place) -> None:
    with pytest.raises(StudyError, match="nowhere"):
        Study.open(place).run(engine="ray", weights="/nowhere/weights.safetensors")
    assert not list(place.glob("attempts/*/*.failed.json"))


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_shards_at_once_than_asked_for(cluster, place, workers: int) -> None:
    with mischief(place, slow=0.3):
        Study.open(place).run(engine="ray", workers=workers)
    ends = [(event["t"], +1) for event in events_in(place, "shard_start")]
    ends += [(event["t"], -1) for event in events_in(place, "shard_done")]
    at_once = most = 0
    for _, step in sorted(ends):
        at_once += step
        most = max(most, at_once)
    assert most <= workers


def test_a_second_run_is_refused(cluster, place) -> None:
    with hold(open_store(place)), pytest.raises(LockTaken, match="another run"):
        Study.open(place).run(engine="ray")


def test_the_leading_process_may_be_killed(cluster, tmp_path, place, expected) -> None:
    def workers() -> set[int]:
        return {int(event["worker"].split(":")[1]) for event in events_in(place, "shard_start")}

    led = leads(place, 2.0, RAY_ADDRESS=cluster, **ray_cluster.OWN)
    try:
        wait_for(
            lambda: (
                (bool(list(place.glob("shards/main/*.json"))) and len(workers()) == 2)
                or led.poll() is not None
            )
        )
    finally:
        led.kill()
        out, err = led.communicate()
    assert led.returncode == -signal.SIGKILL, out + err
    seen = workers()
    assert len(seen) == 2
    wait_for(lambda: not any(map(alive, seen)))
    finished = len(list(place.glob("shards/main/*.json")))
    assert 1 <= finished < 5
    assert Study.open(place).run().shards == 5 - finished
    assert files_of(place) == expected


def test_a_cluster_of_its_own_is_seen_by_nobody_and_ends_with_the_run(
    cluster, tmp_path, place, expected
) -> None:
    psutil = pytest.importorskip("psutil")
    before = set(Path("/tmp").glob("vs-*"))
    home = tmp_path / "home"
    home.mkdir()
    led = leads(place, 1.0, HOME=str(home), MPLCONFIGDIR=str(tmp_path))
    out = err = ""
    own: set[Path] = set()
    try:
        wait_for(lambda: bool(list(place.glob("shards/main/*.json"))) or led.poll() is not None)
        started = psutil.Process(led.pid).children(recursive=True)
        listening = {
            connection.laddr.ip
            for process in [psutil.Process(led.pid), *started]
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert len(started) > 3 and listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}, listening
        own = {folder.parent for folder in Path("/tmp").glob("vs-*/session_*")} - before
        assert own
    finally:
        led.send_signal(signal.SIGINT)
        out, err = led.communicate(timeout=leading.PATIENCE)
    assert led.returncode == -signal.SIGINT, out + err
    assert json.loads(out.splitlines()[-1]) == {"ours": [], "kept": True}
    wait_for(lambda: not any(alive(process.pid) for process in started))
    assert not own & set(Path("/tmp").glob("vs-*")) and not (home / ".ray").exists()
    assert not list(place.rglob("*.part")) and not list(place.glob("attempts/*/*"))
    assert Study.open(place).run().whole and files_of(place) == expected


def test_a_model_that_only_its_maker_has_is_refused(tmp_path, pictures) -> None:
    study = made(tmp_path / "study", pictures, model=vs.open_model("bundled/shapes"))
    with pytest.raises(StudyError, match="workers of Ray open the model by its name"):
        study.run(engine="ray", workers=2)


def test_without_ray_a_line_says_what_to_install(place, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"the engine ray needs the package ray; install .*\[ray\]"):
        Study.open(place).run(engine="ray", workers=2)


def test_without_a_cluster_a_line_says_what_to_give(place, monkeypatch) -> None:
    unconnected = types.ModuleType("ray")
    unconnected.is_initialized = lambda: False  # type: ignore[attr-defined]
    unconnected.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "ray", unconnected)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_cluster, "_running_here", lambda: None)
    with pytest.raises(StudyError, match=r"there is no Ray cluster; give --workers N .* or --address"):
        Study.open(place).run(engine="ray")
