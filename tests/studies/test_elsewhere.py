"""A study under a URL is the study on a disk; whoever loses the lease stops, and what was finished is right."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servers import S3
from tests.studies.worlds import folder_of_pictures, made
from vitscope.errors import LockLost
from vitscope.storage.stores import open_store
from vitscope.storage.stores.lease import Pace
from vitscope.storage.stores.lock import hold
from vitscope.studies import Study, study

ASKED: dict[str, Any] = {"analyses": {"explain": {}, "strength": {}}, "arrays": ("maps", "flow")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_pictures(tmp_path_factory.mktemp("pictures"), 9, bad=1)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Study:
    found = made(tmp_path_factory.mktemp("here") / "study", pictures, **ASKED)
    found.run()
    return found


def same(one: Study, other: Study) -> None:
    """Every table and array of two studies, and their merged profile, bit for bit."""
    assert one.manifest.digest == other.manifest.digest
    for name in one.manifest.tables:
        assert one.table(name).equals(other.table(name)), name
    for path in one.manifest.arrays:
        np.testing.assert_array_equal(one.array(path)[:], other.array(path)[:], err_msg=path)
    for name, values in one.strength().values.items():
        np.testing.assert_array_equal(values, other.strength()[name], err_msg=name)


def test_a_study_on_s3_is_that_on_a_disk(here: Study, pictures: Path, s3: S3) -> None:
    place = f"{s3.bucket()}/study"
    made(place, pictures, **ASKED)
    first = Study.open(place).run(limit=1)
    assert first.shards == 1 and first.limited
    assert Study.open(place).run().shards == 2
    assert Study.open(place).run().shards == 0
    there = Study.open(place)
    assert there.status(verified=True).finished
    same(here, there)


def test_a_study_in_memory_is_that_on_a_disk(here: Study, pictures: Path) -> None:
    there = made("memory://studies/elsewhere", pictures, **ASKED)
    assert there.run().shards == 3
    same(here, there)


def test_who_loses_the_lease_stops(
    here: Study, pictures: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "hold", functools.partial(hold, pace=Pace(beat=0.05, stale=60, look=0.05)))
    place = f"{s3.bucket()}/study"
    there = made(place, pictures, **ASKED)
    store = open_store(place)

    def steal(event: dict[str, Any]) -> None:
        if event["event"] == "shard_done":
            number = int(store.list("lease")[-1].partition(".")[0])
            store.create(f"lease/{number + 1:06d}.json", b'{"holder": "a thief"}')

    with pytest.raises(LockLost):
        there.run(listener=steal)
    done = there.status().stages[0].done
    assert 1 <= done < 3
    for name in store.list("lease"):  # the thief has gone
        store.remove(f"lease/{name}")
    there.run()
    same(here, Study.open(place))
