"""Studies of older versions are opened, read, brought up to date and finished."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

import vitscope as vs
from tests.studies.fixtures.schema1 import make as schema1
from tests.studies.fixtures.schema2 import make as schema2
from vitscope.errors import StoreFault
from vitscope.storage.stores.disk import LocalStore
from vitscope.studies import OtherStudyError, Study, StudyError, manifest
from vitscope.studies.migrations import steps
from vitscope.studies.store import schemas


@contextmanager
def unpacked(archive: Path, pictures: str, place: Path) -> Iterator[Path]:
    """The study of a fixture, with its pictures where it looks for them."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(place)
    memory = fsspec.filesystem("memory")
    for path in (place / "pictures").iterdir():
        memory.pipe_file(f"{pictures}/{path.name}", path.read_bytes())
    yield place / "study"
    memory.rm(pictures, recursive=True)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """The study of schema 1."""
    with unpacked(schema1.ARCHIVE, schema1.PICTURES, tmp_path) as place:
        yield place


@pytest.fixture
def newest(tmp_path: Path) -> Iterator[Path]:
    """The study of schema 2."""
    with unpacked(schema2.ARCHIVE, schema2.PICTURES, tmp_path) as place:
        yield place


def columns_of_three() -> dict[str, pa.Schema]:
    """The tables of a made-up schema 3: pictures have one more column, which may be null."""
    return {**schemas.TABLES, "pictures": schemas.TABLES["pictures"].append(pa.field("camera", pa.string()))}


def step(**changed: Any) -> steps.Migration:
    """From schema 2 to the made-up schema 3: seeds are counted from 100."""

    def change(values: steps.Values) -> steps.Values:
        return {**values, "seed": values["seed"] + 100}

    return steps.Migration(2, change, {"pictures": ("camera",)}, **changed)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vitscope that writes schema 3."""
    monkeypatch.setitem(schemas.TABLES, "pictures", columns_of_three()["pictures"])
    monkeypatch.setattr(manifest, "SCHEMA", 3)
    monkeypatch.setattr(steps, "MIGRATIONS", (*steps.MIGRATIONS, step()))


def test_schema_1_is_opened_read_brought_up_to_date_and_finished(old: Path) -> None:
    assert schema1.ARCHIVE.stat().st_size < 60_000
    study = Study.open(old)
    assert study.manifest.input.count == 2 and study.status().stages[0].done == 1
    assert study.table("predictions")["entropy"].isna().all(), "schema 1 does not say it"
    assert Study.migrate(old) == (1, 2)
    finish(old)
    entropy = Study.open(old).table("predictions").query("rank == 0").set_index("picture")["entropy"]
    assert np.isnan(entropy[0]) and entropy[1] > 0, "what was computed before stays as it is"


def test_schema_2_is_opened_read_and_finished(newest: Path) -> None:
    assert schema2.ARCHIVE.stat().st_size < 60_000
    features = Study.open(newest).array("features")[:]
    assert np.isfinite(features[0]).all() and np.isnan(features[1]).all()
    finish(newest)
    assert np.isfinite(Study.open(newest).array("features")[:]).all()
    assert (Study.open(newest).table("predictions")["entropy"] > 0).all()


def finish(place: Path) -> None:
    """Read a study of which the first of two pictures is computed, finish it, and hold it against ``vs.explain``."""
    study = Study.open(place)
    assert study.table("pictures")["key"].tolist() == ["0.png"]
    maps = study.array("maps/gmar")[:]
    assert np.isfinite(maps[0]).all() and np.isnan(maps[1]).all()
    report = study.run()
    assert report.whole and (report.shards, report.skipped) == (1, 0)
    study = Study.open(place)
    assert not study.status(verified=True).faults
    vit = vs.open_model("bundled/shapes")
    explained = vs.explain(vit, sorted((place.parent / "pictures").iterdir()), "gmar").maps.numpy()
    np.testing.assert_allclose(study.array("maps/gmar")[:], explained, rtol=1e-4, atol=1e-5)
    assert study.leaderboard().names == ["gmar"]


def test_there_is_nothing_to_do_at_the_newest_schema(newest: Path) -> None:
    before = (newest / "manifest.json").read_bytes()
    assert Study.migrate(newest) == (2, 2)
    assert (newest / "manifest.json").read_bytes() == before and not (newest / "manifest.json.2").exists()


@pytest.mark.usefixtures("newer")
def test_an_older_study_is_read_and_not_run_before_it_is_migrated(old: Path) -> None:
    study = Study.open(old)
    assert study.status().stages[0].done == 1
    table = study.table("pictures")
    assert table["camera"].isna().all() and table["key"].tolist() == ["0.png"]
    before = sorted(path.as_posix() for path in old.rglob("*"))
    with pytest.raises(
        OtherStudyError, match=r"by schema 1, this vitscope writes 3; run vitscope study migrate"
    ):
        study.run()
    assert sorted(path.as_posix() for path in old.rglob("*")) == before


@pytest.mark.usefixtures("newer")
def test_a_migration_keeps_the_old_manifest_and_every_shard(old: Path) -> None:
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    content = before.pop(old / "manifest.json")
    assert Study.migrate(old) == (1, 3)
    assert (old / "manifest.json.1").read_bytes() == content
    assert all(path.read_bytes() == kept for path, kept in before.items())
    values = json.loads((old / "manifest.json").read_bytes())
    assert (values["schema"], values["seed"], values["study"]) == (3, 100, json.loads(content)["study"])
    assert Study.migrate(old) == (3, 3)
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
    assert Study.migrate(old) == (1, 3)
    assert (old / "manifest.json.1").read_bytes() == content


def test_what_cannot_be_read_as_it_is_has_to_be_migrated(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "SCHEMA", 3)
    monkeypatch.setattr(steps, "MIGRATIONS", (*steps.MIGRATIONS, step_without_columns(reads=False)))
    with pytest.raises(OtherStudyError, match="vitscope study migrate"):
        Study.open(old)
    assert Study.migrate(old) == (1, 3)
    assert Study.open(old).manifest.seed == 100


def step_without_columns(**changed: Any) -> steps.Migration:
    return steps.Migration(2, lambda values: {**values, "seed": 100}, **changed)


def test_several_steps_are_taken_in_their_order(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "SCHEMA", 4)
    second = steps.Migration(3, lambda values: {**values, "seed": values["seed"] * 2 + 1})
    monkeypatch.setattr(steps, "MIGRATIONS", (*steps.MIGRATIONS, step_without_columns(), second))
    assert Study.migrate(old) == (1, 4)
    assert Study.open(old).manifest.seed == 201


def test_a_schema_without_a_way_is_told(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "SCHEMA", 4)
    monkeypatch.setattr(steps, "MIGRATIONS", (*steps.MIGRATIONS, step_without_columns()))
    with pytest.raises(StudyError, match="no step leads to 4"):
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
