"""A small study, in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.studies.small_study import SmallStudy, put_study
from tests.studies.surviving import FinishedOnce, finish_once
from vitscope.storage.stores import open_store


@pytest.fixture
def small(tmp_path: Path) -> SmallStudy:
    """Tables and arrays of 20 pictures in three shards, the last of four; in memory, to be harmed as a test likes."""
    return put_study(open_store(f"memory://small/{tmp_path}"))


@pytest.fixture(scope="session")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """The same in a folder, to be read only."""
    return put_study(open_store(tmp_path_factory.mktemp("studies") / "small"))


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> FinishedOnce:
    """A study with every analysis, as it was made and as it was finished; to be copied."""
    return finish_once(tmp_path_factory.mktemp("once"))
