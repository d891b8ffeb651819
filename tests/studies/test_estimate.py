"""What a study is said to cost before it is begun, against what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.studies.worlds import QUICK, folder_of_pictures, made
from vitscope.studies import Sizes
from vitscope.studies.estimate import Cost, Estimate, fitting_shard_size
from vitscope.tracing.calls.counting import counted_passes


@pytest.mark.parametrize(
    ("analyses", "each"),
    [
        ({"explain": {}}, (1, 1)),
        ({"evaluate": {"protocol": QUICK, "controls": ("random",)}}, (5, 10)),
        ({"importance": {"representation": "none"}}, (25, 26)),
    ],
    ids=lambda chosen: next(iter(chosen)) if isinstance(chosen, dict) else "",
)
def test_passes_and_bytes_are_those_of_the_run(
    analyses: dict[str, Any], each: tuple[int, int], tmp_path: Path
) -> None:
    """By hand: one trace; two curves of two steps for two rows; a trace and six blocks of four heads without each.
    Perturbed pictures and pictures without a head count as passes of their own; files are those on disk."""
    methods = None if "importance" in analyses else ["gmar"]
    arrays = ("maps",) if "explain" in analyses else ()
    study = made(
        tmp_path / "study",
        folder_of_pictures(tmp_path / "pictures", 16),
        analyses=analyses,
        methods=methods,
        arrays=arrays,
        sizes=Sizes(shard_size=8, batch_size=2, threads=1),
    )
    with counted_passes() as count:
        study.run()
    foretold = study.manifest.estimate
    assert foretold["forwards"] == pytest.approx(count.forwards, rel=0.05)
    assert foretold["backwards"] == pytest.approx(count.backwards, rel=0.05)
    low, high = each
    assert 16 * low <= foretold["forwards"] <= 16 * high
    names = ("tables/*/*", "arrays.zarr/**/c.*", "states/*/*")
    place = Path(study.place)
    written = sum(file.stat().st_size for name in names for file in place.glob(name))
    assert foretold["bytes"] == pytest.approx(written, rel=0.5)


def test_sums_are_counted_for_each_shard(tmp_path: Path) -> None:
    """The profiles of heads are sums: as long for two hundred pictures as for six."""
    pictures = folder_of_pictures(tmp_path / "pictures", 24)
    asked: dict[str, Any] = {"analyses": ["strength"], "methods": None, "arrays": ()}
    for size in (24, 8):
        sizes = Sizes(shard_size=size, batch_size=2, threads=1)
        study = made(tmp_path / f"by-{size}", pictures, sizes=sizes, **asked)
        study.run()
        place = Path(study.place)
        written = sum(file.stat().st_size for file in place.glob("states/main/*"))
        foretold = study.manifest.estimate["bytes"]
        assert written < foretold < 1.3 * written + 24 * 4000


@pytest.mark.parametrize(
    ("cost", "batch", "expected"),
    [
        (
            Cost(seconds=0.11, decode=0.01, bytes=3000),
            16,
            1008,
        ),  # 1,000 pictures are two minutes: 62.5 batches
        (Cost(seconds=10.0, bytes=3000), 16, 64),
        (Cost(seconds=1e-4, bytes=10), 16, 16_384),
        (Cost(seconds=0.012, bytes=2.8e6), 16, 96),  # 256 MB
        (Cost(seconds=0.9, bytes=10), 48, 144),  # whole batches
        (Cost(seconds=1.0, bytes=10), 8, 128),
    ],
)
def test_a_shard_is_two_minutes_of_work(cost: Cost, batch: int, expected: int) -> None:
    assert fitting_shard_size(cost, batch) == pytest.approx(expected, abs=16)
    assert fitting_shard_size(cost, batch) % batch == 0


def test_what_is_large_is_asked_about() -> None:
    def of(**changed: Any) -> Estimate:
        usual = {"forwards": 1, "backwards": 1, "seconds": 10.0, "decode": 1.0, "bytes": 1e6, "free": 10**12}
        return Estimate(100, 2, **{**usual, **changed})

    assert not of().large
    assert of(seconds=3601.0).large and not of(seconds=3599.0).large
    assert of(bytes=10 * 1024**3 + 1).large and not of(bytes=10 * 1024**3 - 1).large
    assert of(free=999_999).large and not of(free=None).large
