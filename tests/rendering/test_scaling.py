"""Display scalings: never touch the raw map, keep its order, say what stands at the ends of the bar."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vitscope.errors import RenderingError
from vitscope.rendering import SCALINGS, scale
from vitscope.rendering.maps.scaling import SCOPES

FINITE = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
ANY = arrays.arrays(
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
)


@pytest.mark.parametrize("scaling", SCALINGS)
@settings(max_examples=40, deadline=None)
@given(maps=ANY)
def test_any_map_scales_silently_and_stays_untouched(scaling: str, maps: np.ndarray) -> None:
    before = maps.copy()
    maps.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = scale(maps, scaling)
    assert np.array_equal(maps, before, equal_nan=True)
    assert scaled.values.shape == maps.shape and scaled.values.dtype == np.float32
    finite = np.isfinite(maps)
    assert np.array_equal(np.isfinite(scaled.values), finite)
    inside = scaled.values[finite]
    assert ((inside >= 0) & (inside <= 1)).all()
    assert (scaled.invalid == (~finite).sum(axis=(1, 2))).all()
    assert (np.isnan(scaled.low) == ~finite.any(axis=(1, 2))).all() or (
        SCALINGS[scaling] and scaled.scope != "map"
    )


@pytest.mark.parametrize("scaling", SCALINGS)
@settings(max_examples=40, deadline=None)
@given(maps=FINITE)
def test_order_is_kept_within_a_map(scaling: str, maps: np.ndarray) -> None:
    values = scale(maps, scaling).values
    for raw, shown in zip(maps.reshape(len(maps), -1), values.reshape(len(maps), -1), strict=True):
        order = np.argsort(raw, kind="stable")
        assert (np.diff(shown[order].astype(np.float64)) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(maps=FINITE)
def test_minmax_is_its_formula(maps: np.ndarray) -> None:
    scaled = scale(maps, "minmax")
    for index, raw in enumerate(maps.astype(np.float64)):
        low, high = raw.min(), raw.max()
        assert scaled.low[index] == pytest.approx(low) and scaled.high[index] == pytest.approx(high)
        if scaled.constant[index]:
            assert high - low <= 1e-6 * max(abs(low), abs(high)) * 1.01
            assert (scaled.values[index] == 0).all()
        else:
            assert scaled.values[index] == pytest.approx((raw - low) / (high - low), abs=1e-6)
            assert scaled.values[index].min() == 0 and scaled.values[index].max() == 1


@settings(max_examples=40, deadline=None)
@given(maps=FINITE)
def test_signed_keeps_zero_in_the_middle(maps: np.ndarray) -> None:
    scaled = scale(maps, "signed")
    assert scaled.diverging and (scaled.middle == 0).all() and (scaled.low == -scaled.high).all()
    assert (scaled.values[maps == 0] == 0.5).all()
    assert (scaled.values[maps > 0] >= 0.5).all() and (scaled.values[maps < 0] <= 0.5).all()
    opposite = scale(-maps, "signed").values
    assert opposite == pytest.approx(1 - scaled.values, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(raw=arrays.arrays(np.float32, (3, 4), elements=st.integers(-3, 3).map(float)))
def test_rank_is_the_average_of_counts(raw: np.ndarray) -> None:
    scaled = scale(raw, "rank")
    cells = [float(value) for value in raw.ravel()]
    for value, shown in zip(cells, scaled.values.ravel(), strict=True):
        below = sum(other < value for other in cells)
        equal = sum(other == value for other in cells)
        expected = 0.0 if len(set(cells)) == 1 else (below + (equal - 1) / 2) / (len(cells) - 1)
        assert shown == pytest.approx(expected, abs=1e-6)
    assert float(scaled.middle) == pytest.approx(float(np.median(raw)))


def test_sqrt_and_percentile_by_hand() -> None:
    raw = np.array([[1.0, 2.0], [5.0, 17.0]])
    root = scale(raw, "sqrt")
    assert root.values == pytest.approx(np.sqrt(np.array([[0, 1], [4, 16]]) / 16))
    assert float(root.middle) == 5.0  # half way along the bar stands a quarter of the range
    line = np.arange(101.0).reshape(1, 101)
    cut = scale(line, "percentile", percentiles=(10, 90))
    assert (float(cut.low), float(cut.middle), float(cut.high)) == (10, 50, 90) and cut.clipped
    assert cut.values[0, 5] == 0 and cut.values[0, 95] == 1 and cut.values[0, 30] == pytest.approx(0.25)


def test_scopes_share_what_they_say() -> None:
    maps = np.arange(2 * 3 * 2 * 2, dtype=float).reshape(2, 3, 2, 2)
    assert scale(maps, scope="map").low.tolist() == [[0, 4, 8], [12, 16, 20]]
    assert scale(maps, scope="block").low.tolist() == [[0, 0, 0], [12, 12, 12]]
    assert scale(maps, scope="block").high.tolist() == [[11, 11, 11], [23, 23, 23]]
    assert scale(maps, scope="flow").high.tolist() == [[11, 11, 11], [23, 23, 23]]
    assert scale(maps, scope="global").high.tolist() == [[23] * 3] * 2
    one = scale(maps, scope="global").at(1, 0)
    assert (
        one.values.shape == (2, 2)
        and float(one.low) == 0
        and float(one.values[0, 0]) == pytest.approx(12 / 23)
    )


def test_daam_paper_display_is_one_minmax_over_the_flow() -> None:
    flow = np.cumsum(np.random.default_rng(0).random((2, 5, 3, 4)), axis=1)
    shown = scale(flow, "daam").values
    for picture in range(2):
        low = min(flow[picture, b, y, x] for b in range(5) for y in range(3) for x in range(4))
        high = max(flow[picture, b, y, x] for b in range(5) for y in range(3) for x in range(4))
        assert shown[picture] == pytest.approx((flow[picture] - low) / (high - low), abs=1e-6)
    assert shown[0, 0].max() < shown[0, -1].max() == 1  # early blocks look dim


def test_daam_newer_display_literally() -> None:
    flow = np.cumsum(np.random.default_rng(1).random((5, 3, 4)), axis=0)
    scaled = scale(flow, "daam-sigmoid")
    top = flow.max()
    for block in range(5):
        stretched = [[1 / (1 + math.exp(-5 * value / top)) - 0.5 for value in row] for row in flow[block]]
        low, high = np.min(stretched), np.max(stretched)
        assert scaled.values[block] == pytest.approx((np.array(stretched) - low) / (high - low), abs=1e-6)
        assert scaled.low[block] == pytest.approx(flow[block].min())
        half = 1 / (1 + math.exp(-5 * scaled.middle[block] / top)) - 0.5
        assert half == pytest.approx((low + high) / 2)


def test_constant_and_empty_maps_are_marked() -> None:
    maps = np.stack([np.full((2, 2), 0.3), np.full((2, 2), np.nan), [[np.inf, 1.0], [2.0, np.nan]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = scale(maps)
    assert scaled.constant.tolist() == [True, False, False]
    assert scaled.invalid.tolist() == [0, 4, 2]
    assert np.isnan(scaled.low[1]) and (scaled.low[2], scaled.high[2]) == (1, 2)
    # Rounding of float32 around one value is no pattern.
    jitter = np.float32(0.02) + np.array([[0, 1], [2, 1]], np.float32) * np.float32(1e-9)
    assert bool(scale(jitter).constant)


@pytest.mark.parametrize(
    ("maps", "options", "words"),
    [
        (np.zeros(3), {}, "shape"),
        (np.zeros((0, 3)), {}, "shape"),
        (np.zeros((2, 2), complex), {}, "real numbers"),
        (np.zeros((2, 2)), {"scaling": "min-max"}, "minmax"),
        (np.zeros((2, 2)), {"scope": "layer"}, ", ".join(SCOPES)),
        (np.zeros((2, 2)), {"percentiles": (99, 1)}, "rise"),
    ],
)
def test_wrong_input_is_refused_in_one_line(maps: np.ndarray, options: dict, words: str) -> None:
    with pytest.raises(RenderingError, match=words) as caught:
        scale(maps, **options)
    assert "\n" not in str(caught.value)
