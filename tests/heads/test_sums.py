"""Head tables, agreements and strength of so many pictures that sums are kept, against those of every picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vitscope as vs
from vitscope import heads
from vitscope.errors import VitscopeError
from vitscope.heads import HeadsError, HeadTable, StrengthProfile, SummedHeadTable
from vitscope.heads.pruning.importance import with_first_order_correlation
from vitscope.heads.table_parts import merge_tables
from vitscope.sums import poisson_bootstrap
from vitscope.sums.poisson_bootstrap import poisson_weights

COUNT = 1300


def numbers(count: int = COUNT) -> dict[str, np.ndarray]:
    """Two metrics of 2 x 3 heads; one head of js_divergence is measured on every third picture only, one never."""
    random = np.random.default_rng(3)
    first = random.normal(np.arange(6).reshape(2, 3), 1, (count, 2, 3)).astype(np.float32)
    second = (first + random.normal(0, 4, first.shape)).astype(np.float32)
    second[np.arange(count) % 3 > 0, 1, 0] = np.nan
    second[:, 0, 1] = np.nan
    return {"first_order": first, "js_divergence": second}


VALUES = numbers()


def part(start: int, stop: int) -> HeadTable:
    keys = tuple(f"{index:07d}" for index in range(start, stop))
    return HeadTable(
        {name: array[start:stop] for name, array in VALUES.items()}, keys, {"pictures": stop - start}
    )


def bits(table: SummedHeadTable) -> list[bytes]:
    found = []
    for each in table.sums.values():
        for one in (each.sums.total, each.sums.samples, each.squares):
            found.append(one.value().numpy().tobytes())
    return found


WHOLE, SUMS = part(0, COUNT), SummedHeadTable.of(part(0, COUNT))


@pytest.mark.parametrize("metric", list(VALUES))
def test_means_spreads_intervals_and_order_are_those_of_rows(metric: str) -> None:
    assert np.allclose(SUMS.mean(metric), WHOLE.mean(metric), rtol=1e-12, equal_nan=True)
    assert np.allclose(SUMS.spread(metric), WHOLE.spread(metric), rtol=1e-12, equal_nan=True)
    assert np.array_equal(SUMS.counted(metric), WHOLE.counted(metric))
    assert np.allclose(SUMS.interval(metric), WHOLE.interval(metric), rtol=1e-10, equal_nan=True)
    assert SUMS.order(metric) == WHOLE.order(metric)
    frame = SUMS.to_pandas()
    assert frame[["block", "head", "n"]].equals(WHOLE.to_pandas()[["block", "head", "n"]])
    assert list(frame) == list(WHOLE.to_pandas()) and SUMS.count == COUNT


def test_bootstrap_means_by_hand() -> None:
    """Head (1, 0) of js_divergence, from the weights of each block, its unknown pictures left out."""
    column = VALUES["js_divergence"][:, 1, 0].astype(np.float64)
    weights = np.concatenate([poisson_weights(0, start, 1000) for start in range(0, COUNT, 512)], 1)[
        :, :COUNT
    ]
    known = np.isfinite(column)
    expected = weights[:, known] @ column[known] / weights[:, known].sum(1)
    assert np.allclose(SUMS.resampled("js_divergence")[:, 1, 0], expected, rtol=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.sets(st.integers(1, COUNT - 1), max_size=5), st.randoms(use_true_random=False))
def test_any_split_in_any_order(cuts: set[int], random: np.random.Generator) -> None:
    pieces = list(itertools.pairwise([0, *sorted(cuts), COUNT]))
    random.shuffle(pieces)  # type: ignore[arg-type]
    found = merge_tables([part(*piece) for piece in pieces], [start for start, _ in pieces], rows=0)
    assert isinstance(found, SummedHeadTable) and found.ranges == ((0, COUNT),)
    for metric in VALUES:
        assert np.allclose(found.resampled(metric), SUMS.resampled(metric), rtol=1e-11, equal_nan=True)
        assert np.array_equal(found.mean(metric), SUMS.mean(metric), equal_nan=True)
        assert np.array_equal(found.spread(metric), SUMS.spread(metric), equal_nan=True)
    assert found.metadata["pictures"] == COUNT


def test_cut_at_blocks_it_has_the_bits_of_the_whole() -> None:
    found = merge_tables([part(0, 512), part(512, 1024), part(1024, COUNT)], rows=0)
    assert isinstance(found, SummedHeadTable) and bits(found) == bits(SUMS)


def test_rows_up_to_the_limit_and_sums_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poisson_bootstrap, "EXACT", 1000)
    edges = list(itertools.pairwise(range(0, 1201, 100)))
    few = merge_tables(part(*edge) for edge in edges[:10])
    assert isinstance(few, HeadTable) and few.pictures == part(0, 1000).pictures
    many = merge_tables(part(*edge) for edge in edges)
    assert isinstance(many, SummedHeadTable) and many.count == 1200
    again = merge_tables([many, part(1200, COUNT)])
    assert isinstance(again, SummedHeadTable) and again.ranges == ((0, COUNT),)
    with pytest.raises(HeadsError, match="in both"):
        merge_tables([part(0, 600), part(0, 600)])
    with pytest.raises(HeadsError, match="from position 1100 to 1199"):
        merge_tables([many, SummedHeadTable.of(part(0, 200), 1100)])
    with pytest.raises(HeadsError, match="at least one head table"):
        merge_tables([])
    with pytest.raises(VitscopeError, match="same metrics, heads and seed"):
        SUMS.merge(SummedHeadTable.of(part(0, 10), 5000, seed=1))


@pytest.mark.parametrize("resample", ["pictures", "heads"])
def test_agreement_on_sums(resample: str, tmp_path: Path) -> None:
    rows, sums = (heads.agree(table, rounds=200, resample=resample) for table in (WHOLE, SUMS))  # type: ignore[arg-type]
    assert np.array_equal(rows.ranks, sums.ranks, equal_nan=True) and sums.pictures == COUNT
    for statistic in ("spearman", "kendall"):
        one, other = (found.correlation("first_order", "js_divergence", statistic) for found in (rows, sums))
        assert one.value == other.value
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.12)
    again = heads.Agreement.load(sums.save(tmp_path / "agreement"))
    assert again.to_pandas().equals(sums.to_pandas()) and isinstance(again.table, SummedHeadTable)
    first, second = (SummedHeadTable.of(part(*edge), edge[0]) for edge in ((0, 700), (700, COUNT)))
    merged = heads.agree(first, resample=resample, rounds=200).merge(  # type: ignore[arg-type]
        heads.agree(second, resample=resample, rounds=200)  # type: ignore[arg-type]
    )
    assert np.allclose(merged.to_pandas().iloc[:, 2:], sums.to_pandas().iloc[:, 2:], atol=1e-9)


def test_first_order_correlation_on_sums() -> None:
    found = [with_first_order_correlation(table).metadata["first_order_spearman"] for table in (WHOLE, SUMS)]
    full = {**VALUES, "js_divergence": np.nan_to_num(VALUES["js_divergence"], nan=0.5)}
    table = HeadTable(full, WHOLE.pictures)
    rows, sums = (
        with_first_order_correlation(each).metadata["first_order_spearman"]["js_divergence"]
        for each in (table, SummedHeadTable.of(table))
    )
    assert rows == sums != pytest.approx(0, abs=0.01) and set(found[1]) == {"js_divergence"}


def test_it_is_saved_shown_and_read_back(tmp_path: Path) -> None:
    again = SummedHeadTable.load(SUMS.save(tmp_path / "heads"))
    assert bits(again) == bits(SUMS) and again.to_pandas().equals(SUMS.to_pandas())
    assert (again.ranges, again.metadata, again.seed) == (SUMS.ranges, SUMS.metadata, SUMS.seed)
    assert SUMS.save(tmp_path / "heads.csv").read_text().count("\n") >= 7
    assert "1300 pictures" in SUMS._repr_html_()
    with pytest.raises(HeadsError, match="expected a metric of this table"):
        SUMS.mean("js")


def test_what_is_held_does_not_grow() -> None:
    def shards() -> Iterator[HeadTable]:
        for start in range(0, 20_000, 500):
            values = np.random.default_rng(start).random((500, 2, 3), np.float32)
            yield HeadTable({"a": values}, tuple(f"{start + i}" for i in range(500)))

    found = merge_tables(shards(), rows=1000)
    assert isinstance(found, SummedHeadTable) and found.count == 20_000 and not found.ids
    assert sum(array.numel() for array in found.arrays().values()) == 2 * (12 + 12_000 + 6)
    assert found.mean("a") == pytest.approx(0.5, abs=0.02) and found.spread("a") == pytest.approx(
        0.289, abs=0.005
    )


def test_strength_of_very_many_pictures_keeps_moments_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vit = vs.open_model("bundled/shapes")
    images = vs.worlds.world("shapes").sample(6, seed=1).images()
    kept = heads.strength(vit, images, batch_size=2)
    monkeypatch.setattr(poisson_bootstrap, "EXACT", 5)
    found = heads.strength(vit, images, batch_size=2)
    assert (found.count, found.pictures, dict(found.scalars), found.ids) == (6, (), {}, ())
    assert found.summary().equals(kept.summary()) and found.to_pandas().equals(kept.to_pandas())
    again = StrengthProfile.load(found.save(tmp_path / "strength"))
    assert again.count == 6 and again.summary().equals(kept.summary())
    assert "6 pictures" in repr(again) and "6 pictures" in again._repr_html_()
    parts = [heads.strength(vit, images[cut]) for cut in (slice(0, 3), slice(3, 6))]
    merged = parts[0].merge(parts[1])
    assert merged.pictures == () == merged.ids and np.allclose(merged["mass"], kept["mass"], rtol=1e-12)
