"""kappa depends on the model alone; calibrate finds one by conservation and changes nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.methods.written import small_vit
from tests.zoo import inputs, open_zoo
from vitscope.errors import AnswerError, MethodError
from vitscope.methods.calibration import find_root
from vitscope.tracing import Capture, constant_gate

PARALLEL = "timm-vit-scaling"
"""Attention and MLP in one branch: there is no MLP branch to scale."""


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(6, 3, 48, 64, generator=torch.Generator().manual_seed(2))


def model() -> nn.Module:
    """The same weights every time, with biases: without them kappa is 1 by conservation whatever the pictures."""
    made = small_vit()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "bias" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator) - 0.05)
    return made


def opened() -> vs.Vit:
    return vs.open_model(model(), image_size=(48, 64))


def relevance_and_score(vit: vs.Vit, images: Tensor, kappa: float) -> tuple[float, float]:
    """mean_l sum_n <X_l[n], g_l[n]> and the mean logit of the predicted class, picture by picture."""
    relevance, scores = [], []
    for image in images:
        trace = vit.trace(image[None], rules=constant_gate(kappa), capture=Capture(streams=True))
        pairs = zip(trace.block_inputs, trace.block_input_gradients, strict=True)
        relevance.append(sum(float((x * g).sum()) for x, g in pairs) / len(trace.block_inputs))
        scores.append(float(trace.logits.max()))
    return sum(relevance) / len(images), sum(scores) / len(images)


@pytest.mark.parametrize("method", ["dart", "gmar-plus"])
def test_the_map_of_a_picture_depends_on_no_other(images, method):
    alone = vs.explain(opened(), images[3:4], method, 3)
    after = opened()
    vs.explain(after, images[:2] * 5, method, 3)
    vs.calibrate(after, images[:2])
    bad = torch.full_like(images[:1], 1e38)
    with pytest.raises(AnswerError, match="NaN"):
        vs.explain(after, bad, method, 3)
    again = vs.explain(after, images[3:4], method, 3)
    assert torch.equal(alone.maps, again.maps)
    for batch_size in (1, 4, 6):
        batch = vs.explain(opened(), images.flip(0), method, 3, batch_size=batch_size)
        assert torch.allclose(batch.maps[2], alone.maps[0], atol=1e-5 * float(alone.maps.abs().max()))
        assert batch.extras["kappa"].tolist() == [0.5] * 6
    assert torch.equal(alone.maps, vs.explain(opened(), images[3:4], method, 3, kappa=0.5).maps)


def test_the_number_used_is_recorded(images, tmp_path):
    e = vs.explain(opened(), images[:1], "dart", 3)
    assert e.options["kappa"] == 0.5
    assert vs.Explanation.load(e.save(tmp_path / "one")).options["kappa"] == 0.5
    assert (
        vs.explain(opened(), images[:1], ["gmar-plus", "dart"], 3, kappa=1)["gmar-plus"].options["kappa"]
        == 1.0
    )


def test_a_model_without_mlp_branches_has_kappa_one():
    for method in ("dart", "gmar-plus"):
        e = vs.explain(open_zoo(PARALLEL), inputs(PARALLEL), method)
        assert e.options["kappa"] == 1 and (e.extras["kappa"] == 1).all()
        with pytest.raises(MethodError, match=r"no MLP branch .*leave kappa out"):
            vs.explain(open_zoo(PARALLEL), inputs(PARALLEL), method, kappa=0.5)
    assert vs.calibrate(open_zoo(PARALLEL), inputs(PARALLEL)).kappa == 1


def test_nothing_is_written_and_no_environment_is_read(images, tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "VITSCOPE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    vs.explain(opened(), images, "dart", 3)
    vs.calibrate(opened(), images)
    assert list(Path(tmp_path).iterdir()) == []
    assert os.environ["HOME"] == str(tmp_path)


@pytest.mark.parametrize("wrong", ["best", -1, 2.5, float("nan"), float("inf"), None, True, [0.5], "0.5"])
def test_a_kappa_that_is_none_is_refused(images, wrong):
    with pytest.raises(
        MethodError, match=r"option 'kappa' of 'dart' is a number from 0 to 2 or 'auto', got "
    ):
        vs.explain(opened(), images[:1], "dart", 3, kappa=wrong)


def test_calibration_conserves_on_the_pictures_given(images):
    vit = opened()
    found = vs.calibrate(vit, images)
    assert found.pictures == 6 and 0 < found.kappa < 2
    relevance, score = relevance_and_score(vit, images, found.kappa)
    assert score == pytest.approx(found.score, rel=1e-4)
    assert found.conserves == (abs(found.relevance - score) <= 0.02 * abs(score))
    assert found.conserves, found
    assert relevance == pytest.approx(score, rel=0.05)
    off, _ = relevance_and_score(vit, images, found.kappa + 0.3)
    assert abs(off - score) > abs(relevance - score)
    assert f"kappa {found.kappa:.2f} by conservation on 6 pictures" in found.describe()
    e = vs.explain(vit, images, "dart", 3, kappa=found.kappa)
    assert e.options["kappa"] == found.kappa
    mean = float(e.extras["block_relevance"].mean())
    assert mean != 0


def test_calibration_depends_on_neither_order_nor_batches(images):
    found = vs.calibrate(opened(), images)
    for given, size in ((images, 1), (images.flip(0), 4), (images[[3, 1, 5, 0, 2, 4]], 2)):
        other = vs.calibrate(opened(), given, batch_size=size)
        assert other.kappa == found.kappa and other.score == pytest.approx(found.score, rel=1e-5)
    vit = opened()
    vs.calibrate(vit, images[:1])
    assert vs.calibrate(vit, images) == found


def test_a_picture_whose_score_is_no_number_is_named(images):
    spoiled = images.clone()
    spoiled[4] = 1e38
    with pytest.raises(AnswerError, match=r"answers NaN for picture 4 "):
        vs.calibrate(opened(), spoiled, batch_size=3)


def test_calibration_of_a_model_without_classifier_explains_the_length(images):
    vit = vs.open_model(model(), image_size=(48, 64), classes=0)
    lengths = vit.forward(images).norm(dim=1)
    assert vs.calibrate(vit, images).score == pytest.approx(float(lengths.mean()), rel=1e-5)


def test_calibration_is_refused_where_the_stream_is_not_seen():
    with pytest.raises(MethodError, match=r"kappa does not apply to .*residual stream is not seen"):
        vs.calibrate(open_zoo("hand-functional"), inputs("hand-functional"))


def test_root_finder():
    x, value = find_root(lambda x: x**2 - 0.5, 0, 2, start=(0.5, 1.0), tolerance=1e-4)
    assert abs(x - 0.5**0.5) < 1e-3 and abs(value) < 1e-3
    assert find_root(lambda x: x + 1, 0, 2, start=(0.5, 1.0), tolerance=1e-3) == (0, 1)
    assert find_root(lambda x: 1.0, 0, 2, start=(0.5, 1.0), tolerance=1e-3)[1] == 1.0


def test_scores_depend_on_neither_order_nor_batches(images):
    """SRG of DART per picture, which once differed with the batch size."""

    def srg(given: Tensor, batch_size: int) -> dict[str, float]:
        board = vs.evaluate(
            opened(), given, methods=["dart"], metrics=["srg"], protocol=vs.Protocol(steps=3, random_draws=1),
            controls=(), batch_size=batch_size,
        )  # fmt: skip
        table = board.per_image()
        return dict(zip(table["key"], table["value"], strict=True))

    whole = srg(images[:4], 4)
    assert len(whole) == 4
    for given, size in ((images[:4].flip(0), 1), (images[[2, 0, 3, 1]], 3)):
        assert srg(given, size) == pytest.approx(whole, abs=1e-4)
