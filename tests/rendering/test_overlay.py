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
from vitscope.rendering.maps.blending import GROUNDS, layer
from vitscope.rendering.maps.colourbar import Bar, bar_of, draw_bar, draw_prefix
from vitscope.rendering.maps.overlay import BASE_SIDE, display_note
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


def test_colours_cover_the_picture_as_far_as_the_value_goes(picture: Image.Image) -> None:
    values = np.array([[1.0, 0.0], [0.5, 0.25]])
    drawn = np.asarray(draw_panel(scale(values), picture, (120, 90), opacity=0.8)).astype(float)
    photo, table = np.asarray(picture, float), lookup_table("viridis").astype(float)
    for (y, x), share in {(10, 10): 1.0, (10, 90): 0.0, (80, 10): 0.5, (80, 90): 0.25}.items():
        wanted = photo[y, x] + 0.8 * share * (table[round(255 * share)] - photo[y, x])
        assert drawn[y, x] == pytest.approx(wanted, abs=1)
    assert np.array_equal(drawn[:45, 60:], photo[:45, 60:])  # nothing is laid where nothing is


def test_a_signed_map_leaves_the_picture_at_zero_and_is_red_above_it(picture: Image.Image) -> None:
    values = np.zeros((3, 4))
    values[0, 0], values[2, 3] = 1.0, -0.5
    drawn = np.asarray(draw_panel(scale(values, "signed"), picture, (120, 90), opacity=1.0)).astype(int)
    assert drawn[15, 15].tolist() == lookup_table("blue-red")[255].tolist()
    photo, table = np.asarray(picture, float), lookup_table("blue-red").astype(float)
    assert drawn[75, 105] == pytest.approx((photo[75, 105] + table[64]) / 2, abs=1)
    assert np.array_equal(drawn[30:60], np.asarray(picture)[30:60])


@pytest.mark.parametrize("scaling", ["minmax", "signed"])
def test_colours_of_the_map_are_those_of_its_bar_on_the_same_ground(scaling: str) -> None:
    values = np.array([[-2.0, 1.0], [4.0, 8.0]])
    for ground in GROUNDS:
        plain = Image.new("RGB", (40, 40), ground)
        scaled = scale(values, scaling)
        drawn = np.asarray(draw_panel(scaled, plain, (40, 40), opacity=0.7))
        name = "blue-red" if scaling == "signed" else "viridis"
        bar = bar_of(scaled, name, 0.7)
        colours = bar.colours(ground, 1001).astype(int)
        for row, column in np.ndindex(2, 2):
            place = round(1000 * (values[row, column] + 2) / 10)  # the bar runs from −2 to 8
            assert np.abs(colours[place] - drawn[20 * row + 5, 20 * column + 5]).max() <= 2
        image = np.asarray(draw_bar(bar, 400, 1, horizontal=True)).astype(int)
        row = 3 if ground == GROUNDS[0] else 10
        assert np.abs(image[row, 1:-1] - bar.colours(ground, 400)[1:-1]).max() == 0


def test_a_layer_drawn_by_a_browser_is_the_same_overlay(picture: Image.Image) -> None:
    values = np.array([[-2.0, 1.0], [4.0, 8.0]])
    for scaling, name in (("minmax", "viridis"), ("signed", "blue-red")):
        scaled = scale(values, scaling)
        above = layer(scaled.values, name, scaled.diverging).repeat(45, 0).repeat(60, 1).astype(float)
        share = 0.85 * above[..., 3:] / 255  # source-over with the element's opacity
        seen = np.asarray(picture) * (1 - share) + above[..., :3] * share
        drawn = np.asarray(draw_panel(scaled, picture, (120, 90))).astype(float)
        assert np.abs(seen - drawn).max() <= 1.5


def test_the_numbers_at_a_bar_are_the_range_of_the_map_and_the_limit_is_named() -> None:
    scaled = scale(np.array([[-1.0, 0.0], [3.0, 10.0]]), "signed")
    bar = bar_of(scaled, "blue-red")
    assert bar.texts == ("−1", "", "10") and bar.span == pytest.approx((0.45, 1.0))
    assert "full colour at ±10" in display_note(scaled, "nearest")
    even = scale(np.array([[-10.0, 10.0]]), "signed")
    assert bar_of(even, "blue-red").texts == ("−10", "0", "10") and "full colour" not in display_note(
        even, "nearest"
    )
    wide = bar_of(scale(np.array([[-5.0, 10.0]]), "signed"), "blue-red")
    assert wide.texts == ("−5", "0", "10") and wide.at[1] == pytest.approx(1 / 3)


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
    assert bar_of(scale(values), "viridis").texts == ("0.0123", "1.26", "2.5")
    assert bar_of(scale(values, "sqrt"), "viridis").texts == ("0.0123", "0.634", "2.5")
    assert bar_of(scale(-values, "signed"), "blue-red").texts == ("−2.5", "−1.26", "−0.0123")
    assert bar_of(scale(values, "percentile", percentiles=(0, 50)), "viridis").texts[2].startswith("≥ ")
    assert bar_of(scale(np.full((2, 2), 0.5)), "viridis").texts == ("", "0.5", "")
    assert bar_of(scale(np.full((2, 2), np.nan)), "viridis").texts == ("", "no value", "")


def test_bars_run_upwards_and_to_the_right() -> None:
    upright = np.asarray(draw_bar(Bar("viridis", ("0", "", "1")), 100, 1))
    assert upright[97, 6].tolist() == lookup_table("viridis")[5].tolist()
    assert upright[2, 6].tolist() == lookup_table("viridis")[250].tolist()
    flat = np.asarray(draw_bar(Bar("viridis", ("0", "", "1")), 100, 1, horizontal=True))
    assert flat[6, 97].tolist() == lookup_table("viridis")[250].tolist()


def test_the_bar_drawn_beside_a_map_carries_its_numbers() -> None:
    values = hot(0, 0) + 1
    drawn = np.asarray(overlay(values, notes=False))
    bar = np.asarray(
        draw_bar(Bar("viridis", ("1", bar_of(scale(values), "viridis").texts[1], "1.25")), 252, 1)
    )
    left = 12 + BASE_SIDE + 10
    assert bar_of(scale(values), "viridis").texts[::2] == ("1", "1.25")
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
