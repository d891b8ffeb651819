"""A flipped bit, an empty, a cut and a missing file of every kind: told in one line, mended where it can be."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.studies.surviving import FinishedOnce
from tests.studies.worlds import files_of
from vitscope.errors import DamagedError, VitscopeError
from vitscope.studies import OtherStudyError, Study, StudyError


def harms(path: Path, draw: random.Random) -> dict[str, Callable[[], object]]:
    """Ways to harm a file."""
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return {
        "flipped": lambda: path.write_bytes(bytes(flipped)),
        "empty": lambda: path.write_bytes(b""),
        "cut": lambda: path.write_bytes(content[: len(content) // 2]),
        "missing": path.unlink,
    }


def kind_of(path: str) -> str:
    """Files of one kind are written and read alike."""
    parts = path.split("/")
    if parts[0] == "arrays.zarr":
        return f"{parts[0]} {'zarr.json' if path.endswith('zarr.json') else parts[1]}"
    return " ".join(parts[:2] if parts[0] == "tables" else parts[:1])


def read_all(study: Study) -> list[object]:
    """Everything that can be read of a study."""
    found: list[object] = [study.table(name).to_json() for name in study.manifest.tables]
    found += [np.asarray(study.array(path)[:]).tobytes() for path in study.manifest.arrays]
    found += [str(study.leaderboard().to_pandas().to_json()), str(study.heads().values)]
    found += [str(study.strength().values), str(study.patterns().maps.to_json())]
    return found


def test_damage_to_any_file_is_found_and_mended_by_a_run(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    once.copy(place, finished=True)
    draw = random.Random(0)
    by_kind: dict[str, list[str]] = {}
    for path in once.expected:
        by_kind.setdefault(kind_of(path), []).append(path)
    assert len(by_kind) >= 13
    for kind, paths in by_kind.items():
        if kind == "plan":
            continue
        path = draw.choice(paths)
        for how, harm in harms(place / path, draw).items():
            harm()
            study = Study.open(place, vit=once.vit)
            faults = study.status(verified=True).faults
            gone = kind == "shards" and how == "missing"  # a record that is not there was never there
            assert gone or (len(faults) == 1 and path.endswith(faults[0].path)), (path, how, faults)
            with once.replayed():
                report = study.run()
            assert report.whole and report.shards <= 1, (path, how)
            assert files_of(place) == once.expected, (path, how)


def test_no_damage_is_read_as_other_values(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    once.copy(place, finished=True)
    expected = read_all(Study.open(place, vit=once.vit))
    draw = random.Random(1)
    states = [path for path in once.expected if path.startswith(("states/main", "states/fit"))]
    others = [
        path for path in once.expected if path.startswith(("tables/", "arrays.zarr/maps", "shards/main"))
    ]
    for path in (*draw.sample(states, 2), *draw.sample(others, 4)):
        content = (place / path).read_bytes()
        for harm in harms(place / path, draw).values():
            harm()
            try:
                assert read_all(Study.open(place, vit=once.vit)) == expected, path
            except VitscopeError as error:
                assert "\n" not in str(error) and "; " in str(error)
            (place / path).write_bytes(content)


def test_a_damaged_list_of_pictures_stops_the_run(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    plan = place / "plan" / "000000.parquet"
    content = plan.read_bytes()
    draw = random.Random(2)
    words = r"^the list of pictures of \S+ is damaged \([^\n]+\); take it from a copy, or make another study$"
    for harm in [harm for _ in range(5) for harm in harms(plan, draw).values()]:
        harm()
        with pytest.raises(DamagedError, match=words):
            study.run()
        with pytest.raises(DamagedError, match=words):
            study.status(verified=True)
        assert not study.status().stages[0].failed  # no shard is blamed
        plan.write_bytes(content)
    with once.replayed():
        assert study.run().whole
    assert files_of(place) == once.expected


def test_a_damaged_manifest_is_told(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    once.copy(place)
    manifest = place / "manifest.json"
    content = manifest.read_bytes()
    draw = random.Random(3)
    for turn in range(60):
        for how, harm in harms(manifest, draw).items():
            if turn and how != "flipped":
                continue
            harm()
            try:
                found = Study.open(place).manifest.encode()
                assert found == content, "another study was read"  # a letter's case in a number, or a blank
            except StudyError as error:
                newer = isinstance(error, OtherStudyError)
                told = "reads up to" if newer else "there is no study" if how == "missing" else "is damaged"
                assert told in str(error) and "; " in str(error) and "\n" not in str(error)
            manifest.write_bytes(content)


def test_a_state_that_is_damaged_between_stages_blames_no_shard(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    with once.replayed():
        study.run(limit=4)
    state = place / "states" / "means-all" / "000000.zip"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(bytes(content))
    with pytest.raises(
        DamagedError, match=r"means-all/000000.zip is damaged \([^\n]+\); vitscope study status"
    ):
        study.run()
    assert not study.status().stages[2].failed
    assert [fault.path for fault in study.status(verified=True).faults] == ["states/means-all/000000.zip"]
    with once.replayed():
        assert study.run().whole
    assert files_of(place) == once.expected


def test_damaged_events_and_attempts_change_nothing(once: FinishedOnce, tmp_path: Path) -> None:
    place = tmp_path / "study"
    study = once.copy(place, finished=True)
    (events,) = (place / "events").glob("*.jsonl")
    content = events.read_bytes()
    draw = random.Random(4)
    for _ in range(100):
        flipped = bytearray(content)
        for _ in range(20):
            flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        events.write_bytes(bytes(flipped))
        assert study.status().finished
    (place / "attempts" / "main" / "000001.failed.json").write_bytes(b"\xff{")
    (place / "attempts" / "main" / "000001.0123456789ab.1").write_bytes(b"?")
    assert study.status().finished and study.run().whole
    assert list((place / "attempts").glob("*/*")) == [] and files_of(place) == once.expected
