"""kappa is kept between runs under the fingerprint of the weights, and a bad cache never breaks an explanation."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.methods.written import small_vit
from vitscope.methods import calibration, calibration_store
from vitscope.methods.calibration import PICTURES, calibrate_kappa, kept_calibration


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def images() -> Tensor:
    return torch.randn(18, 3, 48, 64, generator=torch.Generator().manual_seed(2))


def model() -> nn.Module:
    """The same weights every time, with biases: without them kappa is 1 whatever the pictures."""
    made = small_vit()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "bias" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator) - 0.05)
    return made


def opened(**options: object) -> vs.Vit:
    """The model as another process would open it."""
    return vs.open_model(model(), image_size=(48, 64), **options)


def count_solving(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    solved: list[int] = []
    own = calibration._solve

    def counted(vit, inputs, count):
        solved.append(count)
        return own(vit, inputs, count)

    monkeypatch.setattr(calibration, "_solve", counted)
    return solved


def test_the_next_run_reads_what_sixteen_pictures_gave(cache, images, monkeypatch):
    solved = count_solving(monkeypatch)
    first = vs.explain(opened(), images, "dart", 3)
    other = opened()
    second = vs.explain(other, images[:1], "dart", 3)
    assert solved == [16]
    assert second.extras["kappa"][0] == first.extras["kappa"][0]
    assert torch.equal(second.maps, vs.explain(opened(), images[:1], "dart", 3).maps)
    assert "16 pictures:" in first.metadata["notes"][0]
    assert "16 pictures in an earlier run" in second.metadata["notes"][0]
    file = cache / f"kappa-{other.fingerprint}.json"
    assert [path.name for path in cache.iterdir()] == [file.name]
    assert json.loads(file.read_text())["kappa"] == pytest.approx(float(first.extras["kappa"][0]))
    assert calibrate_kappa(other, images).earlier is False and solved == [16, 16]


def test_few_pictures_are_not_kept_and_give_way_to_more(cache, images, monkeypatch):
    solved = count_solving(monkeypatch)
    vit = opened()
    for take in (1, 1, 4, 2, 18, 3):
        vs.explain(vit, images[:take], "dart", 3)
        assert cache.is_dir() == (take in (18, 3))
    assert solved == [1, 4, 16]
    found = kept_calibration(vit)
    assert found is not None and found.pictures == PICTURES == 16


def test_one_call_in_small_batches_has_one_kappa(cache, images, monkeypatch):
    solved = count_solving(monkeypatch)
    kappas = vs.explain(opened(), images[:9], "dart", 3, batch_size=4).extras["kappa"]
    assert solved == [4] and bool((kappas == kappas[0]).all())


def test_changed_weights_are_another_model(cache, images, monkeypatch):
    solved = count_solving(monkeypatch)
    vit = opened()
    before = calibrate_kappa(vit, images)
    with torch.no_grad():
        for block in vit.model.blocks:
            block.mlp.fc2.weight.mul_(3)
    after = calibrate_kappa(vit, images, force=False)
    assert solved == [16, 16] and not after.earlier and after.score != before.score
    assert len(list(cache.iterdir())) == 2
    assert calibrate_kappa(opened(), images[:1], force=False) == replace(before, earlier=True)


def test_another_precision_or_recipe_is_calibrated_anew(cache, images, monkeypatch):
    solved = count_solving(monkeypatch)
    calibrate_kappa(opened(), images)
    half = opened(precision="bf16")
    assert not calibrate_kappa(half, images, force=False).earlier
    monkeypatch.setattr(calibration, "RECIPE", "another")
    assert not calibrate_kappa(opened(), images, force=False).earlier
    assert solved == [16, 16, 16]


DAMAGE = ["", "{", "[]", "null", '{"kappa": 0.5}', "\x00\xff"]


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_file_is_as_if_nothing_had_been_kept(cache, images, text):
    vit = opened()
    good = calibrate_kappa(vit, images)
    file = next(cache.iterdir())
    file.write_text(text, encoding="latin-1")
    assert calibrate_kappa(opened(), images, force=False) == good
    assert json.loads(file.read_text())["kappa"] == good.kappa


@pytest.mark.parametrize(
    ("name", "value"),
    [("kappa", float("nan")), ("kappa", 9), ("kappa", "0.5"), ("kappa", True), ("pictures", 3), ("score", None)],
)
def test_a_record_that_makes_no_sense_is_not_used(cache, images, name, value):
    good = calibrate_kappa(opened(), images)
    file = next(cache.iterdir())
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    assert calibrate_kappa(opened(), images, force=False) == good


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path, images, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VITSCOPE_CACHE", str(tmp_path / "file" / "below"))
    assert calibrate_kappa(opened(), images).pictures == 16
    monkeypatch.setenv("VITSCOPE_CACHE", str(tmp_path / "cache"))

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert calibrate_kappa(opened(), images).pictures == 16
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_the_folder_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VITSCOPE_CACHE", "")
    assert calibration_store.cache_folder() is None
    calibration_store.save("kappa-0", {})
    monkeypatch.setenv("VITSCOPE_CACHE", "~/mine")
    assert calibration_store.cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("VITSCOPE_CACHE")
    for given, expected in {"": ".cache", str(tmp_path / "x"): "x", "relative": ".cache"}.items():
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert calibration_store.cache_folder() == tmp_path / expected / "vitscope"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert calibration_store.cache_folder() == tmp_path / ".cache" / "vitscope"
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_classifier_is_kept_apart(cache, images):
    """The same weights, once read as scores and once as a feature: another score, another kappa's meaning."""
    scores = calibrate_kappa(opened(), images)
    feature = calibrate_kappa(opened(classes=0), images, force=False)
    assert not feature.earlier and feature.score != scores.score
