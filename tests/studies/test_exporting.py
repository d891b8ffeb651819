"""Single files for other programs: the same values, one file for each table, whole or not at all, in flat memory."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

import vitscope as vs
from tests.studies.small_study import (
    NAMES,
    PICTURES,
    SHARDS,
    SKIPPED,
    SPECS,
    STUDY,
    SmallStudy,
    values_of,
)
from vitscope.errors import Cancelled, DamagedError, MissingExtraError, OutputError
from vitscope.studies.store.exporting import Stored, export
from vitscope.studies.store.specs import shard_path
from vitscope.studies.store.tables import read_table, table_path


def stored(small: SmallStudy, finished: Sequence[int] = SHARDS) -> Stored:
    return Stored(small.store, STUDY, NAMES, [spec.path for spec in SPECS], lambda name: finished)


def test_parquet_holds_every_table_and_the_scores_of_heads(on_disk: SmallStudy, tmp_path: Path):
    written = export(stored(on_disk), tmp_path / "out")
    assert [path.name for path in written] == [f"{name}.parquet" for name in (*NAMES, "head_scores")]
    for name in NAMES:
        found = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
        expected = read_table(on_disk.store, name, SHARDS)
        pd.testing.assert_frame_equal(found, expected, check_categorical=False)
    note = pq.ParquetFile(written[0], page_checksum_verification=True).schema_arrow.metadata
    assert note == {b"vitscope_schema": b"2", b"study": STUDY.encode()}


def test_scores_of_heads_are_one_row_each(on_disk: SmallStudy, tmp_path: Path):
    (path,) = export(stored(on_disk), tmp_path / "scores.parquet", table="head_scores")
    found = pd.read_parquet(path)
    assert path == tmp_path / "scores.parquet" and found["picture"].is_monotonic_increasing
    expected = {
        (row, block, head, spec.path.rpartition("/")[2]): values_of(spec)[row, block, head]
        for spec in SPECS
        if spec.path.startswith("head_scores/")
        for row in range(PICTURES)
        for block in range(2)
        for head in range(3)
        if row != SKIPPED
    }
    rows = found.itertuples(index=False, name=None)
    assert {(p, b, h, m): np.float32(value) for p, b, h, m, value in rows} == expected
    assert [str(kind) for kind in found.dtypes] == ["int64", "int16", "int16", "category", "float32"]


def test_csv_is_read_by_any_program(on_disk: SmallStudy, tmp_path: Path):
    export(stored(on_disk), tmp_path, format="csv")
    with (tmp_path / "pictures.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["picture"]) for row in rows] == list(range(PICTURES))
    assert rows[0]["key"] == "bytes:caf%E9.jpg" and rows[1]["label"] == "1" and rows[2]["label"] == ""
    assert (
        rows[SKIPPED]["reason"] == "cannot be read"
        and rows[SKIPPED]["width"] == ""
        and rows[4]["width"] == "104"
    )
    scores = pd.read_csv(tmp_path / "scores.csv")
    expected = read_table(on_disk.store, "scores", SHARDS)
    assert scores["value"].tolist() == pytest.approx(expected["value"].tolist(), rel=0, abs=0, nan_ok=True)
    assert json.loads(scores["statistics"][3]) == expected["statistics"][3].tolist()
    heads = pd.read_csv(tmp_path / "head_scores.csv", dtype={"value": np.float32})
    export(stored(on_disk), tmp_path / "h.parquet", table="head_scores")
    assert heads["value"].tolist() == pd.read_parquet(tmp_path / "h.parquet")["value"].tolist()


def test_netcdf_holds_every_array(on_disk: SmallStudy, tmp_path: Path):
    written = export(stored(on_disk), tmp_path, format="netcdf")
    kinds = ["maps", "flow", "class_rows", "head_scores", "patterns", "attention"]
    assert [path.name for path in written] == [f"{kind}.nc" for kind in kinds]
    for spec in SPECS:
        with xr.open_dataset(tmp_path / f"{spec.path.partition('/')[0]}.nc", engine="h5netcdf") as data:
            variable = data[spec.path.rpartition("/")[2]]
            np.testing.assert_array_equal(variable.values, values_of(spec).astype(np.float32))
            assert variable.dims[0] == "picture" and data.attrs["vitscope_study"] == STUDY
    with xr.open_dataset(tmp_path / "class_rows.nc", engine="h5netcdf") as data:
        assert data["block_0"].dims == ("picture", "head", "token")
        assert data["block_1"].dims == ("picture", "head_of_block_1", "token")


def test_only_finished_shards_are_exported(small: SmallStudy, tmp_path: Path):
    small.store.put(table_path("scores", 1), b"half")
    small.store.put(shard_path(SPECS[0], 1), b"half")
    some = stored(small, [0, 2])
    export(some, tmp_path / "s.parquet", table="scores")
    assert set(pd.read_parquet(tmp_path / "s.parquet")["picture"] // 8) == {0, 2}
    export(some, tmp_path / "m.nc", format="netcdf", table="maps")
    with xr.open_dataset(tmp_path / "m.nc", engine="h5netcdf") as data:
        assert np.isnan(data["gmar"].values[8:16]).all() and np.isfinite(data["gmar"].values[16:]).all()
    export(stored(small, []), tmp_path / "none.parquet", table="scores")
    assert pd.read_parquet(tmp_path / "none.parquet").shape == (0, 6)


@pytest.mark.parametrize(("format", "table"), [("parquet", "scores"), ("csv", "scores"), ("netcdf", "maps")])
def test_a_damaged_file_leaves_what_was_there(small: SmallStudy, tmp_path: Path, format, table: str):
    for path in (table_path("scores", 2), shard_path(SPECS[0], 2)):
        small.store.put(path, small.files[path][:-5])
    ending = {"parquet": "parquet", "csv": "csv", "netcdf": "nc"}[format]
    (tmp_path / f"{table}.{ending}").write_text("before")
    with pytest.raises(DamagedError, match="is damaged"):
        export(stored(small), tmp_path, format=format, table=table)
    assert [path.name for path in tmp_path.iterdir()] == [f"{table}.{ending}"]
    assert (tmp_path / f"{table}.{ending}").read_text() == "before"


@pytest.mark.parametrize(
    ("format", "table", "said"),
    [
        ("parquet", "score", "no 'score' to export as parquet; did you mean scores"),
        ("parquet", "maps", "it is exported with --format netcdf"),
        ("netcdf", "scores", "it is exported with --format parquet or csv"),
        ("json", None, "expected a format out of parquet, csv, netcdf"),
    ],
)
def test_what_cannot_be_exported_is_told(small: SmallStudy, tmp_path: Path, format, table, said: str):
    with pytest.raises(OutputError, match=said):
        export(stored(small), tmp_path / "out", format=format, table=table)
    assert not (tmp_path / "out").exists()


def test_one_file_is_for_one_table(small: SmallStudy, tmp_path: Path):
    with pytest.raises(OutputError, match=r"one file for 6 .* choose one with --table"):
        export(stored(small), tmp_path / "all.csv", format="csv")


def test_progress_is_told_of_every_shard_and_can_stop_it(small: SmallStudy, tmp_path: Path):
    told: list[tuple[str, int, int]] = []
    export(
        stored(small),
        tmp_path,
        table="scores",
        progress=vs.progress.Callback(lambda *each: told.append(each)),
    )
    assert told == [("exporting", done, 3) for done in range(4)]
    stop = vs.progress.Callback(lambda *_: None, cancelled=lambda: len(list(tmp_path.iterdir())) > 1)
    with pytest.raises(Cancelled, match="cancelled during 'exporting' after 1 of 3 shards"):
        export(stored(small), tmp_path, table="curves", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


def test_without_h5netcdf_the_package_is_named(
    small: SmallStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(MissingExtraError, match=r"needs the package h5netcdf.*\[netcdf\]"):
        export(stored(small), tmp_path, format="netcdf")
    assert list(tmp_path.iterdir()) == []


FLAT = """
import sys
import numpy as np
from vitscope.storage.stores import open_store
from vitscope.studies.store.arrays import encode_shard
from vitscope.studies.store.exporting import Stored, export
from vitscope.studies.store.specs import array_folders, array_metadata, array_spec, metadata_path, shard_path
from vitscope.studies.store.tables import encode_table, iterate_table, table_path

