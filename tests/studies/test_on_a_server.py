"""Tables and arrays of a study under a URL: an S3 server of this machine."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from tests.servers import S3
from tests.studies.small_study import SHARDS, SIZE, SKIPPED, SPECS, STUDY, SmallStudy, put_study, values_of
from vitscope.errors import DamagedError
from vitscope.storage.stores import open_store
from vitscope.studies.store.arrays import open_array
from vitscope.studies.store.specs import shard_path
from vitscope.studies.store.tables import iterate_table, read_table, table_path


def every(shard: int) -> bool:
    return shard in SHARDS


@pytest.fixture(scope="module")
def remote(s3: S3) -> SmallStudy:
    """The small study in a bucket."""
    return put_study(open_store(f"{s3.bucket()}/studies/small"))


def test_tables_and_arrays_are_read_from_a_bucket(remote: SmallStudy, on_disk: SmallStudy):
    for name in ("pictures", "scores"):
        there, here = (read_table(place.store, name, SHARDS, study=STUDY) for place in (remote, on_disk))
        assert there.equals(here) and len(list(iterate_table(remote.store, name))) == 3
    for spec in SPECS[:3]:
        array, values = open_array(remote.store, spec.path, every), values_of(spec)
        np.testing.assert_array_equal(array[:], values)
        np.testing.assert_array_equal(array[[1, 17]], values[[1, 17]])
        assert np.isnan(array[SKIPPED]).all()
        plain = zarr.open_array(remote.store.url(f"arrays.zarr/{spec.path}"), mode="r")
        np.testing.assert_array_equal(plain[:], values)


@pytest.mark.parametrize("key", [SIZE + 1, slice(None)])
@pytest.mark.parametrize("harm", ["empty", "cut", "missing", "flipped"])
def test_damage_in_a_bucket_is_told(remote: SmallStudy, harm: str, key):
    path = shard_path(SPECS[0], 1)
    whole = remote.files[path]
    harmed = {"empty": b"", "cut": whole[:9], "flipped": whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]}
    try:
        remote.store.remove(path) if harm == "missing" else remote.store.put(path, harmed[harm])
        with pytest.raises(
            DamagedError, match=rf"^s3://.*/{path} is damaged \([^\n]*study status --verify[^\n]*$"
        ):
            open_array(remote.store, "maps/gmar", every)[key]
        assert np.isfinite(open_array(remote.store, "maps/gmar", every)[0]).all()
    finally:
        remote.store.put(path, whole)


def test_a_damaged_table_in_a_bucket_is_told(remote: SmallStudy):
    path = table_path("scores", 1)
    try:
        remote.store.put(path, remote.files[path][:-1])
        with pytest.raises(DamagedError, match=rf"^s3://.*/{path} is damaged"):
            read_table(remote.store, "scores", SHARDS)
    finally:
        remote.store.put(path, remote.files[path])
