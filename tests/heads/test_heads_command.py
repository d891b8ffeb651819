"""``vitscope heads``: files, JSON, exit codes and one-line errors, on a tiny model with random weights."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import vitscope as vs
from vitscope import heads
from vitscope.cli.application import run

MODEL = "timm/test_vit"


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty bootstrap rounds for the intervals of agreement: what the commands write is tested, not how sure it is."""
    scores = importlib.import_module("vitscope.heads.rankings.scores")
    whole = scores.agree
    monkeypatch.setattr(scores, "agree", lambda *a, **given: whole(*a, **{**given, "rounds": 20}))


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
    for stem in ("heads", "partial", "cumulative", "joint"):
        parquet, csv = pd.read_parquet(tmp_path / f"{stem}.parquet"), pd.read_csv(tmp_path / f"{stem}.csv")
        assert list(parquet.columns) == list(csv.columns) and len(parquet) == len(csv) > 0
    for stem in ("importance", "first-order", "partial", "cumulative-accuracy", "cumulative-probability"):
        assert Image.open(tmp_path / f"{stem}.png").size > (300, 200)
    table = heads.HeadTable.load(tmp_path / "heads-per-picture.parquet")
    assert (
        "probability_drop_label" in table.metrics
        and len(document["heads"]) == table.shape[0] * table.shape[1]
    )
    frame = pd.read_csv(tmp_path / "heads.csv")
    np.testing.assert_allclose(frame["js_divergence"], table.mean("js_divergence").ravel(), rtol=1e-5)
    page = (tmp_path / "importance.html").read_text()
    for words in ("Which heads matter", "Taking away many heads", "dissected", "Single scores do not add up"):
        assert words in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_paths_are_predicted_beside_first_order(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["heads", "importance", *options(folder, tmp_path), "--first-order", "--json"]
    code, out, err = call(capsys, *line, "--path")
    assert code == 0, err
    table = heads.HeadTable.load(tmp_path / "heads-per-picture.parquet")
    vit = vs.open_model(MODEL, weights=folder / "weights.safetensors")
    own = heads.importance(vit, folder, [0, 3, 6, 9], exact=False, path=True)
    for metric in ("path_logit_drop", "path_loss_rise", "first_order_divergence"):
        np.testing.assert_allclose(table[metric], own[metric], rtol=1e-4, atol=1e-6)
    assert "path_logit_drop" in pd.read_csv(tmp_path / "heads.csv").columns
    assert json.loads(out)["heads"][0].keys() >= {"path_logit_drop", "path_loss_rise"}


def test_strength_and_agreement(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "heads", "strength", *options(folder, tmp_path), "--distance", "manhattan")
    assert code == 0, err
    assert "expected hops" in out
    assert heads.StrengthProfile.load(tmp_path / "strength.safetensors").distance == "manhattan"
    for name in ("strength.parquet", "strength-by-hop.parquet"):
        assert (
            len(pd.read_parquet(tmp_path / name))
            == len(pd.read_csv(tmp_path / name.replace("parquet", "csv")))
            > 0
        )
    assert "How far they look" in (tmp_path / "strength.html").read_text()
    code, out, err = call(capsys, "heads", "agreement", *options(folder, tmp_path), "--json")
    assert code == 0, err
    assert len(json.loads(out)["pairs"]) > 20 and (tmp_path / "agreement.png").exists()
    for name in ("agreement", "disagreements"):
        assert (
            len(pd.read_parquet(tmp_path / f"{name}.parquet"))
            == len(pd.read_csv(tmp_path / f"{name}.csv"))
            > 0
        )
    assert "Do the scores agree?" in (tmp_path / "agreement.html").read_text()


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
    assert "wins" in out and list((tmp_path / "atlas").glob("null-*.parquet"))
    assert len(pd.read_csv(tmp_path / "pattern-mix.csv")) == len(
        pd.read_parquet(tmp_path / "pattern-mix.parquet")
    )
    page = (tmp_path / "patterns.html").read_text()
    assert "wins" in page and "The null" in page
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
    placed = pd.read_parquet(tmp_path / "new" / "maps.parquet")
    assert len(placed) == len(pd.read_csv(tmp_path / "new" / "maps.csv")) > 0
    assert "nothing was fitted again" in (tmp_path / "new" / "patterns.html").read_text()
    assert not (tmp_path / "new" / "atlas").exists()


def test_the_report_has_every_part(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "heads", "report", *options(folder, tmp_path), "--epochs", 1, "--json")
    assert code == 0, err
    page = (tmp_path / "report.html").read_text()
    for words in (
        "Which heads matter", "Taking away many heads", "How far they look", "Which patterns they have",
        "Why the important ones are important", "Do the scores agree?", "vitscope",
    ):  # fmt: skip
        assert words in page
    assert all(Path(name).exists() for name in json.loads(out)["files"])


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
    beside = tmp_path / "small-heads"
    assert len(pd.read_csv(beside / "heads.csv")) == len(pd.read_parquet(beside / "heads.parquet")) > 0
    assert "What was pruned" in (beside / "pruned.html").read_text() and (beside / "importance.png").exists()


def test_prune_puts_the_mean_of_removed_heads_into_the_bias(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = options(folder, tmp_path / "masked.safetensors")
    more = ["--keep", 0.7, "--write", "masked", "--replacement", "mean", "--json"]
    code, out, err = call(capsys, "heads", "prune", *arguments, *more)
    assert code == 0, err
    removed = [tuple(map(int, name.split("."))) for name in json.loads(out)["removed"]]
    before, after = load_file(folder / "weights.safetensors"), load_file(tmp_path / "masked.safetensors")
    vit = vs.open_model(MODEL, weights=folder / "weights.safetensors")
    pictures = [folder / f"picture{i}.png" for i in range(4)]
    sites = vit.trace(pictures, gradient=False).sites
    assert removed
    for block in {block for block, _ in removed}:
        output = sites[block].output.double().mean((0, 2))  # (heads, width) over pictures and queries
        weight, bias = (before[f"blocks.{block}.attn.proj.{part}"].double() for part in ("weight", "bias"))
        for head in (head for place, head in removed if place == block):
            columns = slice(head * output.shape[1], (head + 1) * output.shape[1])
            bias = bias + weight[:, columns] @ output[head]
            assert not after[f"blocks.{block}.attn.proj.weight"][:, columns].any()
        torch.testing.assert_close(
            after[f"blocks.{block}.attn.proj.bias"].double(), bias, atol=1e-5, rtol=1e-4
        )


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
    for command in (["importance", "--dissect", "0.0"], ["agreement"]):
        code, out, err = call(capsys, "heads", command[0], place, *shared, *command[1:])
        document = json.loads(out)
        assert code == 3 and document["pictures"] == 2, err
        assert {Path(entry["picture"]).name for entry in document["skipped"]} == {"bad.jpg", "cut.png"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["importance", "--screen", "7"], "above 0 to 1"),
        (["importance", "--dissect", "head"], "block.head"),
        (["importance", "--dissect", "9.9"], "expected a block"),
        (["importance", "--joint", "0.0,0.7"], "got 0.7"),
        (["importance", "--labels", "nowhere.csv"], "nowhere.csv"),
        (["importance", "--replacement", "median"], "'zero' or 'mean' or 'mean-per-query'"),
        (["strength", "--distance", "miles"], "'chebyshev'"),
        (["patterns", "--atlas", "nowhere"], "heads patterns"),
        (["patterns", "--form", "round"], "'pooled' or 'offset'"),
        (["patterns", "--coder", "tea"], "'autoencoder' or 'pca'"),
        (["patterns", "-k", "99999"], "change -k"),
        (["prune", "--keep", "0"], "above 0 to 1"),
        (["prune", "--keep", "1.5"], "above 0 to 1"),
        (["prune", "--keep", "0.1"], "or more"),
        (["prune", "--replacement", "mean-per-query"], "take mean or zero"),
        (["importance", "--joint", "0.0,1.1,0.0"], "named twice"),
        (["prune", "--write", "round"], "'smaller' or 'masked'"),
        (["prune", "--by", "probability_drop_label", "--labels", "nowhere.csv"], "nowhere.csv"),
        (["prune", "--by", "js_divergenc"], "js_divergence"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    out = tmp_path / ("x.safetensors" if arguments[0] == "prune" else "out")
    code, _, err = call(capsys, "heads", arguments[0], *options(folder, out), *arguments[1:])
    last = err.strip().splitlines()[-1]
    assert code in (1, 2) and last.startswith("error: ") and words in last, err


@pytest.mark.parametrize("command", ["importance", "strength", "patterns", "agreement", "prune", "report"])
def test_one_picture_without_labels(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Everything but patterns needs one picture; those need two, and say so before any training."""
    place = tmp_path / "one"
    place.mkdir()
    (place / "picture.png").write_bytes((folder / "picture0.png").read_bytes())
    out = tmp_path / ("x.safetensors" if command == "prune" else "out")
    code, _, err = call(capsys, "heads", command, *options(folder, out), "--limit", 1)
    assert code == (1 if command in ("patterns", "report") else 0), err
    if code:
        assert "at least 2 pictures" in err.strip().splitlines()[-1]
    code, _, err = call(capsys, "heads", command, place, *options(folder, out)[1:])
    assert code == (1 if command in ("patterns", "report") else 0), err


@pytest.mark.parametrize("command", ["importance", "strength", "patterns", "agreement", "prune", "report"])
def test_results_that_cannot_be_written_and_a_folder_without_pictures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "file").write_text("precious")
    out = tmp_path / "file" / ("x.safetensors" if command == "prune" else "out")
    code, _, err = call(capsys, "heads", command, *options(folder, out))
    last = err.strip().splitlines()[-1]
    assert code == 1 and last.startswith("error: ") and (tmp_path / "file").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    code, _, err = call(
        capsys, "heads", command, tmp_path / "empty", *options(folder, tmp_path / "x.safetensors")[1:]
    )
    assert code == 1 and err.strip().splitlines()[-1].startswith("error: ")


def test_a_model_that_cannot_be_rewritten_is_told_before_the_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [folder, "--model", "timm/test_vit2", "--random-weights", "--out", tmp_path / "x.bin"]
    code, _, err = call(capsys, "heads", "prune", *arguments)
    assert code == 1 and ".safetensors" in err.strip().splitlines()[-1]
    arguments[1:3] = ["--model", "torchvision/vit_b_16"]
    arguments[-1] = tmp_path / "x.safetensors"
    code, _, err = call(capsys, "heads", "prune", *arguments)
    last = err.strip().splitlines()[-1]
    assert code == 1 and "timm ViT" in last and "pruning heads" not in err
    assert not (tmp_path / "x.safetensors").exists()


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
