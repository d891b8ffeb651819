"""Arrays of a study: rows come back as given, also in plain Zarr, and files are trusted by record only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.studies.small_study import PICTURES, SHARDS, SIZE, SKIPPED, SPECS, STUDY, SmallStudy, values_of
from vitscope.errors import DamagedError, OutputError, PlaceError, StorageError
from vitscope.studies.store.arrays import blank_rows, encode_shard, open_array
from vitscope.studies.store.specs import (
    array_folders,
    array_metadata,
    array_spec,
    check_range,
    group_metadata,
    inner_of,
    metadata_path,
    shard_path,
)


def every(shard: int) -> bool:
    return shard in SHARDS


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.path)
def test_rows_come_back_here_and_in_plain_zarr(on_disk: SmallStudy, spec):
    values = values_of(spec)
    array = open_array(on_disk.store, spec.path, every)
    assert array.shape == values.shape and array.dtype == values.dtype and array.dims == spec.dims
    np.testing.assert_array_equal(array[:], values)
    assert np.isnan(array[SKIPPED]).all() and not np.isnan(array[SKIPPED + 1]).any()
    plain = zarr.open_array(on_disk.store.url(f"arrays.zarr/{spec.path}"), mode="r")
    np.testing.assert_array_equal(plain[:], values)
    assert plain.shards == (SIZE, *spec.shape) and plain.metadata.dimension_names == spec.dims


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        slice(6, 18),
        slice(None, None, 3),
        ...,
        (slice(2, 9), 1),
        (slice(None), slice(0, 2), -1),
        (4, 2, 3),
    ],
)
def test_selections_are_those_of_numpy(small: SmallStudy, key):
    array = open_array(small.store, "maps/gmar", every)
    np.testing.assert_array_equal(array[key], values_of(SPECS[0])[key])


def test_lists_and_masks_select_rows(small: SmallStudy):
    array, values = open_array(small.store, "maps/gmar", every), values_of(SPECS[0])
    np.testing.assert_array_equal(array[[19, 2, 8]], values[[19, 2, 8]])
    mask = np.arange(PICTURES) % 4 == 1
    np.testing.assert_array_equal(array[mask, 1], values[mask, 1])
    np.testing.assert_array_equal(array[[4, 3], ..., -2], values[[4, 3], ..., -2])
    np.testing.assert_array_equal(array[-1, [2, 0]], values[-1, [2, 0]])
    np.testing.assert_array_equal(np.asarray(array), values)
    assert len(array) == PICTURES and array.shards == 3 and "picture: 20, y: 4, x: 5; float32" in repr(array)
    parts = list(array.iterate([0, 2]))
    assert [start for start, _ in parts] == [0, 16] and [len(rows) for _, rows in parts] == [8, 4]
    np.testing.assert_array_equal(parts[1][1], values[16:])


@pytest.mark.parametrize(
    "key",
    [20, (0, 9), [25], ([0], 4), ([0], -9), ([0], 0, 0, 0), "maps", (0, 0, 0, 0), np.zeros(3, dtype=bool)],
)
def test_a_place_that_is_not_there_is_told(small: SmallStudy, key):
    with pytest.raises(PlaceError, match=r"is no place in an array of shape \(20, 4, 5\)"):
        open_array(small.store, "maps/gmar", every)[key]


def test_only_shards_with_a_record_are_read(small: SmallStudy):
    """A file without a record may be half of anything: it is not opened, also when it is damaged or empty."""
    array = open_array(small.store, "maps/gmar", lambda shard: shard != 1)
    small.store.put(shard_path(SPECS[0], 1), b"left by a run that was killed")
    found, values = array[:], values_of(SPECS[0])
    assert np.isnan(found[8:16]).all()
    np.testing.assert_array_equal(found[16:], values[16:])


@pytest.mark.parametrize("key", [9, slice(None), slice(8, 16), [3, 12]])
@pytest.mark.parametrize(
    ("harm", "said"),
    [("empty", "it is empty"), ("missing", "it is missing"), ("cut", "its checksum does not fit")],
)
def test_a_recorded_file_that_is_not_whole_is_told(small: SmallStudy, key, harm: str, said: str):
    path = shard_path(SPECS[0], 1)
    content = small.files[path]
    if harm == "missing":
        small.store.remove(path)
    else:
        small.store.put(path, b"" if harm == "empty" else content[: len(content) // 2])
    line = rf"^[^\n]*maps/gmar/c\.1\.0\.0 is damaged \(({said})[^\n]*study status --verify[^\n]*$"
    with pytest.raises(DamagedError, match=line):
        open_array(small.store, "maps/gmar", every)[key]


@pytest.mark.parametrize("size", [6, 16, 48, 80])
@pytest.mark.parametrize("short", [1, 5, 6])
def test_any_size_of_shard_and_a_short_last_one(tmp_path: Path, size: int, short: int):
    from vitscope.storage.stores import open_store

    spec = array_spec("maps/x", (2, 3))
    store = open_store(tmp_path / "s")
    store.make_root(array_folders([spec]))
    values = np.random.default_rng(0).random((size + short, 2, 3), dtype=np.float32)
    store.put(metadata_path("maps/x"), array_metadata(spec, size + short, size))
    store.put(shard_path(spec, 0), encode_shard(spec, size, values[:size]))
    store.put(shard_path(spec, 1), encode_shard(spec, size, values[size:]))
    np.testing.assert_array_equal(zarr.open_array(store.url("arrays.zarr/maps/x"), mode="r")[:], values)
    np.testing.assert_array_equal(open_array(store, "maps/x", every)[:], values)


def test_the_bytes_are_those_that_zarr_itself_would_write(tmp_path: Path):
    spec = array_spec("maps/x", (5, 7))
    values = np.random.default_rng(0).random((32, 5, 7), dtype=np.float32)
    array = zarr.create_array(
        tmp_path / "z", shape=(32, 5, 7), shards=(32, 5, 7), chunks=(16, 5, 7), dtype="float32", fill_value=np.nan,
        compressors=zarr.codecs.ZstdCodec(level=1, checksum=True), dimension_names=("picture", "y", "x"),
        chunk_key_encoding={"name": "default", "separator": "."},
    )  # fmt: skip
    array[:] = values
    assert (tmp_path / "z" / "c.0.0.0").read_bytes() == encode_shard(spec, 32, values)
    theirs, ours = (
        json.loads((tmp_path / "z" / "zarr.json").read_text()),
        json.loads(array_metadata(spec, 32, 32)),
    )
    assert ours.pop("attributes").keys() == {"vitscope_checksum"} and theirs.pop("attributes") == {}
    assert ours == theirs


def test_equal_values_give_equal_bytes_whatever_their_layout():
    spec = array_spec("flow/x", (3, 4, 5))
    values = np.random.default_rng(1).standard_normal((10, 3, 4, 5)).astype(np.float32)
    made = encode_shard(spec, 16, values)
    assert (
        made
        == encode_shard(spec, 16, np.asfortranarray(values))
        == encode_shard(spec, 16, values.astype(np.float64))
    )
    assert made == encode_shard(spec, 16, values.astype(np.float16))


def test_a_shard_of_skipped_pictures_is_a_file_like_any_other(small: SmallStudy):
    spec = SPECS[0]
    content = encode_shard(spec, SIZE, blank_rows(spec, SIZE))
    assert len(content) > 16
    small.store.put(shard_path(spec, 1), content)
    assert np.isnan(open_array(small.store, spec.path, every)[8:16]).all()


def test_shards_of_a_capacity_keep_no_chunk_that_was_not_written():
    spec = array_spec("maps/x", (14, 14))
    values = np.random.default_rng(0).random((100, 14, 14), dtype=np.float32)
    few, full = encode_shard(spec, 112, values), encode_shard(spec, 16_384, values)
    assert len(full) - len(few) == 16 * (1024 - 7), "the index alone"


def test_specs_follow_the_table_of_the_design():
    kinds = {spec.path.split("/")[0]: (spec.dtype, spec.inner, spec.dims[1:]) for spec in SPECS}
    kinds["class_rows"] = (lambda s: (s.dtype, s.inner, s.dims[1:]))(array_spec("class_rows", (12, 3, 197)))
    assert kinds == {
        "maps": ("float32", 16, ("y", "x")),
        "flow": ("float16", 16, ("block", "y", "x")),
        "class_rows": ("float16", 16, ("block", "head", "token")),
        "head_scores": ("float32", 256, ("block", "head")),
        "patterns": ("float16", 16, ("block", "head", "latent")),
        "attention": ("float16", 1, ("block", "head", "query", "key")),
    }
    assert array_spec("class_rows/block_07", (6, 197)).dims == ("picture", "head", "token")
    assert array_spec("features", (192,)).dims == ("picture", "feature")
    assert array_spec("flow/gmar", (12, 14, 14), "float32").dtype == "float32"
    assert array_spec("maps/gmar", (14, 14), "float16").dtype == "float32", "rounding would make ties"
    assert array_spec("flow/gmar", (12, 14, 14)).bytes_raw == 2 * 12 * 14 * 14
    assert [inner_of(SPECS[0], size) for size in (16, 64, 6, 20, 272)] == [16, 16, 6, 10, 16]


@pytest.mark.parametrize(
    ("path", "shape"), [("map/x", (1, 1)), ("maps/", (1, 1)), ("maps/x", (1,)), ("maps/x", (0, 1)), ("flow/x", (5,)),
                        ("class_rows", (1, 2, 3, 4))]
)  # fmt: skip
def test_what_is_no_array_is_refused(path: str, shape: tuple[int, ...]):
    with pytest.raises(StorageError):
        array_spec(path, shape)


def test_groups_lead_to_every_array():
    files = group_metadata(STUDY, SPECS)
    assert set(files) == {
        f"arrays.zarr/{name}zarr.json"
        for name in ("", "maps/", "flow/", "class_rows/", "head_scores/", "patterns/")
    }
    root = json.loads(files["arrays.zarr/zarr.json"])
    assert root["attributes"]["vitscope_study"] == STUDY and root["attributes"]["schema"] == 2
    assert "consolidated_metadata" not in root
    with pytest.raises(StorageError, match="class_rows/block_0"):
        group_metadata(STUDY, [array_spec("class_rows", (2, 3, 4)), array_spec("class_rows/block_0", (3, 4))])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (65_520.0, "holds 65520, float16 ends at 65504"),
        (-1e9, "holds 1e.09"),
        (np.inf, "holds inf"),
        (1e-6, "1e-06"),
    ],
)
def test_what_float16_does_not_hold_is_refused_with_the_remedy(value: float, said: str):
    spec = array_spec("flow/gmar", (1, 2, 2))
    values = np.zeros((3, 1, 2, 2), dtype=np.float32)
    values[1, 0, 1, 1] = value
    values[2] = np.nan
    with pytest.raises(OutputError, match=rf"flow/gmar.*{said}.*--arrays-precision float32"):
        encode_shard(spec, 4, values)
    encode_shard(array_spec("flow/gmar", (1, 2, 2), "float32"), 4, values)
    values[1, 0, 1, 1] = 65_519.0
    check_range(spec, values)
    assert not np.isinf(values.astype(np.float16)).any()


def test_other_shapes_are_refused():
    spec = array_spec("maps/x", (2, 2))
    for shape in ((0, 2, 2), (5, 2, 2), (4, 2), (4, 2, 3)):
        with pytest.raises(OutputError, match="takes 1 to 4 rows"):
            encode_shard(spec, 4, np.zeros(shape, dtype=np.float32))


def test_an_array_that_is_not_there(small: SmallStudy):
    with pytest.raises(StorageError, match="no array 'maps/dart'"):
        open_array(small.store, "maps/dart", every)
