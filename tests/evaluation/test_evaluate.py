"""``vs.evaluate`` on small models: tables, shards, storage, page, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import vitscope as vs
from tests.watching import Recorder
from vitscope.errors import EvaluationError, OutputError, StorageError, VitscopeError
from vitscope.evaluation import EvaluationSet, evaluation_set, protocol_rank_correlation, rank_correlation
from vitscope.evaluation.running.mosaics import mosaics_of

QUICK = vs.Protocol(steps=4, random_draws=2)
METRICS = ["srg", "mrg", "deletion-patch", "average-drop", "mass", "class-sensitivity", "segmentation-miou"]


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def masks() -> torch.Tensor:
    return torch.rand(6, 32, 32, generator=torch.Generator().manual_seed(6)) > 0.8


@pytest.fixture(scope="module")
def board(vit: Any, pictures: torch.Tensor, masks: torch.Tensor) -> vs.Leaderboard:
    return vs.evaluate(
        vit, pictures, [0, 1, 2, 3, 4, 0], ["rollout", "daam"], METRICS, QUICK, masks=masks, batch_size=4
    )


def test_the_table(board: vs.Leaderboard) -> None:
    table = board.to_pandas()
    assert list(dict.fromkeys(table["method"])) == [
        "rollout", "daam", "raw-attention", "random", "uniform", "centre-gaussian", "edges", "inverse of rollout",
    ]  # fmt: skip
    assert set(table["metric"]) == {*METRICS, "average-increase", "average-gain"}
    assert len(table) == 8 * 9
    assert (table["n"] <= 6).all()
    scored = table[(table["metric"] == "srg")].set_index("method")
    assert (scored["low"] <= scored["value"]).all()
    assert (scored["value"] <= scored["high"]).all()
    assert scored.loc["inverse of rollout", "value"] == pytest.approx(
        -scored.loc["rollout", "value"], abs=1e-4
    )
    assert not scored.loc["rollout", "class_specific"]
    assert scored.loc["edges", "control"]
    assert (scored["seconds"].drop("random") > 0).all()
    assert scored.loc["daam", "evaluations"] == 6 * 2 * 3
    assert table[table["metric"] == "deletion-patch"]["start"].notna().all()
    sensitivity = table[table["metric"] == "class-sensitivity"].set_index("method")["value"]
    assert sensitivity["rollout"] == 0
    assert sensitivity["daam"] > 0
    assert np.isnan(sensitivity["uniform"]), "n/a: a constant map has no rank correlation"


def test_per_image(board: vs.Leaderboard) -> None:
    each = board.per_image()
    srg = each[(each["metric"] == "srg") & (each["method"] == "daam")]
    assert len(srg) == 6
    assert srg["value"].mean() == pytest.approx(board.interval("daam", "srg").value)


def test_result_over_shards_is_result_over_the_whole(
    vit: Any, pictures: torch.Tensor, masks: torch.Tensor, board: vs.Leaderboard
) -> None:
    whole = EvaluationSet(list(pictures), evaluation_set(pictures).keys, [0, 1, 2, 3, 4, 0], list(masks))
    cuts = [whole.part(0, 2), whole.part(2, 6)]
    parts = [vs.evaluate(vit, cut, None, ["rollout", "daam"], METRICS, QUICK, batch_size=5) for cut in cuts]
    merged = parts[0].merge(parts[1])
    assert merged.protocol == board.protocol
    for name in board.names:
        for metric in board.metrics:
            a, b = merged.interval(name, metric), board.interval(name, metric)
            assert a.value == pytest.approx(b.value, abs=1e-6, nan_ok=True), (name, metric)
            assert a.n == b.n
    assert merged.total_evaluations == board.total_evaluations
    with pytest.raises(EvaluationError, match="in both shards"):
        parts[0].merge(parts[0])


def test_unequal_protocols_do_not_share_a_table(
    vit: Any, pictures: torch.Tensor, board: vs.Leaderboard
) -> None:
    other = vs.evaluate(vit, pictures, None, ["daam"], ["srg"], vs.Protocol(steps=3), controls=())
    with pytest.raises(EvaluationError, match="steps: 4 against 3"):
        board.join(other)
    with pytest.raises(EvaluationError, match="same methods and metrics"):
        board.merge(other)
    more = vs.evaluate(vit, pictures, None, ["gmar"], ["srg"], QUICK, controls=())
    joined = board.join(more)
    assert "gmar" in joined.names
    assert joined.interval("gmar", "srg").n == 6
    assert joined.interval("gmar", "mass").n == 0, "n/a, not a guess"
    with pytest.raises(EvaluationError, match="both tables hold"):
        board.join(board)


def test_comparisons(board: vs.Leaderboard) -> None:
    table = board.compare("srg")
    assert len(table) == 8 * 7 / 2
    assert (table["p_holm"] >= table["p"]).all()
    # 28 pairs, of which 6 pictures can tell none apart: 28 · 2^(1 − n) falls below 5 % at 11 pictures.
    assert board.by("srg").needed == 11 and board.best("srg") == board.best("deletion-patch") == []
    two = board.difference("daam", "rollout", "srg")
    expected = board.interval("daam", "srg").value - board.interval("rollout", "srg").value
    assert two.difference == pytest.approx(expected)
    ranks = board.rank_stability("srg", 100)
    assert sorted(ranks["rank"]) == list(range(1, 9))
    assert (ranks["low"] <= ranks["rank"]).all()
    with pytest.raises(EvaluationError, match="no method 'gmarr'"):
        board.interval("gmarr", "srg")


def test_rank_correlation(board: vs.Leaderboard, vit: Any, pictures: torch.Tensor) -> None:
    square = board.rank_correlation()
    assert (np.diag(square) == 1).all()
    assert (square.fillna(0).to_numpy() == square.fillna(0).to_numpy().T).all()
    flipped = rank_correlation({"a": {"x": 1.0, "y": 2.0, "z": 3.0}, "b": {"x": 3.0, "y": 2.0, "z": 1.0}})
    assert flipped.loc["a", "b"] == -1
    other = vs.evaluate(
        vit,
        pictures,
        None,
        ["rollout", "daam"],
        ["srg"],
        vs.Protocol(removal="zero", steps=4, random_draws=2),
    )
    both = protocol_rank_correlation({"mask": board, "zero": other}, "srg")
    assert -1 <= both.loc["mask", "zero"] <= 1


def test_storage(board: vs.Leaderboard, tmp_path: Path) -> None:
    again = vs.Leaderboard.load(board.save(tmp_path / "out"))
    assert again.protocol == board.protocol
    assert again.to_pandas().equals(board.to_pandas())
    assert again.per_image().equals(board.per_image())
    assert sorted(re.sub("-[0-9a-f]{16}", "", p.name) for p in (tmp_path / "out").iterdir()) == [
        "curves.parquet", "leaderboard.parquet", "manifest.json", "per_image.parquet", "statistics.parquet",
    ]  # fmt: skip
    assert again.recipe == board.recipe and again.recipe.count == 6
    for name, table in (("leaderboard", board.to_pandas()), ("per_image", board.per_image())):
        assert pd.read_parquet(tmp_path / "out" / f"{name}.parquet").equals(table)
    with pytest.raises(StorageError, match="there is no 'leaderboard' in"):
        vs.Leaderboard.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="give --out a folder"):
        board.save(tmp_path / "file")


def test_page(board: vs.Leaderboard, tmp_path: Path) -> None:
    text = board.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == text
    for word in (
        "Scores",
        "Protocol",
        board.protocol.digest,
        "Worst and best",
        "Do the metrics agree",
        "n/a",
        "inverse of",
    ):
        assert word in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "daam" in board._repr_html_()


def test_the_user_s_model_is_untouched(vit: Any, pictures: torch.Tensor) -> None:
    before = {name: value.clone() for name, value in vit.model.state_dict().items()}
    names = ["mprt", "smprt", "emprt"]
    board = vs.evaluate(
        vit, pictures[:3], None, ["rollout", "daam", "gradcam"], names, QUICK, controls=("uniform", "random")
    )
    for name, value in vit.model.state_dict().items():
        assert torch.equal(value, before[name])
    table = board.to_pandas().pivot(index="method", columns="metric", values="value")
    assert table.loc["daam", "mprt"] < 1
    assert np.isnan(table.loc["uniform", "mprt"])
    again = vs.evaluate(vit, pictures[:3], None, ["daam"], names, QUICK, controls=(), batch_size=1)
    assert again.interval("daam", "mprt").value == pytest.approx(table.loc["daam", "mprt"], abs=1e-5)
    assert again.interval("daam", "emprt").value == pytest.approx(table.loc["daam", "emprt"], abs=1e-5)


def test_mosaics(vit: Any, pictures: torch.Tensor) -> None:
    labels = [0, 1, 2, 3, 4, 0]
    data = EvaluationSet(list(pictures), [f"p{i}" for i in range(6)], labels)
    made = mosaics_of(vit, data, seed=0)
    assert made.mosaics
    assert len(made) == 6
    assert made.labels == labels
    for index in range(6):
        mask = torch.as_tensor(made.masks[index])  # type: ignore[index]
        assert float(mask.float().mean()) == 0.25
        rows, columns = mask.any(1).nonzero().squeeze(1), mask.any(0).nonzero().squeeze(1)
        cell = made.pictures[index][:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        small = torch.nn.functional.interpolate(
            pictures[index : index + 1], size=(16, 16), mode="bilinear", antialias=True
        )
        assert torch.allclose(cell, small[0], atol=1e-5), "the target's picture is in the target's cell"
    board = vs.evaluate(vit, pictures, labels, ["daam"], ["grid-pointing", "srg"], QUICK)
    assert board.interval("uniform", "grid-pointing").value == pytest.approx(0.25)
    assert board.interval("daam", "grid-pointing").n > 0
    with pytest.raises(VitscopeError, match="pictures of 4 classes"):
        vs.evaluate(vit, pictures, [0, 0, 1, 1, 0, 1], ["daam"], ["grid-pointing"], QUICK)
    with pytest.raises(EvaluationError, match="labels="):
        vs.evaluate(vit, pictures, None, ["daam"], ["grid-pointing"], QUICK)


def test_targets(vit: Any, pictures: torch.Tensor) -> None:
    top = vit.forward(pictures).argmax(1)
    a = vs.evaluate(vit, pictures, None, ["daam"], ["mif"], QUICK, controls=())
    b = vs.evaluate(vit, pictures, top, ["daam"], ["mif"], vs.Protocol(steps=4, target="label"), controls=())
    assert a.interval("daam", "mif").value == pytest.approx(b.interval("daam", "mif").value, abs=1e-5)
    with pytest.raises(EvaluationError, match="outside the model's 5 classes"):
        vs.evaluate(vit, pictures, None, ["daam"], ["mif"], vs.Protocol(target=7))
    with pytest.raises(EvaluationError, match="true class"):
        vs.evaluate(vit, pictures, None, ["daam"], ["mif"], vs.Protocol(target="label"))


def test_geometry_goes_with_the_picture(vit: Any) -> None:
    """Boxes in the picture's own pixels go through the model's resize and crop."""
    picture = np.zeros((60, 120, 3), dtype=np.uint8)
    picture[20:40, 50:70] = 255
    mask = picture[..., 0] > 0
    data = evaluation_set([picture], None, [mask], [[(50.0, 20.0, 70.0, 40.0), (0.0, 0.0, 5.0, 5.0)]])
    opened = vs.open_model(
        vit.model,
        image_size=32,
        preprocess=vs.models.Preprocessor(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3),
    )
    batch = next(data.batches(opened, 1))
    assert batch.masks is not None
    assert batch.boxes is not None
    bright = batch.images[0].mean(0) > 0
    assert float((bright == batch.masks[0]).float().mean()) > 0.95
    assert len(batch.boxes[0]) == 1, "the second box is cropped away"
    x0, y0, x1, y1 = batch.boxes[0][0]
    assert (x0, y0) == pytest.approx((16 - 16 / 3, 16 - 16 / 3), abs=0.7)
    assert (x1, y1) == pytest.approx((16 + 16 / 3, 16 + 16 / 3), abs=0.7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ["gaee"]}, "gae"),
        ({"methods": "gae"}, "methods as a list of texts"),
        ({"metrics": "srg"}, "metrics as a list of texts"),
        ({"metrics": ["mass"]}, "needs masks"),
        ({"metrics": ["positive-perturbation"]}, "needs labels"),
        (
            {"metrics": ["positive-perturbation"], "labels": [0, 7]},
            r"class 7, but the model has 5 \(0 to 4\)",
        ),
        ({"controls": ["nothing"]}, "no control"),
        ({"options": {"gmar": {"alpha": 2}}}, "not evaluated"),
        ({"options": {"daam": {"beta": 2}}}, "has no option"),
        ({"labels": [1]}, "for 2 pictures, got 1"),
        ({"keys": ["a", "a"]}, "the key 'a'"),
        ({"images": []}, "no picture"),
    ],
)
def test_what_it_refuses(vit: Any, arguments: dict[str, Any], message: str) -> None:
    given = {"images": torch.randn(2, 3, 32, 32), "methods": ["daam"], "protocol": QUICK, **arguments}
    with pytest.raises(VitscopeError, match=message):
        vs.evaluate(vit, **given)


def test_all_methods_and_progress(vit: Any, pictures: torch.Tensor) -> None:
    seen = Recorder()
    board = vs.evaluate(
        vit,
        pictures[:2],
        None,
        ["all"],
        ["srg"],
        vs.Protocol(steps=2, random_draws=1),
        progress=seen,
    )
    assert {"gmar", "daam", "rollout", "gae"} <= set(board.names)
    seen.check_whole()
    assert [stage.total for stage in seen.stages] == [2 * len(board.names)]
    assert not any(record.name == "leave-one-out" for record in board.methods), (
        "black boxes are taken by name only"
    )


def test_keys_do_not_depend_on_place(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a/x.png", "b/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    data = evaluation_set(tmp_path)
    assert list(data.keys) == ["a/x.png", "b/x.png"]
    same = torch.zeros(2, 3, 4, 4)
    first, second = evaluation_set(same).keys
    assert second == f"{first}#again-2"


def test_one_method_with_two_sets_of_options(vit: Any, pictures: torch.Tensor) -> None:
    from vitscope.evaluation.running.subjects import parse_spec

    assert parse_spec("gmar:norm=l1;alpha=0.5") == ("gmar", {"norm": "l1", "alpha": "0.5"})
    assert parse_spec("gradcam:relu=false") == ("gradcam", {"relu": "false"})
    with pytest.raises(EvaluationError, match="name:option=value"):
        parse_spec("gmar:norm")
    with pytest.raises(EvaluationError, match="gives alpha twice; give it once"):
        parse_spec("gmar:alpha=1;norm=l1;alpha=2")
    names = ["rollout", "rollout:fusion=max"]
    board = vs.evaluate(vit, pictures, None, names, ["srg"], QUICK, controls=())
    assert board.names == names
    assert board.interval(names[0], "srg").value != board.interval(names[1], "srg").value


def test_relevance_of_prefix_tokens_counts_for_conservation(vit: Any, pictures: torch.Tensor) -> None:
    board = vs.evaluate(
        vit, pictures, None, ["dart:kappa=1;gate=False", "gae"], ["conservation"], QUICK, controls=()
    )
    assert board.interval("dart:kappa=1;gate=False", "conservation").n == 6
    assert board.interval("gae", "conservation").n == 0, "an unsigned map claims nothing"


def test_a_claim_needs_the_same_sign_three_times() -> None:
    from vitscope.evaluation import Leaderboard, MethodRecord, Metric, Protocol, claim
    from vitscope.evaluation.metric_state import statistics_of
    from vitscope.storage.recipe import Recipe

    def board(gap: float) -> Leaderboard:
        states = {}
        noise = torch.randn(30, generator=torch.Generator().manual_seed(0)) * 0.01
        for name, values in (("a", noise + gap), ("b", noise * 0)):
            state = Metric("srg")
            state.update_rows([str(i) for i in range(30)], statistics_of(values))
            states[(name, "srg")] = state
        protocol = Protocol(recipe=Recipe("evaluate", count=30))
        return Leaderboard(protocol, [MethodRecord("a"), MethodRecord("b")], ["srg"], states)

    up, down, level = board(1.0), board(-1.0), board(0.0)
    assert claim({"x": up, "y": up, "z": up}, "srg", "a", "b").holds is True
    assert claim({"x": down, "y": down, "z": down}, "srg", "a", "b").holds is False
    assert claim({"x": up, "y": up, "z": level}, "srg", "a", "b").holds is None
    assert claim({"w": up, "x": up, "y": up, "z": down}, "srg", "a", "b").holds is None


def test_dart_for_removal_comes_first_where_nothing_is_named(vit: Any, pictures: torch.Tensor) -> None:
    board = vs.evaluate(vit, pictures[:2], metrics=["entropy"], protocol=vs.Protocol(random_draws=1))
    assert board.names[:5] == ["dart-removal", "gmar", "daam", "rollout", "gae"]
    assert "inverse of dart-removal" in board.names


def test_a_switch_in_a_specification_switches(vit: Any, pictures: torch.Tensor) -> None:
    board = vs.evaluate(
        vit, pictures[:2], methods=["gradcam", "gradcam:relu=false"], metrics=["entropy"], controls=()
    )
    assert board.interval("gradcam", "entropy").value != board.interval("gradcam:relu=false", "entropy").value
    with pytest.raises(VitscopeError, match="option 'relu' of 'gradcam' is True or False, got 'no'"):
        vs.evaluate(vit, pictures[:2], methods=["gradcam:relu=no"], metrics=["entropy"])
