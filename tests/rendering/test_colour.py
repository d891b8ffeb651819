"""Colour maps: rising lightness, fixed zero, no rainbow; categories; text that can be read on them."""

from __future__ import annotations

import numpy as np
import pytest

from vitscope.errors import RenderingError
from vitscope.rendering import categories, check_colour, colourise, default_colour
from vitscope.rendering.colour import (
    CATEGORY_COLOURS,
    INVALID_LIGHT,
    MAGNITUDE_COLOURS,
    SIGNED_COLOURS,
    contrast,
    css_gradient,
    ink_on,
    lookup_table,
    to_hex,
)


def luminance(rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb / 255 <= 0.04045, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("name", MAGNITUDE_COLOURS)
def test_magnitude_maps_become_lighter_all_the_way(name: str) -> None:
    light = luminance(lookup_table(name).astype(float))
    assert (np.diff(light) > -2e-3).all() and light[-1] - light[0] > 0.4


@pytest.mark.parametrize("name", SIGNED_COLOURS)
def test_signed_maps_are_palest_at_zero(name: str) -> None:
    light = luminance(lookup_table(name).astype(float))
    assert abs(int(light.argmax()) - 127.5) < 4
    assert (
        light[:120:8].tolist() == sorted(light[:120:8])
        and light[136::8].tolist() == sorted(light[136::8])[::-1]
    )


def test_colours_at_known_positions() -> None:
    drawn = colourise([[0.0, 0.5, 1.0], [-3.0, 7.0, np.nan]], "viridis")
    assert drawn.dtype == np.uint8 and drawn.shape == (2, 3, 3)
    assert drawn[0, 0].tolist() == [68, 1, 84]  # the published ends of viridis
    assert drawn[0, 2].tolist() == [253, 231, 36]
    assert drawn[1, 0].tolist() == drawn[0, 0].tolist() and drawn[1, 1].tolist() == drawn[0, 2].tolist()
    assert drawn[1, 2].tolist() == list(INVALID_LIGHT)


@pytest.mark.parametrize("name", ["jet", "turbo", "hsv", "Rainbow"])
@pytest.mark.parametrize("diverging", [False, True])
def test_rainbows_are_refused_with_the_reason(name: str, diverging: bool) -> None:
    with pytest.raises(RenderingError, match="lightness") as caught:
        check_colour(name, diverging)
    assert default_colour(diverging) in str(caught.value)


def test_unsuited_and_unknown_names() -> None:
    with pytest.raises(RenderingError, match="does not suit signed"):
        check_colour("viridis", True)
    with pytest.raises(RenderingError, match="does not suit magnitudes"):
        check_colour("blue-red", False)
    with pytest.raises(RenderingError, match="nearest: viridis"):
        check_colour("virids", False)


def test_categories_are_ten_and_stand_out_on_dark_paper() -> None:
    assert categories(10) == list(CATEGORY_COLOURS) and categories(0) == []
    with pytest.raises(RenderingError, match="at most 10"):
        categories(11)
    dark = (0x17, 0x1B, 0x20)
    for colour in categories(10, "#171b20"):
        rgb = int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
        assert contrast(rgb, dark) >= 3


def test_ink_can_be_read_on_every_colour_of_every_map() -> None:
    for name in (*MAGNITUDE_COLOURS, *SIGNED_COLOURS):
        for colour in lookup_table(name)[::5]:
            rgb = tuple(int(part) for part in colour)
            assert contrast(ink_on(colour), rgb) >= 4.2


def test_contrast_is_that_of_wcag() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)


def test_gradient_starts_and_ends_with_the_map() -> None:
    gradient = css_gradient("magma")
    assert gradient.startswith(f"linear-gradient(to right,{to_hex(lookup_table('magma')[0])}")
    assert gradient.endswith(f"{to_hex(lookup_table('magma')[-1])})")
