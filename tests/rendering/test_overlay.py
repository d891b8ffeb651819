"""Overlays: the right cell at the right place in the right colour, with true numbers at the colour bar."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.rendering import overlay, scale
from vitscope.rendering.colour import INVALID_DARK, INVALID_LIGHT, lookup_table
from vitscope.rendering.maps import colourbar
from vitscope.rendering.maps.colourbar import bar_labels, draw_bar, draw_prefix
from vitscope.rendering.maps.overlay import BASE_SIDE
from vitscope.rendering.maps.panel import STYLES, draw_panel, fit
from vitscope.rendering.maps.resample import enlarge

LOW, HIGH = lookup_table("viridis")[0], lookup_table("viridis")[-1]


def hot(row: int, column: int, shape: tuple[int, int] = (3, 4)) -> np.ndarray:
    values = np.zeros(shape, np.float32)
    values[row, column] = 0.25
    return values


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 3), (2, 0), (2, 3), (1, 2)])
def test_a_hot_cell_is_drawn_where_it_is(row: int, column: int) -> None:
    drawn = np.asarray(draw_panel(scale(hot(row, column)), None, (120, 90), style="map"))
    for y in range(3):
        for x in range(4):
            middle = drawn[y * 30 + 15, x * 30 + 15]
            assert middle.tolist() == (HIGH if (y, x) == (row, column) else LOW).tolist()
    # The whole cell and nothing but the cell, to the pixel.
    inside = (drawn == HIGH).all(axis=-1)
    assert inside.sum() == 900 and inside[row * 30 : row * 30 + 30, column * 30 : column * 30 + 30].all()


def test_alpha_blends_colour_and_grey_picture(picture: Image.Image) -> None:
    drawn = np.asarray(draw_panel(scale(hot(0, 0)), picture, (120, 90), opacity=0.5)).astype(float)
    grey = 63.75 + 0.6 * np.asarray(picture.convert("L"), float)
    assert drawn[10, 10] == pytest.approx(0.5 * grey[10, 10] + 0.5 * HIGH.astype(float), abs=1)
    assert drawn[80, 100] == pytest.approx(0.5 * grey[80, 100] + 0.5 * LOW.astype(float), abs=1)


def test_signed_overlay_fades_at_zero_and_is_red_above_it(picture: Image.Image) -> None:
    values = np.zeros((3, 4))
    values[0, 0], values[2, 3] = 1.0, -1.0
    drawn = np.asarray(draw_panel(scale(values, "signed"), picture, (120, 90))).astype(int)
    red, blue, zero = drawn[15, 15], drawn[75, 105], drawn[45, 45]
    assert red[0] > red[2] + 40 and blue[2] > blue[0] + 40 and np.ptp(zero) < 12


def test_spotlight_lights_the_hot_cell_only(picture: Image.Image) -> None:
    drawn = np.asarray(draw_panel(scale(hot(1, 1)), picture, (120, 90), style="spotlight")).astype(float)
    raw = np.asarray(picture).astype(float)
    assert drawn[30:60, 30:60] == pytest.approx(raw[30:60, 30:60], abs=1)
    assert drawn[:30, :30].mean() == pytest.approx(0.18 * raw[:30, :30].mean(), rel=0.03)


def test_contour_surrounds_the_hot_cell_and_leaves_the_rest(picture: Image.Image) -> None:
    drawn = np.asarray(draw_panel(scale(hot(1, 1)), picture, (120, 90), style="contour")).astype(int)
    changed = np.abs(drawn - np.asarray(picture).astype(int)).sum(axis=-1) > 60
    rows, columns = np.nonzero(changed)
    assert (
        changed.any()
        and rows.min() >= 24
        and rows.max() <= 65
        and columns.min() >= 24
        and columns.max() <= 65
    )
    assert not changed[40:50, 40:50].any()


def test_side_by_side_holds_the_picture_and_the_map(picture: Image.Image) -> None:
    drawn = draw_panel(scale(hot(0, 3)), picture, (120, 90), style="side-by-side")
    pixels = np.asarray(drawn)
    assert drawn.size == (244, 90)
    assert np.array_equal(pixels[:, :120], np.asarray(picture)) and pixels[5, -5].tolist() == HIGH.tolist()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("scaling", ["minmax", "signed"])
def test_cells_without_a_value_are_hatched_silently(
    style: str, upsampling: str, scaling: str, picture: Image.Image
) -> None:
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    values[0, 1], values[2, 2] = np.nan, np.inf
    raw = values.copy()
    values.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = overlay(values, picture, style=style, upsampling=upsampling, scaling=scaling)
        panel = np.asarray(
            draw_panel(scale(values, scaling), picture, (120, 90), style=style, upsampling=upsampling)
        )
    assert drawn.mode == "RGB" and np.array_equal(values, raw, equal_nan=True)
    if style not in ("picture", "side-by-side"):
        hatched = {tuple(colour) for colour in panel[2:28, 32:58].reshape(-1, 3).tolist()}
        assert hatched == {INVALID_LIGHT, INVALID_DARK}


def test_constant_and_valueless_maps_carry_a_mark(picture: Image.Image) -> None:
    for values in (np.full((3, 4), 0.02), np.zeros((3, 4)), np.full((3, 4), np.nan)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            marked = overlay(values, picture, notes=False, colour_bar=False)
            signed = overlay(values, picture, notes=False, colour_bar=False, scaling="signed")
        for drawn in (marked, signed):
            corner = np.asarray(drawn)[12:40, 12:120]
            assert (corner == 255).all(axis=-1).sum() > 200  # the white label


def test_raw_values_stand_at_the_ends_of_the_bar() -> None:
    values = np.array([[0.0123, 0.5], [0.25, 2.5]])
    assert bar_labels(scale(values)) == ("0.0123", "1.26", "2.5")
    assert bar_labels(scale(values, "sqrt")) == ("0.0123", "0.634", "2.5")
    assert bar_labels(scale(-values, "signed")) == ("−2.5", "0", "2.5")
    assert bar_labels(scale(values, "percentile", percentiles=(0, 50)))[2].startswith("≥ ")
    assert bar_labels(scale(np.full((2, 2), 0.5))) == ("", "0.5", "")
    assert bar_labels(scale(np.full((2, 2), np.nan))) == ("", "no value", "")


def test_bars_run_upwards_and_to_the_right() -> None:
    upright = np.asarray(draw_bar("viridis", ("0", "", "1"), 100, 1))
    assert upright[97, 6].tolist() == lookup_table("viridis")[5].tolist()
    assert upright[2, 6].tolist() == lookup_table("viridis")[250].tolist()
    flat = np.asarray(draw_bar("viridis", ("0", "", "1"), 100, 1, horizontal=True))
    assert flat[6, 97].tolist() == lookup_table("viridis")[250].tolist()


def test_the_bar_drawn_beside_a_map_carries_its_numbers() -> None:
    values = hot(0, 0) + 1
    drawn = np.asarray(overlay(values, notes=False))
    bar = np.asarray(draw_bar("viridis", ("1", bar_labels(scale(values))[1], "1.25"), 252, 1))
    left = 12 + BASE_SIDE + 10
    assert bar_labels(scale(values))[::2] == ("1", "1.25")
    assert np.array_equal(drawn[12 : 12 + 20, left : left + bar.shape[1]], bar[:20])
    assert np.array_equal(drawn[12 + 230 : 12 + 252, left : left + bar.shape[1]], bar[230:])


def test_prefix_tokens_are_drawn_outside_the_grid(picture: Image.Image) -> None:
    shares = {"class": 0.75, "register 1": 0.0, "odd": float("nan"), "more": 1.5, "less": -0.1}
    with_them, without = overlay(hot(0, 0), picture, prefix=shares), overlay(hot(0, 0), picture)
    assert with_them.height > without.height and with_them.width == without.width
    panel = (slice(12, 12 + 252), slice(12, 12 + BASE_SIDE))
    assert np.array_equal(np.asarray(with_them)[panel], np.asarray(without)[panel])
    drawn = np.asarray(draw_prefix(shares, 300, 1))
    blue = (drawn == colourbar.ACCENT).all(axis=-1)
    row = drawn.shape[0] // 5
    lengths = [int(blue[index * row + row // 2].sum()) for index in range(5)]
    assert lengths[1] == lengths[2] == lengths[4] == 0 and lengths[0] == pytest.approx(
        0.75 * lengths[3], abs=2
    )


@pytest.mark.parametrize("size", [1, 2, 4])
def test_sizes_scale_everything(size: int, picture: Image.Image) -> None:
    drawn = overlay(hot(0, 0), picture, size=size, title="A title", caption="A caption")
    base = overlay(hot(0, 0), picture, title="A title", caption="A caption")
    assert drawn.width == pytest.approx(size * base.width, rel=0.03)
    assert drawn.height == pytest.approx(size * base.height, rel=0.04)


def test_shapes_of_pictures_and_grids_are_free() -> None:
    tall = Image.new("RGB", (50, 200), "grey")
    assert fit(tall.size, 336) == (84, 336) and fit((1000, 1), 336) == (336, 1)
    assert overlay(np.zeros((9, 2)), tall, colour_bar=False, notes=False).size == (84 + 24, 336 + 24)
    alone = overlay(np.arange(14).reshape(2, 7), colour_bar=False, notes=False)
    assert alone.size == (336 + 24, 96 + 24)
    for mode in ("L", "RGBA", "P", "CMYK"):
        assert overlay(hot(0, 0), Image.new(mode, (30, 20))).mode == "RGB"
    tiny = overlay(np.array([[1.0]]), Image.new("RGB", (1, 1)), title="long words " * 30, caption="x" * 500)
    assert tiny.width < 500


def test_nearest_keeps_cells_and_the_others_interpolate() -> None:
    values = np.array([[0.0, 1.0]], np.float32)
    assert set(np.unique(enlarge(values, (7, 3)))) == {0.0, 1.0}
    smooth = enlarge(values, (40, 4), "bilinear")
    assert (np.diff(smooth[0]) >= 0).all() and 0.4 < smooth[0, 19] < 0.6
    assert enlarge(np.random.default_rng(0).random((5, 5)).astype(np.float32), (64, 64), "bicubic").max() <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"style": "glow"}, "unknown overlay style"),
        ({"upsampling": "lanczos"}, "unknown upsampling"),
        ({"colour": "jet"}, "refused"),
        ({"size": 3}, "1, 2 or 4"),
        ({"opacity": 2.0}, "opacity"),
        ({"scaling": "log"}, "unknown scaling"),
    ],
)
def test_wrong_options_are_refused(options: dict, words: str, picture: Image.Image) -> None:
    with pytest.raises(RenderingError, match=words):
        overlay(hot(0, 0), picture, **options)


def test_wrong_shapes_are_refused(picture: Image.Image) -> None:
    with pytest.raises(RenderingError, match="one by one"):
        overlay(np.zeros((2, 3, 4)), picture)
    with pytest.raises(RenderingError, match="needs a picture"):
        overlay(hot(0, 0), style="spotlight")


def test_photographs_of_the_sample_can_be_drawn(sample_pictures: list) -> None:
    values = np.random.default_rng(3).random((14, 14)).astype(np.float32)
    for path in sample_pictures[:3]:
        with Image.open(path) as photo:
            drawn = overlay(values, photo, title=path.stem)
        assert min(drawn.size) > 200
