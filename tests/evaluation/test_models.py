"""Two models on the same pictures: paired by picture, against each model's own board and maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from scipy.stats import spearmanr

import vitscope as vs
from vitscope.errors import EvaluationError

QUICK = vs.Protocol(removal="drop", steps=2, random_draws=1)
PIXELS = torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(3))
LABELS = [0, 1, 2, 1, 0, 2, 3]


def tiny(seed: int, **changes: object) -> vs.Vit:
    torch.manual_seed(seed)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    model = timm.create_model("vit_tiny_patch16_224", **{**size, **changes})
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return vs.open_model(model.eval(), image_size=32)


VITS = {"one": tiny(0), "other": tiny(1), "coarse": tiny(2, patch_size=16)}


@pytest.fixture(scope="module")
def found() -> vs.evaluation.ModelComparison:
    return vs.compare_models(
        VITS, PIXELS, methods=["daam", "gmar:norm=l2"], metrics=["srg", "entropy"], labels=LABELS, protocol=QUICK,
        controls=(),
    )  # fmt: skip


def test_differences_are_those_of_each_models_own_board(found) -> None:
    frame = found.to_pandas()
    assert len(frame) == 2 * 2 * 3
    row = frame.query("method == 'daam' and metric == 'srg' and first == 'one' and second == 'other'").iloc[0]
    boards = [
        vs.evaluate(VITS[name], PIXELS, methods=["daam"], metrics=["srg"], protocol=QUICK, controls=())
        for name in ("one", "other")
    ]
    first, second = (board.per_image().set_index("key")["value"] for board in boards)
    assert row["value_first"] == pytest.approx(first.mean(), rel=1e-6)
    assert row["difference"] == pytest.approx((first - second).mean(), rel=1e-6) and row["n"] == 7
    # the sign flips of 7 differences, all 128 of them
    gaps = (first - second).to_numpy()
    signs = np.array(np.meshgrid(*[[1, -1]] * 7)).reshape(7, -1).T
    exact = np.mean(np.abs(signs @ gaps) >= abs(gaps.sum()) * (1 - 1e-9))
    assert row["p"] == pytest.approx(exact, abs=1e-6)


def test_agreement_is_the_rank_correlation_of_the_maps(found) -> None:
    table = found.agreement().set_index(["method", "first", "second"])
    one, other = (
        vs.explain(VITS[name], PIXELS, "gmar", norm="l2").maps.flatten(1) for name in ("one", "other")
    )
    by_hand = [spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    row = table.loc[("gmar:norm=l2", "one", "other")]
    assert row["correlation"] == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert row["low"] == pytest.approx(min(by_hand), rel=1e-5) and row["high"] == pytest.approx(
        max(by_hand), rel=1e-5
    )
    same = (VITS["one"].forward(PIXELS).argmax(1) == VITS["other"].forward(PIXELS).argmax(1)).float().mean()
    assert row["same_class"] == pytest.approx(float(same))
    assert found.most_different(1) == (
        int(np.argmin(np.mean(np.concatenate(list(found.correlations.values())), 0))),
    )


def test_every_picture_has_a_row(found) -> None:
    frame = found.per_picture()
    logits = VITS["coarse"].forward(PIXELS)
    assert frame["label"].tolist() == LABELS
    assert frame["class:coarse"].tolist() == [str(int(number)) for number in logits.argmax(1)]
    np.testing.assert_allclose(frame["probability:coarse"], logits.softmax(1).amax(1), rtol=1e-4)
    assert frame["right:coarse"].tolist() == (logits.argmax(1) == torch.tensor(LABELS)).tolist()


def test_saved_and_loaded_it_is_the_same(found, tmp_path: Path) -> None:
    loaded = vs.evaluation.ModelComparison.load(found.save(tmp_path / "both"))
    assert loaded.recipe == found.recipe and set(loaded.recipe.model) == set(VITS)
    pd.testing.assert_frame_equal(loaded.to_pandas(), found.to_pandas())
    pd.testing.assert_frame_equal(loaded.per_picture(), found.per_picture())
    assert loaded.sheet().size == found.sheet().size
    page = loaded.to_html(tmp_path / "page.html")
    assert "Maps side by side" in page and (tmp_path / "page.html").is_file()
    assert "gmar:norm=l2" in loaded._repr_html_() and repr(loaded) == repr(found)


def test_what_cannot_be_compared_is_refused_in_one_line() -> None:
    for vits, said in (
        ({"one": VITS["one"]}, "expected at least two models to compare, got 1"),
        ([VITS["one"], VITS["one"]], "two models are called"),
    ):
        with pytest.raises(EvaluationError, match=said):
            vs.compare_models(vits, PIXELS, methods=["daam"], protocol=QUICK)


def test_a_stopped_comparison_goes_on(tmp_path: Path) -> None:
    """What one model has finished is kept: the second run evaluates no picture of it again."""
    folders = {name: tmp_path / name for name in ("one", "other")}
    vits = {name: VITS[name] for name in folders}
    given = {"methods": ["daam"], "protocol": QUICK, "controls": (), "batch_size": 2}

    def stop(name: str, done: int, total: int) -> None:
        if name == "explaining":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vs.compare_models(vits, PIXELS, checkpoint=folders, progress=vs.progress.Callback(stop), **given)
    begun: list[tuple[str, int]] = []
    found = vs.compare_models(
        vits,
        PIXELS,
        checkpoint=folders,
        progress=vs.progress.Callback(lambda *step: begun.append(step[:2])),
        **given,
    )
    assert next(done for name, done in begun if name.startswith("evaluating")) == 7
    assert found.recipe == vs.compare_models(vits, PIXELS, **given).recipe


def test_the_shell_compares_models_and_gives_each_its_own_options(shell, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for index, picture in enumerate(vs.worlds.demo_pictures(2).images()):
        picture.save(tmp_path / f"{index}.png")
    weights = {
        name: value.clone() for name, value in vs.open_model("bundled/shapes").model.state_dict().items()
    }
    weights["head.bias"] += torch.arange(10.0)
    save_file(weights, tmp_path / "mine.safetensors")
    out = tmp_path / "out"
    words = ["evaluate", tmp_path / "0.png", tmp_path / "1.png", "-m", "bundled/shapes", "--methods", "daam"]
    words += ["--model", "bundled/shapes", "-w", tmp_path / "mine.safetensors", "--steps", "2", "--out", out]
    result = shell(*words, "--json")
    assert result.code == 0, result.err
    (told,) = result.document["comparisons"].values()
    (row,) = told["differences"]
    assert row["second"] == "bundled/shapes mine" and row["n"] == 2
    loaded = vs.evaluation.ModelComparison.load(out)
    assert (
        loaded.models[1] == "bundled/shapes mine"
        and len({*(b.recipe.digest for b in loaded.boards.values())}) == 2
    )
    assert not (out / "unfinished").exists()
    shown = shell(*words)
    assert shown.code == 0 and "correlation" in shown.out and "index.html" in shown.out
