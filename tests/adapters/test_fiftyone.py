"""The fields of FiftyOne's heat maps: values on the whole picture, and the range of the colours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vitscope as vs
from vitscope.adapters import AdapterError, add_heatmaps, heatmap
from vitscope.errors import PlaceError


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return vs.open_model("bundled/shapes")


@pytest.fixture(scope="module")
def wide() -> Image.Image:
    """A picture of which the model sees the middle square."""
    [picture] = vs.worlds.demo_pictures(1).images()
    return picture.resize((320, 160))


@pytest.mark.parametrize("method", ["dart", "gae"])
def test_values_lie_where_their_patches_lie_on_the_picture(
    method: str, vit: vs.Vit, wide: Image.Image
) -> None:
    e = vs.explain(vit, [wide], method)
    fields = heatmap(e, 0, side=320)
    on_picture = e.on_original(0).numpy()
    assert fields["map"].shape == (160, 320) and fields["map"].dtype == np.float32
    seen = ~np.isnan(on_picture)
    assert 0 < seen.sum() < seen.size
    assert np.array_equal(fields["map"][seen], on_picture[seen]) and not fields["map"][~seen].any()
    small = heatmap(e, 0, side=80)["map"]
    assert small.shape == (40, 80)
    # every fourth pixel, from the third on: the middle of four
    assert np.array_equal(small, fields["map"][2::4, 2::4])


def test_the_range_is_the_maps_own(vit: vs.Vit, wide: Image.Image) -> None:
    signed, unsigned = (vs.explain(vit, [wide], method) for method in ("dart", "gae"))
    most = float(signed.maps.abs().max())
    assert heatmap(signed)["range"] == [-most, most] and float(signed.maps.min()) < 0
    assert heatmap(unsigned)["range"] == [0.0, float(unsigned.maps.max())]


def test_of_ready_tensors_the_map_is_as_it_is(vit: vs.Vit, wide: Image.Image) -> None:
    e = vs.explain(vit, vit.inputs([wide]), "gae")
    assert np.array_equal(heatmap(e)["map"], e.maps[0].numpy())


@pytest.fixture
def data_set() -> Iterator[Any]:
    """A data set of FiftyOne's, which is no part of the development tools: it wants a database server of its own."""
    fiftyone = pytest.importorskip("fiftyone")
    made = fiftyone.Dataset()
    yield made
    made.delete()


def test_a_data_set_of_the_real_package_keeps_the_maps(
    vit: vs.Vit, wide: Image.Image, tmp_path: Path, data_set: Any
) -> None:
    """FiftyOne 1.22 was the last one that it was run with; CONTRIBUTING.md says how."""
    import fiftyone

    files = [tmp_path / name for name in ("one.png", "other.png", "third.png")]
    for turn, file in enumerate(files):
        wide.rotate(180 * turn).save(file)
    data_set.add_samples([fiftyone.Sample(filepath=str(file)) for file in files])
    assert add_heatmaps(data_set, vit, "dart", method="dart", batch_size=2, side=80) == 3
    data_set.reload()
    by_hand = vs.explain(vit, files, "dart")
    for sample in data_set:
        place = files.index(Path(sample.filepath))
        kept, wanted = sample["dart"], heatmap(by_hand, place, side=80)
        assert isinstance(kept, fiftyone.Heatmap)
        assert np.allclose(kept.map, wanted["map"], atol=1e-5) and kept.map.shape == (40, 80)
        assert kept.range == pytest.approx(wanted["range"], abs=1e-5)
    view = data_set.match(fiftyone.ViewField("filepath") == str(files[1]))
    assert add_heatmaps(view, vit, "gae", method="gae") == 1
    assert [sample["gae"] is not None for sample in data_set.sort_by("filepath")] == [False, True, False]


@dataclass
class Sample:
    filepath: str


def test_without_fiftyone_one_line_says_so(
    vit: vs.Vit, wide: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    wide.save(tmp_path / "wide.png")
    with pytest.raises(
        AdapterError, match="needs the package fiftyone; install it with: pip install fiftyone"
    ):
        add_heatmaps([Sample(str(tmp_path / "wide.png"))], vit, "gae")


def test_what_is_not_there_is_refused_in_one_line(vit: vs.Vit, wide: Image.Image) -> None:
    e = vs.explain(vit, [wide], "gae")
    with pytest.raises(PlaceError, match="from 0 to 0, got 1"):
        heatmap(e, 1)
    with pytest.raises(AdapterError, match="filepath"):
        add_heatmaps([wide], vit, "gae")
    with pytest.raises(AdapterError, match="field as a name"):
        add_heatmaps([], vit, "two words")
