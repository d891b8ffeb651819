"""The method that is used where none is named is the same in ``explain``, ``evaluate`` and on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import vitscope as vs
from tests.cli.conftest import Shell, shell  # noqa: F401
from vitscope.errors import MethodError
from vitscope.methods import default_method


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> vs.Vit:
    """A small convolutional network: DART needs tokens, DAAM has a form for it."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    return vs.open_model(layers, image_size=32, classes=4, preprocess="half")


def pictures(side: int) -> list[Image.Image]:
    """Two pictures that differ."""
    return [
        Image.linear_gradient("L").resize((side, side)).rotate(90 * turn).convert("RGB") for turn in (0, 1)
    ]


def test_dart_for_removal_where_dart_applies() -> None:
    vit = vs.open_model("bundled/shapes")
    two = pictures(96)
    found, named = vs.explain(vit, two), vs.explain(vit, two, "dart-removal")
    assert default_method(vit.anatomy) == found.method == "dart-removal"
    assert torch.equal(found.maps, named.maps)
    assert vs.explain(vit, two, kappa=0.5).options["kappa"] == 0.5


def test_daam_where_dart_does_not_apply(cnn: vs.Vit) -> None:
    found = vs.explain(cnn, pictures(32))
    assert default_method(cnn.anatomy) == found.method == "daam"
    assert torch.equal(found.maps, vs.explain(cnn, pictures(32), "daam").maps)
    with pytest.raises(MethodError, match="kappa"):  # an option of DART, which is not used here
        vs.explain(cnn, pictures(32), kappa=0.5)


def test_a_table_begins_with_it_and_holds_what_applies(cnn: vs.Vit) -> None:
    quick = vs.Protocol(removal="zero", steps=2, random_draws=1)
    vit = vs.open_model("bundled/shapes")
    board = vs.evaluate(vit, pictures(96), protocol=quick, controls=())
    assert board.names == ["dart-removal", "gmar", "daam", "rollout", "gae"]
    other = vs.evaluate(cnn, pictures(32), protocol=quick, controls=())
    assert other.names == ["daam"]


@pytest.mark.parametrize("command", ["explain", "flow"])
def test_commands_take_the_same(shell: Shell, tmp_path: Path, command: str) -> None:  # noqa: F811
    pictures(96)[0].save(tmp_path / "a.png")
    done = shell(command, tmp_path / "a.png", "-m", "bundled/shapes", "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert list((tmp_path / "out").rglob("*dart-removal*")), list((tmp_path / "out").rglob("*"))
