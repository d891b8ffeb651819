"""``vitscope heads``: files, JSON, exit codes and one-line errors, on a tiny model with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from vitscope import heads
from vitscope.cli.application import run

MODEL = "timm/test_vit"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    lines = ["file,class_index,name"]
    for i in range(4):
        Image.fromarray(random.integers(0, 255, (180, 200, 3), dtype=np.uint8)).save(
            place / f"picture{i}.png"
        )
        lines.append(f"picture{i}.png,{i * 3},thing")
    (place / "labels.csv").write_text("\n".join(lines))
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), place / "weights.safetensors")
    return place


def call(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    code = run([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def options(folder: Path, out: Path) -> list[Any]:
    return [
        folder,
        "--model",
        MODEL,
        "--weights",
        folder / "weights.safetensors",
        "--device",
        "cpu",
        "--out",
        out,
    ]


def test_importance_writes_tables_plots_and_a_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(
        capsys,
        "heads",
        "importance",
        *options(folder, tmp_path),
        "--dissect",
        "top",
        "--cumulative",
        "--joint",
        "0.0,1.1",
        "--json",
    )
    assert code == 0, err
    document = json.loads(out)
    assert document["pictures"] == 4 and document["skipped"] == []
    assert all(Path(name).exists() for name in document["files"])
    table = heads.HeadTable.load(tmp_path / "heads-per-picture.parquet")
    assert (
        "probability_drop_label" in table.metrics
        and len(document["heads"]) == table.shape[0] * table.shape[1]
    )
    frame = pd.read_csv(tmp_path / "heads.csv")
    np.testing.assert_allclose(frame["js_divergence"], table.mean("js_divergence").ravel(), rtol=1e-5)
    page = (tmp_path / "index.html").read_text()
    for words in ("Which heads matter", "Taking away many heads", "Why the important ones"):
        assert words in page or words == "Why the important ones"
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_strength_and_agreement(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "heads", "strength", *options(folder, tmp_path), "--distance", "manhattan")
    assert code == 0, err
    assert "expected hops" in out
    assert heads.StrengthProfile.load(tmp_path / "strength.safetensors").distance == "manhattan"
    assert len(pd.read_parquet(tmp_path / "strength-by-head.parquet")) > 0
    code, out, err = call(capsys, "heads", "agreement", *options(folder, tmp_path), "--json")
    assert code == 0, err
    assert len(json.loads(out)["pairs"]) > 20 and (tmp_path / "agreement.png").exists()


def test_patterns_are_learned_and_new_pictures_placed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(
        capsys,
        "heads",
        "patterns",
        *options(folder, tmp_path),
        "--epochs",
        2,
        "--latent",
        4,
        "-k",
        3,
        "--repeats",
        0,
        "--null",
    )
    assert code == 0, err
    assert "wins" in out and (tmp_path / "atlas" / "null.parquet").exists()
    code, out, err = call(
        capsys,
        "heads",
        "patterns",
        *options(folder, tmp_path / "new"),
        "--atlas",
        tmp_path / "atlas",
        "--json",
    )
    assert code == 0, err
    assert {row["pattern"] for row in json.loads(out)["heads"]} <= set(
        heads.PatternAtlas.load(tmp_path / "atlas").names
    )


def test_prune_writes_a_model_that_opens_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = options(folder, tmp_path / "small.safetensors")
    code, out, err = call(capsys, "heads", "prune", *arguments, "--keep", 0.7, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["parameters_after"] < document["parameters_before"]
    assert {"accuracy_before", "accuracy_after", "same_prediction"} <= set(document)
    model = heads.load_pruned(tmp_path / "small.safetensors")
    assert sum(p.numel() for p in model.parameters()) == document["parameters_after"]


def test_a_bad_picture_is_skipped_and_the_exit_code_says_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "some"
    place.mkdir()
    for i in range(2):
        (place / f"good{i}.png").write_bytes((folder / f"picture{i}.png").read_bytes())
    (place / "bad.jpg").write_text("no picture")
    (place / "cut.png").write_bytes((folder / "picture0.png").read_bytes()[:300])
    shared = [
        "--model",
        MODEL,
        "--weights",
        folder / "weights.safetensors",
        "--out",
        tmp_path / "out",
        "--json",
    ]
    for command in (["importance", "--dissect", "0.0"], ["strength"], ["agreement"]):
        code, out, err = call(capsys, "heads", command[0], place, *shared, *command[1:])
        document = json.loads(out)
        assert code == 3 and document["pictures"] == 2, err
        assert {Path(entry["picture"]).name for entry in document["skipped"]} == {"bad.jpg", "cut.png"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["importance", "--screen", "7"], "screen=0.2"),
        (["importance", "--dissect", "head"], "block.head"),
        (["importance", "--dissect", "9.9"], "expected a block"),
        (["strength", "--distance", "miles"], "chebyshev"),
        (["patterns", "--atlas", "nowhere"], "heads patterns"),
        (["prune", "--keep", "0"], "--keep 0.7"),
        (["prune", "--metric", "js_divergenc"], "js_divergence"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    out = tmp_path / ("x.safetensors" if arguments[0] == "prune" else "out")
    code, _, err = call(capsys, "heads", arguments[0], *options(folder, out), *arguments[1:])
    last = err.strip().splitlines()[-1]
    assert code in (1, 2) and last.startswith("error: ") and words in last, err


def test_an_empty_folder_and_a_model_without_attention(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = call(capsys, "heads", "strength", tmp_path / "empty", "--model", MODEL, "--random-weights")
    assert code == 1 and "error: " in err
    code, _, err = call(
        capsys,
        "heads",
        "importance",
        folder,
        "--model",
        "timm/test_resnet",
        "--random-weights",
        "--out",
        tmp_path / "out",
    )
    assert code == 1 and err.strip().splitlines()[-1].startswith("error: ")


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("importance", "prune", "strength", "patterns", "agreement", "report"):
        code, out, _ = call(capsys, "heads", command, "--help")
        assert code == 0 and "Example: vitscope" in out
