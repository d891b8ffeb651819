"""Silhouettes, painting and placing against slow literal versions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vitscope.worlds.grounds import LATTICE, NUMBERS, draw_grounds, hsv
from vitscope.worlds.painting import MARKS, Things, paint, paint_marks
from vitscope.worlds.placing import nothing_placed, place_beside, place_group
from vitscope.worlds.silhouettes import KINDS, OBJECTS, REACH, RESOLUTION, templates


def test_every_silhouette_has_unit_area_and_fits_its_template() -> None:
    fields, radii = templates()
    assert fields.shape == (len(KINDS), RESOLUTION, RESOLUTION)
    areas = (np.clip(0.5 - fields * (RESOLUTION - 1) / (2 * REACH), 0, 1)).mean(axis=(1, 2)) * (
        2 * REACH * RESOLUTION / (RESOLUTION - 1)
    ) ** 2
    assert np.abs(areas - 1.0).max() < 0.03, dict(zip(KINDS, areas, strict=True))
    assert radii.max() < REACH and radii[: len(OBJECTS)].max() < 0.9


def test_templates_are_signed_distances() -> None:
    """Neighbouring nodes differ by at most their distance, and the disc is a disc."""
    fields, radii = templates()
    step = 2 * REACH / (RESOLUTION - 1)
    assert np.abs(np.diff(fields, axis=1)).max() <= step * 1.1
    line = np.linspace(-REACH, REACH, RESOLUTION)
    literal = [[math.hypot(x, y) - 1 / math.sqrt(math.pi) for x in line] for y in line]
    assert np.abs(fields[KINDS.index("disc")] - literal).max() < 0.01
    assert radii[KINDS.index("disc")] == pytest.approx(1 / math.sqrt(math.pi), abs=0.01)


def _literal_square(picture: np.ndarray, cx: float, cy: float, scale: float, turn: float) -> np.ndarray:
    """Coverage of a turned square by the distance of each pixel's centre to its outline, one pixel after another."""
    covered = np.zeros(picture.shape[:2])
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            dx, dy = column + 0.5 - cx, row + 0.5 - cy
            u = dx * math.cos(turn) + dy * math.sin(turn)
            v = dy * math.cos(turn) - dx * math.sin(turn)
            a, b = abs(u) - scale / 2, abs(v) - scale / 2
            outside = math.hypot(max(a, 0.0), max(b, 0.0)) + min(max(a, b), 0.0)
            covered[row, column] = min(max(0.5 - outside, 0.0), 1.0)
    return covered


def test_painting_a_square_equals_the_literal_version() -> None:
    canvas = np.full((1, 96, 96, 3), 100, dtype=np.uint8)
    looks = np.array([[0.9, 0.0, 1.0, 1.0, 0.0, 0.0]])  # turned by 20 degrees, pure red
    things = Things(
        np.array([KINDS.index("square")]),
        np.array([40.3], np.float32),
        np.array([51.8], np.float32),
        np.array([22.0], np.float32),
        looks,
    )
    mask = paint(canvas, things)[0]
    literal = _literal_square(canvas[0], 40.3, 51.8, 22.0, math.radians(20.0))
    assert np.abs(mask.mean() - (literal > 1 / 32).mean()) < 0.002
    assert ((literal > 0.15) <= mask).all() and (mask <= (literal > 0.0)).all()
    assert np.array_equal(mask, (canvas[0] != 100).any(axis=-1))
    inside = literal > 0.999
    assert (canvas[0][inside][:, 0] > 240).all() and (canvas[0][inside][:, 1:] < 20).all()


def test_nothing_is_painted_where_no_object_is_wanted() -> None:
    canvas = np.full((2, 96, 96, 3), 90, dtype=np.uint8)
    middle = np.full(2, 48.0, np.float32)
    things = Things(np.array([-1, 0]), middle, middle, np.full(2, 20.0, np.float32), np.full((2, 6), 0.5))
    mask = paint(canvas, things)
    assert not mask[0].any() and (canvas[0] == 90).all()
    assert mask[1].any()


def test_marks_all_differ_and_cover_twelve_pixels() -> None:
    count = len(MARKS)
    canvas = np.full((count, 96, 96, 3), 100, dtype=np.uint8)
    place = np.full(count, 4)
    mask = paint_marks(canvas, np.arange(count), place, place, np.full((count, 6), 0.5))
    assert (mask.sum(axis=(1, 2)) == 144).all() and mask[:, 4:16, 4:16].all()
    plates = canvas[:, 4:16, 4:16].reshape(count, -1)
    assert len({plate.tobytes() for plate in plates}) == count
    assert (canvas[mask] != 100).any(axis=-1).all()


def test_colours_equal_the_standard_library() -> None:
    import colorsys

    numbers = np.random.default_rng(0).random((3, 50))
    literal = [[255 * c for c in colorsys.hsv_to_rgb(*colour)] for colour in numbers.T]
    assert np.abs(hsv(*numbers) - literal).max() < 1e-3


def test_grounds_of_equal_numbers_are_equal_whatever_else_is_drawn_with_them() -> None:
    rng = np.random.default_rng(1)
    kinds = np.array([0, 1, 2, 3, 0, 3])
    numbers, lattice = rng.random((6, NUMBERS)), rng.random((6, LATTICE, LATTICE)).astype(np.float32)
    grain = rng.integers(0, 256, (6, 96, 96), dtype=np.uint8)
    together = draw_grounds(kinds, numbers, lattice, grain)
    for one in range(6):
        cut = slice(one, one + 1)
        alone = draw_grounds(kinds[cut], numbers[cut], lattice[cut], grain[cut])
        assert np.array_equal(alone[0], together[one])


def test_placing_takes_the_first_candidate_that_fits() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(10, 86, (2, 40, 32, 2))
    radius = rng.uniform(8, 18, (40, 2))
    gx, gy, fits = place_group(x, y, radius)
    taken = nothing_placed(40).also(gx, gy, radius)
    candidates = rng.uniform(10, 86, (2, 40, 32))
    bx, by, beside = place_beside(taken, candidates[0], candidates[1], np.full(40, 9.0))
    for row in range(40):
        apart = [math.dist((x[row, t, 0], y[row, t, 0]), (x[row, t, 1], y[row, t, 1])) for t in range(32)]
        good = [t for t in range(32) if apart[t] >= radius[row].sum() + 2.0]
        assert fits[row] == bool(good)
        if good:
            assert (gx[row, 0], gy[row, 1]) == (x[row, good[0], 0], y[row, good[0], 1])
        free = [
            t
            for t in range(32)
            if all(
                math.dist((candidates[0, row, t], candidates[1, row, t]), (gx[row, p], gy[row, p]))
                >= radius[row, p] + 9.0 + 2.0
                for p in (0, 1)
            )
        ]
        assert beside[row] == bool(free)
        if free:
            assert (bx[row], by[row]) == (candidates[0, row, free[0]], candidates[1, row, free[0]])
