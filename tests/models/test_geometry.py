"""Boxes and masks land where the pixels land."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vitscope.errors import PictureError
from vitscope.models import Preprocessor

RULES = ("short", "cover", "contain", "squash", "none")


def recipe(rule: str, size: tuple[int, int], crop: str = "round") -> Preprocessor:
    target = (max(size), max(size)) if rule == "short" else (size[0] + 8, size[1] + 8)
    return Preprocessor(
        size=size,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        resize=rule,
        resize_to=target,
        interpolation="bilinear",
        crop=crop,
    )


@settings(max_examples=60, deadline=None)
@given(
    rule=st.sampled_from(RULES),
    crop=st.sampled_from(["round", "floor"]),
    height=st.integers(30, 140),
    width=st.integers(30, 140),
    size=st.sampled_from([(32, 32), (24, 40), (48, 16)]),
    box=st.tuples(st.floats(0.1, 0.5), st.floats(0.1, 0.5), st.floats(0.25, 0.5), st.floats(0.25, 0.5)),
)
def test_a_bright_box_is_seen_where_the_geometry_says(
    rule: str,
    crop: str,
    height: int,
    width: int,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
) -> None:
    preprocessor = recipe(rule, size, crop)
    x0, y0 = int(box[0] * width), int(box[1] * height)
    x1, y1 = x0 + max(2, int(box[2] * width)), y0 + max(2, int(box[3] * height))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y0:y1, x0:x1] = 255
    geometry = preprocessor.geometry((height, width))
    left, top, right, bottom = geometry.boxes([x0, y0, x1, y1]).tolist()
    seen = preprocessor(Image.fromarray(pixels))[0].double()
    # Resampling blurs edges but keeps the amount of light: its share of each axis is the box's side.
    expected = max(0.0, right - left) * max(0.0, bottom - top)
    scale = max(geometry.scale)
    assert abs(float(seen.sum()) - expected) <= 2 * (1 + scale) * (sum(size) + 2)
    if expected > 60:
        rows, columns = torch.meshgrid(
            torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij"
        )
        assert abs(float((seen * rows).sum() / seen.sum()) - (top + bottom) / 2) < 1 + scale
        assert abs(float((seen * columns).sum() / seen.sum()) - (left + right) / 2) < 1 + scale


@pytest.mark.parametrize("rule", RULES)
def test_mask_is_the_nearest_resized_mask(rule: str) -> None:
    preprocessor = recipe(rule, (32, 40))
    mask = np.zeros((57, 83), bool)
    mask[10:40, 20:60] = True
    geometry = preprocessor.geometry((57, 83))
    moved = geometry.mask(mask)
    assert moved.shape == (32, 40) and moved.dtype == torch.bool
    smooth = preprocessor(Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB"))[0]
    assert float(((smooth > 0.5) != moved).float().mean()) < 0.03
    # Literal: each input pixel looks at the original pixel under its centre.
    for row, column in ((0, 0), (5, 7), (16, 20), (31, 39)):
        y = int(np.floor((row + 0.5 - geometry.offset[0]) / geometry.scale[0]))
        x = int(np.floor((column + 0.5 - geometry.offset[1]) / geometry.scale[1]))
        wanted = bool(mask[y, x]) if 0 <= y < 57 and 0 <= x < 83 else False
        assert bool(moved[row, column]) == wanted


def test_cropped_away_boxes_have_no_area() -> None:
    geometry = recipe("short", (32, 32)).geometry((30, 300))
    left, top, right, bottom = geometry.boxes([0, 0, 10, 30]).tolist()
    assert (right - left) * (bottom - top) == 0
    assert geometry.boxes([0, 0, 10, 30], clip=False)[0] < 0


def test_wrong_shapes() -> None:
    geometry = recipe("short", (32, 32)).geometry((30, 30))
    with pytest.raises(PictureError, match="own size"):
        geometry.mask(np.zeros((30, 31), bool))
    with pytest.raises(PictureError, match="boxes"):
        geometry.boxes([1, 2, 3])
    with pytest.raises(PictureError, match="points"):
        geometry.points([1, 2, 3])
