"""``vitscope study``: what a shell sees of making, running, looking at and exporting a study."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray

import vitscope as vs
from tests.cli.conftest import Shell
from tests.studies.worlds import folder_of_pictures
from vitscope.cli.commands.study import cost
from vitscope.cli.commands.study import run as run_command
from vitscope.studies import Estimate, Report, Study, status, worker
from vitscope.studies.estimate import LARGE_SECONDS

MODEL = ("--model", "bundled/shapes")
SMALL = ("--shard-size", 2, "--batch-size", 2, "--threads", 1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_pictures(tmp_path_factory.mktemp("pictures"), 4)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A study of two shards, nothing of which is computed; to be copied."""
    place = tmp_path_factory.mktemp("unfinished") / "study"
    sizes = vs.studies.Sizes(shard_size=2, batch_size=2, threads=1)
    Study.create(place, model="bundled/shapes", images=pictures, methods=["gmar"], sizes=sizes)
    return place


@pytest.fixture
def study(unfinished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(unfinished, tmp_path / "study"))


def lines(text: str) -> list[dict[str, Any]]:
    """Events, one a line."""
    return [json.loads(line) for line in text.splitlines()]


def test_create_says_what_it_will_cost(shell: Shell, pictures: Path, tmp_path: Path) -> None:
    place = tmp_path / "study"
    made = shell("study", "create", place, *MODEL, "--images", pictures, "--methods", "gmar", *SMALL)
    assert made.code == 0, made.err
    said = made.out.splitlines()
    assert said[0] == "pictures   4 in 2 shards"
    # One pass of gmar; the model is asked what it predicts from the same trace.
    estimate = Study.open(place).manifest.estimate
    forwards, backwards = estimate["forwards"], estimate["backwards"]
    assert backwards == 4
    assert said[1] == (
        f"passes     forward {forwards / 4:.4g} and backward 1 for each picture; {forwards} and {backwards} in all"
    )
    assert said[2].startswith("time       ") and " of the model and " in said[2] and " of reading" in said[2]
    assert " a picture; " in said[3] and said[3].endswith("are free")
    assert said[-1] == f"made {place}; compute it with: vitscope study run {place}"
    again = shell("study", "create", place, *MODEL, "--images", pictures, "--methods", "gmar", *SMALL)
    assert again.code == 1 and "already" in again.error