SIZE, MANY = 64, 60
spec = array_spec("maps/gmar", (96, 96))
store = open_store(sys.argv[1])
store.make_root([*array_folders([spec]), "tables/curves", "tables/predictions"])
store.put(metadata_path(spec.path), array_metadata(spec, MANY * SIZE, SIZE))
draw = np.random.default_rng(0)
for shard in range(MANY):
    values = draw.integers(0, 9, (SIZE, 96, 96)).astype(np.float32)
    store.put(shard_path(spec, shard), encode_shard(spec, SIZE, values))
    rows = list(range(shard * SIZE, (shard + 1) * SIZE))
    columns = {"picture": rows, "method": ["gmar"] * SIZE, "curve": ["morf"] * SIZE, "values": values.reshape(SIZE, -1)}
    store.put(table_path("curves", shard), encode_table("curves", columns, study="s", shard=shard))
    ranks = {"picture": np.repeat(rows, 20), "rank": np.tile(np.arange(20), SIZE)}
    ranks |= {name: np.arange(20 * SIZE) for name in ("class", "logit", "probability", "target")}
    store.put(table_path("predictions", shard), encode_table("predictions", ranks, study="s", shard=shard))

def peak():
    # Not getrusage: a process begins with the peak of the one that started it.
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

def all_of(count, out):
    shards = range(count)
    for frame in iterate_table(store, "curves", shards):
        assert len(frame) == SIZE
    stored = Stored(store, "s", ["curves", "predictions"], ["maps/gmar"], lambda name: shards)
    for format, table in (("parquet", None), ("csv", "predictions"), ("netcdf", None)):
        export(stored, out, format=format, table=table)

all_of(int(sys.argv[3]), sys.argv[2])
before = peak()
all_of(MANY, sys.argv[2])
print(round(before), round(peak() - before))
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="this system does not tell a process's peak"
)
def test_memory_does_not_grow_with_the_number_of_shards(tmp_path: Path):
    """60 shards of 2.4 MB in a table and in an array; 20 are more than what is kept of them at a time."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FLAT, str(tmp_path / "s"), str(tmp_path / "out"), "20"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    before, more = map(int, done.stdout.split())
    assert more < 60, f"{more} MiB more than the {before} of a third of them"
