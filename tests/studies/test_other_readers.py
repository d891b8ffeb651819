"""A study is opened by programs that have no vitscope: pandas, DuckDB, xarray and Zarr, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.studies.small_study import PICTURES, SHARDS, SKIPPED, SPECS, SmallStudy, columns_of, values_of

WITHOUT = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "vitscope":
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
study = sys.argv[1]
try:
    import vitscope
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("vitscope was found")
import duckdb, numpy as np, pandas as pd, xarray as xr, zarr

found = {}
scores = pd.read_parquet(f"{study}/tables/scores")
found["pandas"] = scores.groupby(["method", "metric"], observed=True)["value"].sum().reset_index().values.tolist()
found["dtypes"] = [str(kind) for kind in scores.dtypes]
found["statistics"] = [row.tolist() for row in scores["statistics"][:2]]
tables = f"{study}/tables"
found["duckdb"] = duckdb.sql(
    f"select p.key, s.method, s.value from read_parquet('{tables}/scores/*.parquet') s "
    f"join read_parquet('{tables}/pictures/*.parquet') p using (picture) where p.status = 'ok' and s.defined "
    "order by s.value desc, s.method limit 2"
).fetchall()
found["curves"] = duckdb.sql(f"select sum(list_sum(values)) from read_parquet('{tables}/curves/*.parquet')").fetchall()
maps = xr.open_zarr(f"{study}/arrays.zarr", group="maps", consolidated=False)
found["dims"] = {name: [list(maps[name].dims), list(maps[name].shape)] for name in sorted(maps)}
found["means"] = maps["gmar"].mean(("y", "x")).values.astype(float).tolist()
root = zarr.open_group(f"{study}/arrays.zarr", mode="r")
found["groups"] = sorted(path for path, _ in root.members(max_depth=None))
found["schema"] = root.attrs["schema"]
found["flow"] = root["flow/gmar"][7].astype(float).tolist()
print(json.dumps(found))
"""


def test_pandas_duckdb_xarray_and_zarr_read_it(on_disk: SmallStudy):
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", WITHOUT, on_disk.store.url()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    ok = [row for row in range(PICTURES) if row not in (SKIPPED, 6, 13)]
    sums = [["daam", "srg", sum(row / 3 + 1 for row in ok)], ["gmar", "srg", sum(row / 3 for row in ok)]]
    for (method, metric, value), (*names, expected) in zip(sorted(found["pandas"]), sums, strict=True):
        assert [method, metric] == names and value == pytest.approx(expected)
    assert found["dtypes"] == ["int64", "category", "category", "float64", "bool", "object"]
    assert found["statistics"] == [[0.0, 1.0], [1.0, 1.0]]
    assert found["duckdb"] == [["birds/19.jpg", "daam", 19 / 3 + 1], ["birds/18.jpg", "daam", 18 / 3 + 1]]
    curves = sum(float(np.sum(columns_of("curves", shard)["values"])) for shard in SHARDS)
    assert found["curves"] == [[curves]]
    assert found["dims"] == {name: [["picture", "y", "x"], [PICTURES, 4, 5]] for name in ("daam", "gmar")}
    np.testing.assert_allclose(found["means"], values_of(SPECS[0]).mean((1, 2)), rtol=1e-5)
    groups = {part for spec in SPECS for part in (spec.path, spec.path.rpartition("/")[0]) if part}
    assert found["groups"] == sorted(groups) and found["schema"] == 2
    assert found["flow"] == values_of(SPECS[2])[7].astype(float).tolist()
