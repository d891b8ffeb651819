"""``vitscope evaluate``: pictures, several removals, JSON, skipped pictures, wrong usage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitscope as vs
from vitscope.cli.application import run

MODEL = [
    "--model",
    "timm/vit_tiny_patch16_224",
    "--random-weights",
    "--image-size",
    "32",
    "--batch-size",
    "4",
]
QUICK = ["--methods", "rollout,daam", "--steps", "3", "--random-draws", "1"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    source = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(source.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    (folder / "labels.csv").write_text("file,class_index\n0.png,1\n1.png,2\n2.png,3\n")
    (folder / "boxes.csv").write_text(
        "file,x0,y0,x1,y1\n" + "".join(f"{i}.png,8,8,30,30\n" for i in range(3))
    )
    return folder


def test_table_and_files(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(
        ["evaluate", str(photos), *MODEL, *QUICK, "--metrics", "srg,mass", "--out", str(tmp_path / "out")]
    )
    text = capsys.readouterr().out
    assert code == 0
    for word in (
        "rollout",
        "daam",
        "random",
        "inverse of rollout",
        "srg ↑",
        "mass ↑",
        "n = 3",
        "model evaluations",
    ):
        assert word in text
    assert "nothing is starred" in text and "*" not in text
    board = vs.Leaderboard.load(tmp_path / "out")
    assert board.metrics == ["srg", "mass"]
    assert "<html" in (tmp_path / "out" / "index.html").read_text()


def test_several_removals_and_json(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    code = run(
        [
            "evaluate",
            str(photos),
            *MODEL,
            *QUICK,
            "--removal",
            "drop,zero",
            "--limit",
            "2",
            "--out",
            out,
            "--json",
        ]
    )
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [board["removal"] for board in document["boards"]] == ["drop", "zero"]
    assert document["boards"][0]["protocol"]["digest"] != document["boards"][1]["protocol"]["digest"]
    assert document["boards"][0]["protocol"]["pictures"] == 2
    assert "survive" in (tmp_path / "out" / "index.html").read_text()
    assert (tmp_path / "out" / "zero" / "leaderboard.parquet").is_file()


def test_scores_and_seeds_are_compared(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--score", "logit,probability", "--seed", "0,1", "--mean-colour", "data", "--removal", "mean"]
    code = run(["evaluate", str(photos), *MODEL, *QUICK, *words, "--out", str(out), "--json"])
    boards = json.loads(capsys.readouterr().out)["boards"]
    assert code == 0
    assert [board["name"] for board in boards] == [
        "logit-seed0", "logit-seed1", "probability-seed0", "probability-seed1",
    ]  # fmt: skip
    assert [board["protocol"]["seed"] for board in boards] == [0, 1, 0, 1]
    pictures = [np.asarray(Image.open(photos / f"{index}.png")) / 255 for index in range(3)]
    assert boards[0]["protocol"]["mean_colour"] == pytest.approx(np.mean(pictures, axis=(0, 1, 2)).tolist())
    assert vs.Leaderboard.load(out / "logit-seed1").protocol.seed == 1


def test_mosaics_of_nine_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--world", "shapes", "--limit", "20", "--metrics", "grid-pointing", "--mosaic", "3"]
    code = run(
        ["evaluate", *words, "--methods", "rollout", "--random-draws", "1", "--out", str(tmp_path), "--json"]
    )
    scores = json.loads(capsys.readouterr().out)["boards"][0]["scores"]
    assert code == 0
    (uniform,) = (row["value"] for row in scores if row["method"] == "uniform")
    assert uniform == pytest.approx(1 / 9)


def test_interrupted_and_gone_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vitscope.evaluation.running.run import Run

    command = ["evaluate", str(photos), *MODEL[:-1], "1", *QUICK, "--out", str(tmp_path / "out")]
    over, calls = Run.over, []

    def stopped(self: Run, data: object) -> None:
        calls.append(data)
        if len(calls) == 3:
            raise KeyboardInterrupt
        over(self, data)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "over", stopped)
    assert run(command) == 130
    said = capsys.readouterr().err
    assert "the same command goes on" in said
    assert said.strip().splitlines()[-1] == "error: interrupted; what was finished is kept"
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert run(command) == 0
    captured = capsys.readouterr()
    assert "going on after 16 of 24 explanations" in captured.err
    assert "n = 3" in captured.out
    assert len(calls) == 4, "only the third picture was left to do"
    assert not (tmp_path / "out" / "unfinished").exists()


def test_a_bad_picture_is_skipped(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    places = [str(photos / "0.png"), str(photos / "1.png"), str(tmp_path / "bad.png")]
    code = run(["evaluate", *places, *MODEL, *QUICK, "--out", str(tmp_path / "out"), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 3
    assert len(document["skipped"]) == 1
    assert document["boards"][0]["protocol"]["pictures"] == 2


def test_list_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--list-metrics", "--json"]) == 0
    assert {"srg", "saco", "mprt"} <= {record["name"] for record in json.loads(capsys.readouterr().out)}
    assert run(["evaluate", "--list-metrics"]) == 0
    assert "symmetric relevance gain" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give pictures"),
        (["PHOTOS", "--world", "shapes"], "give pictures"),
        (["PHOTOS"], "--model"),
        (["PHOTOS", *MODEL, "--metrics", "srgg"], "did you mean srg"),
        (["PHOTOS", *MODEL, "--methods", "gmarr"], "gmar"),
        (["PHOTOS", *MODEL, "--removal", "grey"], "expected removal"),
        (["PHOTOS", *MODEL, "--target", "label", "--labels", "none.csv"], "no file none.csv"),
        (["PHOTOS", *MODEL, "--seed", "one"], "--seed is a whole number"),
        (["PHOTOS", *MODEL, "--removal", ","], "names at least one"),
        (["PHOTOS", *MODEL, "--mean-colour", "red"], "--mean-colour"),
        (["PHOTOS", *MODEL, "--metrics", "grid-pointing"], "pictures of 4 classes"),
        (["--world", "moon"], "moon"),
    ],
)
def test_wrong_usage(
    photos: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(photos) if word == "PHOTOS" else word for word in arguments]
    code = run(["evaluate", *given, "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code in (1, 2)
    assert error.startswith("error: ")
    assert message in error