def test_every_option_reaches_the_study(shell: Shell, pictures: Path, tmp_path: Path) -> None:
    place = tmp_path / "study"
    made = shell(
        "study", "create", place, *MODEL, "--images", pictures / "000.png", "--images", pictures / "001.png",
        "--root", pictures, "--analyses", "explain,evaluate,importance,strength,patterns", "--methods", "gmar,daam",
        "-o", "gmar.norm=l2", "--metrics", "srg", "--steps", 2, "--random-draws", 3, "--removal", "mean",
        "--score", "probability", "--mean-colour", "0.5,0.5,0.5", "--target", "class:2", "--first-order",
        "--distance", "euclidean", "--per-head", 2, "-k", 2, "--epochs", 3, "--latent", 4, "--repeats", 0,
        "--form", "offset", "--coder", "autoencoder", "--arrays", "maps,flow,class_rows", "--clean",
        "--arrays-precision", "float32", "--seed", 7, "--max-pixels", 100_000, "--yes", "--json", *SMALL,
    )  # fmt: skip
    assert made.code == 0, made.err
    manifest = Study.open(place).manifest
    assert made.document["id"] == manifest.study and made.document["estimate"]["pictures"] == 2
    assert made.document["stages"] == ["main", "fit", "code"]
    assert (manifest.shard_size, manifest.batch_size, manifest.threads, manifest.seed) == (2, 2, 1, 7)
    assert manifest.input.max_pixels == 100_000
    main = manifest.main.analyses
    assert main["explain"]["methods"]["gmar"]["norm"] == "l2" and main["explain"]["target"] == "class:2"
    assert main["explain"]["clean"] is True
    protocol = main["evaluate"]["protocol"]
    assert (protocol["removal"], protocol["score"], protocol["steps"]) == ("mean", "probability", 2)
    assert (protocol["random_draws"], protocol["seed"], protocol["mean_colour"]) == (3, 7, [0.5, 0.5, 0.5])
    assert protocol["target"] == 2
    assert main["importance"]["exact"] is False and main["strength"]["distance"] == "euclidean"
    fit = manifest.stage("fit").analyses["patterns"]
    assert (fit["form"], fit["coder"], fit["k"], fit["repeats"]) == ("offset", "autoencoder", 2, 0)
    assert (fit["autoencoder"]["latent"], fit["autoencoder"]["epochs"]) == (4, 3)
    assert {each["dtype"] for each in manifest.arrays.values()} == {"float32"}
    assert {"flow/gmar", "flow/daam", "class_rows", "maps/daam"} <= set(manifest.arrays)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--analyses", "explian"), 2, "did you mean explain"),
        (("--analyses", "evaluate", "--removal", "mask,mean"), 2, "a study has one"),
        (("--analyses", "evaluate", "--mean-colour", "data"), 2, "three numbers"),
        (("--analyses", "evaluate", "--target", "top3"), 2, "--target top3"),
        (("--arrays", "mapps"), 1, "keeps no array 'mapps'"),
        (("--methods", "gmar", "-o", "nosuch=1"), 1, "no method of gmar has an option 'nosuch'"),
        (("--random-weights",), 2, "--random-weights is not for studies"),
        (("--shard-size", "3", "--batch-size", "2"), 1, "no whole number of batches"),
        (("--labels", "nowhere.csv"), 1, "nowhere.csv"),
    ],
)
def test_what_does_not_fit_is_one_line(
    shell: Shell, pictures: Path, tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    done = shell("study", "create", tmp_path / "study", *MODEL, "--images", pictures, *words)
    assert (done.code, told in done.error) == (code, True), done.err
    assert not list((tmp_path / "study").rglob("*.*"))


def test_a_large_study_is_not_made_without_a_yes(
    shell: Shell, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vitscope.studies import estimate

    monkeypatch.setattr(estimate, "LARGE_SECONDS", 0.0)
    line = ("study", "create", tmp_path / "study", *MODEL, "--images", pictures, "--methods", "gmar", *SMALL)
    refused = shell(*line)
    assert refused.code == 2 and "--yes" in refused.error and "it would take" in refused.error
    assert not [path for path in (tmp_path / "study").rglob("*") if path.is_file()]
    agreed = shell(*line, "--yes")
    assert agreed.code == 0 and (tmp_path / "study" / "manifest.json").exists(), agreed.err


def test_somebody_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    large = Estimate(10, 1, 20, 10, LARGE_SECONDS + 3600, 60.0, 5e10, 10**10)
    for name in ("stdin", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda: True)
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return len(asked) > 1

    monkeypatch.setattr(cost.typer, "confirm", confirm)
    said: list[str] = []
    ask = cost.asking(False, said.append)
    assert (ask(large), ask(large), asked) == (False, True, ["make it?", "make it?"])
    assert cost.too_large(large) == (
        "it would write 50.0 GB where 10.0 GB are free and it would take about 2.0 h"
    )
    assert said[1] == "passes     forward 2 and backward 1 for each picture; 20 and 10 in all"
    assert said[2] == (
        "time       about 2.0 h of the model and about 60 s of reading, on one worker like this machine"
    )
    assert said[3] == "written    50.0 GB, 5.0 GB a picture; 10.0 GB are free"
    small = Estimate(10, 1, 20, 10, 60.0, 1.0, 1e6, 10**10)
    assert cost.asking(False, said.append)(small) and len(asked) == 2


def test_run_status_and_export_of_a_study(shell: Shell, study: Path, tmp_path: Path) -> None:
    limited = shell("study", "run", study, "--limit", 1)
    assert limited.code == 0, limited.err
    assert limited.out.splitlines() == [
        "shards computed: 1; the study is not finished",
        f"stopped after --limit; go on with: vitscope study run {study}",
    ]
    half = shell("study", "export", study, tmp_path / "half", "--json")
    assert half.code == 0 and half.document["finished"] is False and "not finished" in half.err
    assert len(pd.read_parquet(tmp_path / "half" / "pictures.parquet")) == 2

    done = shell("study", "run", study, "--json")
    events = lines(done.out)
    assert done.code == 0, done.err
    told = [event["event"] for event in events]
    assert told == ["start", "shard_start", "shard_done", "end", "report"]
    assert events[-1] == {
        "event": "report", "whole": True, "shards": 1, "skipped": 0, "failed": [], "waiting": [], "limited": False,
    }  # fmt: skip
    again = shell("study", "run", study, "--json")
    assert again.code == 0 and [event["event"] for event in lines(again.out)] == ["start", "end", "report"]

    looked = shell("study", "status", study, "--json")
    assert looked.code == 0 and looked.document["finished"] is True
    stage = looked.document["stages"][0]
    assert (stage["name"], stage["shards"], stage["done"], stage["ok"]) == ("main", 2, 2, 4)
    watched = shell("study", "status", study, "--watch")
    assert watched.code == 0 and "finished" in watched.out and "main" in watched.out

    whole = shell("study", "export", study, tmp_path / "out", "--format", "csv")
    assert whole.code == 0, whole.err
    assert whole.out.splitlines() == [
        str(tmp_path / "out" / f"{name}.csv") for name in ("pictures", "predictions")
    ]
    table = pd.read_csv(tmp_path / "out" / "pictures.csv")
    assert table["key"].tolist() == ["000.png", "001.png", "002.png", "003.png"]
    one = shell("study", "export", study, tmp_path / "one.parquet", "--table", "predictions")
    assert one.code == 0 and pd.read_parquet(tmp_path / "one.parquet")["picture"].nunique() == 4
    maps = shell("study", "export", study, tmp_path / "arrays", "--format", "netcdf")
    assert maps.code == 0, maps.err
    with xarray.open_dataset(tmp_path / "arrays" / "maps.nc", engine="h5netcdf") as found:
        assert found["gmar"].dims == ("picture", "y", "x")
        assert (found["gmar"].to_numpy() == Study.open(study).array("maps/gmar")[:]).all()
    wrong = shell("study", "export", study, tmp_path / "no", "--table", "skores")
    assert wrong.code == 1 and "skores" in wrong.error

    current = shell("study", "migrate", study)
    assert current.code == 0
    assert current.out == f"{study} is at schema 2, which this vitscope writes; nothing to do\n"
    assert shell("study", "migrate", study, "--json").document["schema"] == 2


def test_damaged_files_are_told_and_made_again(shell: Shell, study: Path) -> None:
    assert shell("study", "run", study).code == 0
    assert "every file is as it was written" in shell("study", "status", study, "--verify").out
    path = study / "tables" / "pictures" / "000001.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    found = shell("study", "status", study, "--verify")
    assert found.code == 3, found.err
    assert "shard 1 of stage main has to be made again: tables/pictures/000001.parquet: changed" in found.out
    assert shell("study", "run", study).code == 0 and path.read_bytes() == content


def test_skipped_pictures_and_failed_shards_are_told_with_the_remedy(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of_pictures(tmp_path / "pictures", 3, bad=1)
    place = tmp_path / "study"
    made = shell("study", "create", place, *MODEL, "--images", folder, "--methods", "gmar", *SMALL)
    assert made.code == 0, made.err
    compute = worker.Worker.run

    def poisoned(self: Any, stage: Any, shard: int, *more: Any) -> Any:
        if shard == 1:
            raise RuntimeError("poison")
        return compute(self, stage, shard, *more)

    monkeypatch.setattr(worker.Worker, "run", poisoned)
    failed = shell("study", "run", place)
    assert failed.code == 3, failed.err
    assert "given up: shard 1 of stage main: RuntimeError: poison" in failed.out
    assert f"vitscope study run {place} --retry-failed" in failed.out
    assert "pictures skipped: 1" in failed.out and "--retry-skipped" in failed.out
    monkeypatch.setattr(worker.Worker, "run", compute)
    left = shell("study", "run", place, "--json")
    assert left.code == 3 and lines(left.out)[-1]["failed"] == [
        {"stage": "main", "shard": 1, "reason": "RuntimeError: poison"}
    ]
    looked = shell("study", "status", place)
    assert looked.code == 0 and "given up: shard 1 of stage main: RuntimeError: poison" in looked.out
    mended = shell("study", "run", place, "--retry-failed", "--json")
    report = lines(mended.out)[-1]
    assert mended.code == 3 and report["whole"] and report["skipped"] == 1 and report["failed"] == []
    # The picture is mended, and its shard is done again.
    (folder / "000-bad.png").write_bytes((folder / "000.png").read_bytes())
    whole = shell("study", "run", place, "--retry-skipped", "--json")
    assert whole.code == 0 and lines(whole.out)[-1]["skipped"] == 0


def test_waiting_stages_are_told() -> None:
    report = Report(2, {("main", 3): "it died"}, ["fit", "code"], 0)
    said = list(run_command.described(report, "birds"))
    assert said == [
        "shards computed: 2; the study is not finished",
        "given up: shard 3 of stage main: it died",
        "to try them again: vitscope study run birds --retry-failed",
        "waiting for these: fit, code",
    ]
    assert not report.whole and run_command.as_event(report)["waiting"] == ["fit", "code"]


def test_kinds_of_devices_are_told_apart() -> None:
    stage = status.StageStatus("main", 2, 1, 4, 4, 0, {}, (1,))
    found = status.StudyStatus("birds", 8, (stage,), 2.0, 90.0, 1, ("cpu AVX2", "cuda H100"))
    from vitscope.cli.commands.study.status import notes

    said = list(notes(found))
    assert any("several kinds of device" in line and "cpu AVX2, cuda H100" in line for line in said)
    assert said[-1] == "2 pictures a second of one worker, 1 seen, about 1.5 min left"


def test_another_model_and_a_newer_schema_are_wrong_usage(shell: Shell, study: Path) -> None:
    path = study / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"schema": 2', '"schema": 3'))
    newer = shell("study", "run", study)
    assert newer.code == 2 and "made by schema 3; this vitscope reads up to 2; upgrade" in newer.error
    path.write_text(text)
    gone = shell("study", "status", study / "nowhere")
    assert gone.code == 1 and "there is no study" in gone.error
    worn = shell("study", "run", study, "--device", "abacus")
    assert worn.code == 2 and "--device is auto, cpu" in worn.error


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_keeps_its_shards(study: Path, by: signal.Signals) -> None:
    """A process of its own is sent the signal as soon as its first shard is finished."""
    program = (
        "import sys, time\n"
        "from vitscope.studies.worker import Worker\n"
        "run = Worker.run\n"
        "def slow(self, stage, shard, *more):\n"
        "    if shard: time.sleep(60)\n"
        "    return run(self, stage, shard, *more)\n"
        "Worker.run = slow\n"
        "from vitscope.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    line = [sys.executable, "-c", program, "study", "run", str(study), "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        told = []
        for text in process.stdout:
            told.append(json.loads(text)["event"])
            if told[-2:] == ["shard_done", "shard_start"]:
                process.send_signal(by)
        error = process.stderr.read()
        assert process.wait(60) == 130
    assert error == "error: interrupted; what was finished is kept\n"
    assert told == ["start", "shard_start", "shard_done", "shard_start", "stopped"]
    assert [path.name for path in (study / "shards" / "main").iterdir()] == ["000000.json"]
    report = Study.open(study).run()  # the lock is free
    assert report.whole and report.shards == 1
    assert Study.open(study).status().stages[0].ok == 4


def test_what_others_print_stays_out_of_the_events(study: Path) -> None:
    """Python's prints, and those of processes that are started, go to standard error."""
    program = (
        "import os, sys, subprocess\n"
        "from vitscope.studies.worker import Worker\n"
        "run = Worker.run\n"
        "def noisy(self, *more):\n"
        "    print('noise of Python')\n"
        "    os.write(1, b'noise of C\\n')\n"
        "    subprocess.run(['echo', 'noise of a process'], check=True)\n"
        "    return run(self, *more)\n"
        "Worker.run = noisy\n"
        "from vitscope.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    line = [sys.executable, "-c", program, "study", "run", str(study), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    assert [event["event"] for event in lines(done.stdout)][-1] == "report"
    for words in ("noise of Python", "noise of C", "noise of a process"):
        assert words in done.stderr and words not in done.stdout
