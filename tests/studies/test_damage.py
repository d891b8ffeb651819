"""Damaged bytes in every kind of file of a study: told in one line, or without any effect on what is read."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from tests.studies.small_study import NAMES, SHARDS, SPECS, STUDY, SmallStudy
from vitscope.errors import DamagedError
from vitscope.studies.store.arrays import open_array
from vitscope.studies.store.specs import metadata_path, shard_path
from vitscope.studies.store.tables import read_table, table_path

FLIPS = 200
LINE = r"^[^\n]+{} is damaged \([^\n]+\); vitscope study status --verify [^\n]+$"


def every(shard: int) -> bool:
    return shard in SHARDS


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_in_a_table_is_told(small: SmallStudy, name: str):
    path = table_path(name, 1)
    content = small.files[path]
    draw = np.random.default_rng(0)
    for position in draw.choice(len(content), FLIPS, replace=False):
        harmed = bytearray(content)
        harmed[position] ^= 1 << int(draw.integers(8))
        small.store.put(path, bytes(harmed))
        with pytest.raises(DamagedError, match=LINE.format(re.escape(path))):
            read_table(small.store, name, [1], study=STUDY)


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[5]], ids=lambda spec: spec.path)
def test_a_flipped_bit_in_an_array_is_told_or_changes_nothing(small: SmallStudy, spec):
    """Zstd's frames have a few bits without meaning; all others end in an error, and never in other values."""
    path = shard_path(spec, 1)
    content = small.files[path]
    values = open_array(small.store, spec.path, every)[:]
    draw = np.random.default_rng(0)
    told = 0
    for position in draw.choice(len(content), min(FLIPS, len(content)), replace=False):
        harmed = bytearray(content)
        harmed[position] ^= 1 << int(draw.integers(8))
        small.store.put(path, bytes(harmed))
        array = open_array(small.store, spec.path, every)
        for key in (slice(None), 9):
            try:
                np.testing.assert_array_equal(array[key], values[key])
            except DamagedError as error:
                told += key != 9
                assert path in str(error) and "\n" not in str(error)
    assert told > 0.95 * min(FLIPS, len(content))


@pytest.mark.parametrize("spec", SPECS[:1], ids=lambda spec: spec.path)
def test_a_flipped_bit_in_the_description_of_an_array_is_told(small: SmallStudy, spec):
    path = metadata_path(spec.path)
    content = small.files[path]
    draw = np.random.default_rng(0)
    for position in draw.choice(len(content), FLIPS, replace=False):
        harmed = bytearray(content)
        harmed[position] ^= 1 << int(draw.integers(8))
        small.store.put(path, bytes(harmed))
        with pytest.raises(DamagedError, match=LINE.format(re.escape(path))):
            open_array(small.store, spec.path, every)


@pytest.mark.parametrize("left", [0, 1, 11, 200])
def test_a_file_cut_off_is_told(small: SmallStudy, left: int):
    path = table_path("scores", 1)
    small.store.put(path, small.files[path][:left])
    with pytest.raises(DamagedError, match=LINE.format(re.escape(path))):
        read_table(small.store, "scores", SHARDS)
    path = shard_path(SPECS[0], 1)
    small.store.put(path, small.files[path][:left])
    with pytest.raises(DamagedError, match=LINE.format(re.escape(path))):
        open_array(small.store, "maps/gmar", every)[8]
    path = metadata_path("maps/gmar")
    small.store.put(path, small.files[path][:left])
    with pytest.raises(DamagedError, match=LINE.format(re.escape(path))):
        open_array(small.store, "maps/gmar", every)


def test_other_shards_are_read_beside_a_damaged_one(small: SmallStudy):
    small.store.put(table_path("scores", 1), b"")
    small.store.put(shard_path(SPECS[0], 1), b"")
    assert len(read_table(small.store, "scores", [0, 2])) == len(
        pd.concat(read_table(small.store, "scores", [shard]) for shard in (0, 2))
    )
    array = open_array(small.store, "maps/gmar", every)
    assert np.isfinite(array[16:]).all() and np.isfinite(array[7]).all()


def test_more_bytes_than_were_written_are_told(small: SmallStudy):
    path = shard_path(SPECS[0], 1)
    small.store.put(path, small.files[path] + b"0000")
    with pytest.raises(DamagedError, match=LINE.format(re.escape(path))):
        open_array(small.store, "maps/gmar", every)[8]
