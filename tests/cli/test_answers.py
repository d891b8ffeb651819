"""A picture that the model answers with NaN is skipped and said; a model that answers only so is one line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image

import vitscope as vs
from tests.cli.conftest import Shell
from tests.tracing.test_answers import Spoilt


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three dark pictures and a white one, which the model answers with NaN."""
    made = tmp_path / "pictures"
    made.mkdir()
    for name, grey in {"a": 20, "b": 255, "c": 40, "d": 60}.items():
        Image.new("RGB", (32, 32), (grey, grey, grey)).save(made / f"{name}.png")
    return made


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Spoilt(math.nan, brighter_than=0.9)
    vit = vs.open_model(module, image_size=32, classes=4, preprocess="half")
    monkeypatch.setattr(vs, "open_model", lambda *_, **__: vit)


@pytest.mark.parametrize("command", [("explain", "--method", "gae"), ("flow", "--method", "gae")])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_one_of_many_is_skipped(
    shell: Shell, folder: Path, tmp_path: Path, model: None, command: tuple[str, ...], batch_size: int
) -> None:
    done = shell(
        *command, folder, "--model", "x", "--out", tmp_path / "out", "--json", "--batch-size", batch_size
    )
    assert done.code == 3, done.err
    assert [Path(record["picture"]).name for record in done.document["pictures"]] == [
        "a.png",
        "c.png",
        "d.png",
    ]
    (skipped,) = done.document["skipped"]
    assert Path(skipped["picture"]).name == "b.png"
    assert "answers NaN for this picture" in skipped["reason"] and "answers NaN" in done.err
    assert not list((tmp_path / "out").rglob("b.*"))


def test_a_single_one_is_an_error(shell: Shell, folder: Path, tmp_path: Path, model: None) -> None:
    done = shell("explain", folder / "b.png", "--model", "x", "--out", tmp_path / "out", "--method", "gae")
    assert done.code == 1 and "answers NaN" in done.error
