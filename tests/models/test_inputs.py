"""All loose forms of input give the same strict batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitscope.errors import ModelError, PictureError
from vitscope.models import Preprocessor, to_batch, to_pictures

RECIPE = Preprocessor(
    size=(32, 48), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), resize="cover", resize_to=(36, 54)
)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)


def test_every_form_gives_one_batch(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    wanted = RECIPE(Image.fromarray(pixels))[None]
    assert wanted.shape == (1, 3, 32, 48)
    forms = (
        path, str(path), [path], tmp_path, str(tmp_path / "*.png"), Image.fromarray(pixels), pixels, pixels[None],
        [pixels], tensor, tensor[None], [tensor], (Image.fromarray(pixels),),
    )  # fmt: skip
    for form in forms:
        assert torch.equal(to_batch(form, RECIPE), wanted)
    mixed = to_batch([path, pixels, [tensor[None]], wanted[0]], RECIPE)
    assert torch.equal(mixed, wanted.expand(4, -1, -1, -1))


def test_ready_tensors_pass_unchanged() -> None:
    ready = torch.randn(2, 3, 16, 16, requires_grad=True)
    assert to_batch(ready, None) is ready
    assert torch.equal(to_batch(ready[0], None), ready[:1])
    assert torch.equal(to_batch([ready[0], ready[1]], None), ready)
    tokens = torch.tensor([[1, 2, 3]])
    assert to_batch(tokens, None) is tokens


def test_pictures_without_a_recipe_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ModelError, match="preprocess="):
        to_batch(pixels, None)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "no picture at all"),
        (None, "NoneType"),
        (b"bytes", "bytes"),
        (torch.zeros(3, 8), "shape"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.uint8), "channels first"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "int64"),
        (torch.full((3, 8, 8), torch.nan), "NaN"),
        ([torch.zeros(3, 8, 8), torch.zeros(3, 8, 9)], "one shape"),
    ],
)
def test_what_is_no_picture(value: object, says: str) -> None:
    with pytest.raises(PictureError, match=says):
        to_batch(value, RECIPE)


def test_pictures_to_draw_on(pixels: np.ndarray) -> None:
    (shown,) = to_pictures(pixels, RECIPE)
    assert shown.size == (48, 32)
    (again,) = to_pictures(to_batch(pixels, RECIPE), RECIPE)
    assert np.array_equal(np.asarray(shown), np.asarray(again))
    (unknown,) = to_pictures(torch.randn(1, 3, 8, 8), None)
    assert unknown.size == (8, 8) and np.asarray(unknown).max() == 255
