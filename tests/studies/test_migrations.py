"""Studies of older versions are opened, read, brought up to date and finished."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

import vitscope as vs
from tests.studies.fixtures.schema1 import make as schema1
from vitscope.errors import StoreFault
from vitscope.storage.stores.disk import LocalStore
from vitscope.studies import OtherStudyError, Study, StudyError, manifest
from vitscope.studies.migrations import steps
from vitscope.studies.store import schemas


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """The study of schema 1, with its pictures where it looks for them."""
    with zipfile.ZipFile(schema1.ARCHIVE) as packed:
        packed.extractall(tmp_path)
    memory = fsspec.filesystem("memory")
    for path in (tmp_path / "pictures").iterdir():
        memory.pipe_file(f"{schema1.PICTURES}/{path.name}", path.read_bytes())
    yield tmp_path / "study"
    memory.rm(schema1.PICTURES, recursive=True)


def columns_of_two() -> dict[str, pa.Schema]:
    """The tables of a made-up schema 2: pictures have one more column, which may be null."""
    return {**schemas.TABLES, "pictures": schemas.TABLES["pictures"].append(pa.field("camera", pa.string()))}


def step(**changed: Any) -> steps.Migration:
    """From schema 1 to the made-up schema 2: seeds are counted from 100."""

    def change(values: steps.Values) -> steps.Values:
        return {**values, "seed": values["seed"] + 100}

    return steps.Migration(1, change, {"pictures": ("camera",)}, **changed)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vitscope that writes schema 2."""
    monkeypatch.setitem(schemas.TABLES, "pictures", columns_of_two()["pictures"])
    monkeypatch.setattr(manifest, "SCHEMA", 2)
    monkeypatch.setattr(steps, "MIGRATIONS", (step(),))


def test_schema_1_is_opened_read_and_finished(old: Path) -> None:
    assert schema1.ARCHIVE.stat().st_size < 60_000
    study = Study.open(old)
    assert study.manifest.input.count == 2 and study.status().stages[0].done == 1
    assert study.table("pictures")["key"].tolist() == ["0.png"]
    maps = study.array("maps/gmar")[:]
    assert np.isfinite(maps[0]).all() and np.isnan(maps[1]).all()
    report = study.run()
    assert report.whole and (report.shards, report.skipped) == (1, 0)
    study = Study.open(old)
    assert not study.status(verified=True).faults
    vit = vs.open_model("bundled/shapes")
    explained = vs.explain(vit, sorted((old.parent / "pictures").iterdir()), "gmar").maps.numpy()
    np.testing.assert_allclose(study.array("maps/gmar")[:], explained, rtol=1e-4, atol=1e-5)
    assert study.leaderboard().names == ["gmar"]


def test_there_is_nothing_to_do_at_the_newest_schema(old: Path) -> None:
    before = (old / "manifest.json").read_bytes()
    assert Study.migrate(old) == (1, 1)
    assert (old / "manifest.json").read_bytes() == before and not (old / "manifest.json.1").exists()


@pytest.mark.usefixtures("newer")
def test_an_older_study_is_read_and_not_run_before_it_is_migrated(old: Path) -> None:
    study = Study.open(old)
    assert study.status().stages[0].done == 1
    table = study.table("pictures")
    assert table["camera"].isna().all() and table["key"].tolist() == ["0.png"]
    before = sorted(path.as_posix() for path in old.rglob("*"))
    with pytest.raises(
        OtherStudyError, match=r"by schema 1, this vitscope writes 2; run vitscope study migrate"
    ):
        study.run()
    assert sorted(path.as_posix() for path in old.rglob("*")) == before


@pytest.mark.usefixtures("newer")
def test_a_migration_keeps_the_old_manifest_and_every_shard(old: Path) -> None:
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    content = before.pop(old / "manifest.json")
    assert Study.migrate(old) == (1, 2)
    assert (old / "manifest.json.1").read_bytes() == content
    assert all(path.read_bytes() == kept for path, kept in before.items())
    values = json.loads((old / "manifest.json").read_bytes())
    assert (values["schema"], values["seed"], values["study"]) == (2, 100, json.loads(content)["study"])
    assert Study.migrate(old) == (2, 2)
    assert (old / "manifest.json.1").read_bytes() == content
    study = Study.open(old)
    assert study.run().whole
    table = Study.open(old).table("pictures")
    assert table["key"].tolist() == ["0.png", "1.png"] and table["camera"].isna().all()


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("lost", ["manifest.json.1", "manifest.json"])
def test_a_migration_that_was_stopped_is_done_again(
    old: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    content = (old / "manifest.json").read_bytes()
    put = LocalStore.put

    def stopped(self: LocalStore, path: str, data: bytes) -> None:
        if path == lost:
            raise StoreFault("stopped", "full")
        put(self, path, data)

    monkeypatch.setattr(LocalStore, "put", stopped)
    with pytest.raises(StoreFault):
        Study.migrate(old)
    assert (old / "manifest.json").read_bytes() == content
    assert Study.open(old).status().stages[0].done == 1
    monkeypatch.setattr(LocalStore, "put", put)
    assert Study.migrate(old) == (1, 2)
    assert (old / "manifest.json.1").read_bytes() == content


def test_what_cannot_be_read_as_it_is_has_to_be_migrated(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "SCHEMA", 2)
    monkeypatch.setattr(steps, "MIGRATIONS", (step_without_columns(reads=False),))
    with pytest.raises(OtherStudyError, match="vitscope study migrate"):
        Study.open(old)
    assert Study.migrate(old) == (1, 2)
    assert Study.open(old).manifest.seed == 100


def step_without_columns(**changed: Any) -> steps.Migration:
    return steps.Migration(1, lambda values: {**values, "seed": 100}, **changed)


def test_several_steps_are_taken_in_their_order(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "SCHEMA", 3)
    second = steps.Migration(2, lambda values: {**values, "seed": values["seed"] * 2 + 1})
    monkeypatch.setattr(steps, "MIGRATIONS", (step_without_columns(), second))
    assert Study.migrate(old) == (1, 3)
    assert Study.open(old).manifest.seed == 201


def test_a_schema_without_a_way_is_told(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "SCHEMA", 3)
    monkeypatch.setattr(steps, "MIGRATIONS", (step_without_columns(),))
    with pytest.raises(StudyError, match="no step leads to 3"):
        Study.migrate(old)


def test_a_damaged_manifest_is_not_migrated(old: Path, newer: None) -> None:
    path = old / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"shard_size": 1', b'"shard_size": 2'))
    with pytest.raises(StudyError, match="is damaged"):
        Study.migrate(old)
    assert not (old / "manifest.json.1").exists()


def test_new_columns_must_be_nullable() -> None:
    with pytest.raises(ValueError, match="the new column key of pictures must be nullable"):
        steps.Migration(1, dict, {"pictures": ("key",)})


def test_no_step_is_missing() -> None:
    assert [each.start for each in steps.MIGRATIONS] == list(range(1, manifest.SCHEMA))
