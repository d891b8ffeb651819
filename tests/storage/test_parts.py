"""A run part by part: any stop, any damage, any foreign file, and the result is that of one run."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.watching import Recorder
from vitscope.analysis import growing, run_in_parts
from vitscope.errors import OutputError
from vitscope.progress import CountedStage
from vitscope.storage import files
from vitscope.storage.recipe import Recipe, pictures_digest

VALUES = [3.0, 1e16, -1e16, 5.0, 7.0, 0.1, 11.0]


@dataclass
class Numbers:
    """Pictures that are numbers; a negative key is one that cannot be read."""

    keys: Sequence[str]
    values: Sequence[float]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> Sequence[str]:
        return [repr(value) for value in self.values]

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, start: int, stop: int) -> Numbers:
        return Numbers(self.keys[start:stop], self.values[start:stop])


def numbers(values: Sequence[float] = VALUES, names: str = "abcdefghijklmnop") -> Numbers:
    return Numbers(list(names[: len(values)]), list(values))


@dataclass
class Squares:
    """The share of each number's square in the sum of all, which must be prepared, in the order of the pictures."""

    power: int = 2
    name: str = "squares"
    bad: frozenset[str] = frozenset()
    ran: list[tuple[str, ...]] = field(default_factory=list)
    during: Callable[[Numbers], None] = lambda shard: None

    def recipe(self, vit: Any, source: Numbers) -> Recipe:
        pictures = pictures_digest(source.keys, source.ids)
        return Recipe(self.name, {"fingerprint": vit}, {"power": self.power}, "", pictures, {}, len(source))

    def prepare(self, vit: Any, source: Numbers) -> float:
        return sum(value**self.power for value in source.values)

    def run(self, prepared: float, shard: Numbers) -> dict[str, float]:
        self.ran.append(tuple(shard.keys))
        self.during(shard)
        shard.skipped.update({key: "unreadable" for key in shard.keys if key in self.bad})
        good = [
            (key, value) for key, value in zip(shard.keys, shard.values, strict=True) if key not in self.bad
        ]
        return {key: value**self.power / prepared for key, value in good}

    def merge(self, prepared: float, parts: Iterable[dict[str, float]]) -> dict[str, float]:
        merged: dict[str, float] = {}
        for part in parts:
            merged.update(part)
        return merged

    def encode(self, part: dict[str, float]) -> Mapping[str, bytes]:
        half = len(part) // 2
        pairs = list(part.items())
        return {"one.json": json.dumps(pairs[:half]).encode(), "two.json": json.dumps(pairs[half:]).encode()}

    def decode(self, files: Mapping[str, bytes]) -> dict[str, float]:
        return dict(json.loads(files["one.json"]) + json.loads(files["two.json"]))


def result(source: Numbers | None = None, **options: Any) -> dict[str, float]:
    whole = source or numbers()
    return run_in_parts(Squares(**options), "weights", whole, len(whole))  # type: ignore[arg-type]


def run(analysis: Squares, source: Numbers, size: int, folder: Path | None, **more: Any) -> dict[str, float]:
    return run_in_parts(analysis, more.pop("vit", "weights"), source, size, folder=folder, **more)


def test_by_hand() -> None:
    assert result(numbers([1.0, 2.0])) == {"a": 0.2, "b": 0.8}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_any_size_of_parts_gives_the_whole(size: int, tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        analysis = Squares()
        assert run(analysis, numbers(), size, folder) == result()
        cuts = [tuple("abcdefg"[start : start + size]) for start in range(0, 7, size)]
        assert analysis.ran == cuts


@given(st.permutations(range(7)), st.sets(st.integers(1, 6)))
@settings(max_examples=40, deadline=None)
def test_parts_merge_in_any_order(order: list[int], cuts: set[int]) -> None:
    analysis, source = Squares(), numbers()
    edges = [0, *sorted(cuts), 7]
    prepared = analysis.prepare("weights", source)
    shards = [source.part(start, stop) for start, stop in itertools.pairwise(edges)]
    parts = [analysis.run(prepared, shard) for shard in shards]
    parts = [analysis.decode(analysis.encode(part)) for part in parts]
    parts = sorted(parts, key=lambda part: order[list("abcdefg").index(next(iter(part)))])
    assert analysis.merge(prepared, parts) == result()


def stopping(at: int) -> Callable[[Numbers], None]:
    left = [at]

    def stop(shard: Numbers) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_stopped_run_loses_the_part_in_work_only(at: int, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Squares(during=stopping(at)), numbers(), 2, tmp_path)
    analysis, watched = Squares(), Recorder()
    found = run(analysis, numbers(), 2, tmp_path, stage=CountedStage(watched, "squares", 7))
    assert found == result() and list(found) == list("abcdefg")
    assert analysis.ran == [("a", "b"), ("c", "d"), ("e", "f"), ("g",)][at - 1 :]
    # The finished pictures are told once, not part by part.
    (stage,) = watched.stages
    assert (stage.name, stage.total, stage.done) == ("squares", 7, 2 * (at - 1))
    assert stage.advanced == [2, 2, 2, 1][at - 1 :]
    again, watched = Squares(), Recorder()
    assert run(again, numbers(), 2, tmp_path, stage=CountedStage(watched, "squares", 7)) == result()
    (stage,) = watched.stages
    assert again.ran == [] and (stage.done, stage.advanced) == (7, [])


def test_a_stop_at_any_moment_of_writing_leaves_no_half_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, write = result(), files.write
    for stop in range(1, 13):  # 4 parts of 3 files
        folder, left = tmp_path / str(stop), [stop]

        def interrupted(path: Path, content: bytes, left: list[int] = left) -> Path:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return write(path, content)

        monkeypatch.setattr(files, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(Squares(), numbers(), 2, folder)
        monkeypatch.setattr(files, "write", write)
        analysis = Squares()
        assert run(analysis, numbers(), 2, folder) == whole
        assert len(analysis.ran) == 4 - (stop - 1) // 3


def test_killed_by_the_system_again_and_again(tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from pathlib import Path\n"
        "from tests.storage.test_parts import Squares, numbers, run\n"
        "def work(shard):\n    print('part', flush=True); time.sleep(0.05)\n"
        "found = run(Squares(during=work), numbers(), 1, Path(sys.argv[1]))\n"
        "print('result', found, flush=True)\n"
    )
    started, seen = 0, ""
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "kept")],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        )
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline(), process.stdout.readline()]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.read().splitlines(keepends=True)
        process.wait()
        started += sum(line == "part\n" for line in lines)
        seen = next((line for line in lines if line.startswith("result")), "")
        if seen:
            break
    assert seen == f"result {result()}\n"
    # Three parts are begun before each kill and at least two of them are kept.
    assert started <= 7 + 4


def places(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir())


def damage_cut(place: Path) -> None:
    content = (place / "two.json").read_bytes()
    (place / "two.json").write_bytes(content[:-1])


def damage_bit(place: Path) -> None:
    content = bytearray((place / "one.json").read_bytes())
    content[-2] ^= 1
    (place / "one.json").write_bytes(bytes(content))


def damage_missing(place: Path) -> None:
    (place / "one.json").unlink()


def damage_note_missing(place: Path) -> None:
    (place / "part.json").unlink()


def damage_note_bit(place: Path) -> None:
    content = bytearray((place / "part.json").read_bytes())
    content[len(content) // 2] ^= 1
    (place / "part.json").write_bytes(bytes(content))


def damage_note_other(place: Path) -> None:
    (place / "part.json").write_text("{}")


def damage_empty(place: Path) -> None:
    for file in place.iterdir():
        file.write_bytes(b"")


def damage_folder(place: Path) -> None:
    (place / "one.json").unlink()
    (place / "one.json").mkdir()


def damage_file_for_folder(place: Path) -> None:
    shutil.rmtree(place)
    place.write_text("a file")


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_part_is_as_if_it_were_not_there(damage: Callable[[Path], None], tmp_path: Path) -> None:
    run(Squares(), numbers(), 3, tmp_path)
    damage(places(tmp_path)[1])
    analysis = Squares()
    assert run(analysis, numbers(), 3, tmp_path) == result()
    assert analysis.ran == [("d", "e", "f")]
    again = Squares()
    assert run(again, numbers(), 3, tmp_path) == result() and again.ran == []


def test_a_part_of_another_form_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    class Newer(Squares):
        def encode(self, part: dict[str, float]) -> Mapping[str, bytes]:
            return {"three.json": b"[]"}

    run(Newer(), numbers(), 3, tmp_path)
    analysis = Squares()
    assert run(analysis, numbers(), 3, tmp_path) == result() and len(analysis.ran) == 3


def test_other_options_weights_pictures_or_order_start_anew(tmp_path: Path) -> None:
    run(Squares(), numbers(), 3, tmp_path)
    changed = [*VALUES[:-1], 12.0]
    cases: list[tuple[Squares, Numbers, str, int]] = [
        (Squares(power=3), numbers(), "weights", 3),
        (Squares(), numbers(), "others", 3),
        (Squares(), numbers(changed), "weights", 3),
        (Squares(), numbers(names="xbcdefg"), "weights", 3),
        # The set is the same, so is the recipe; what stands at the places is not.
        (Squares(), numbers(VALUES[::-1], "gfedcba"), "weights", 3),
    ]
    for analysis, source, vit, parts in cases:
        assert run(analysis, source, 3, tmp_path, vit=vit) == result(source, power=analysis.power)
        assert len(analysis.ran) == parts
    again = Squares()
    assert run(again, numbers(), 3, tmp_path) == result() and again.ran == []  # the old parts were left there


def test_a_part_that_was_renamed_or_moved_is_no_part(tmp_path: Path) -> None:
    """The note counts, not the name: a part of other options, or of other places, under the name of one that fits."""
    run(Squares(), numbers(), 3, tmp_path / "own")
    run(Squares(power=3), numbers(), 3, tmp_path / "other")
    names = [place.name for place in places(tmp_path / "own")]
    for name, foreign in zip(names, places(tmp_path / "other"), strict=True):
        shutil.copytree(foreign, tmp_path / "mixed" / name)
    analysis = Squares()
    assert run(analysis, numbers(), 3, tmp_path / "mixed") == result() and len(analysis.ran) == 3
    for name, own in zip(names, places(tmp_path / "own")[::-1], strict=True):
        shutil.copytree(own, tmp_path / "turned" / name)
    analysis = Squares()
    assert run(analysis, numbers(), 3, tmp_path / "turned") == result()
    assert analysis.ran == [("a", "b", "c"), ("g",)]  # the one in the middle kept its place


def test_parts_of_another_cut_are_used_where_they_fit(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Squares(during=stopping(3)), numbers(), 2, tmp_path)
    analysis = Squares()
    assert run(analysis, numbers(), 3, tmp_path) == result()
    assert analysis.ran == [("e", "f", "g")]


def test_skipped_pictures_are_remembered(tmp_path: Path) -> None:
    first, second = numbers(), numbers()
    found = run(Squares(bad=frozenset("be")), first, 3, tmp_path)
    assert set(found) == set("acdfg") and first.skipped == {"b": "unreadable", "e": "unreadable"}
    assert run(Squares(), second, 3, tmp_path) == found and second.skipped == first.skipped


def test_two_runs_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    inner: list[dict[str, float]] = []

    def beside(shard: Numbers) -> None:
        if not inner:
            inner.append({})
            inner[0] = run(Squares(), numbers(), 3, tmp_path)

    assert run(Squares(during=beside), numbers(), 3, tmp_path) == result() == inner[0]
    assert run(Squares(), numbers(), 3, tmp_path) == result()


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file, not a folder"):
        run(Squares(), numbers(), 3, tmp_path / "file")

    class Outside(Squares):
        def encode(self, part: dict[str, float]) -> Mapping[str, bytes]:
            return {"../one.json": b""}

    with pytest.raises(OutputError, match=r"\.\./one\.json"):
        run(Outside(), numbers(), 3, tmp_path / "kept")
    assert sorted(p.name for p in tmp_path.rglob("*.json")) == []


def test_what_a_run_writes_grows_with_its_pictures_only(tmp_path: Path) -> None:
    def written(count: int) -> tuple[int, int]:
        source = Numbers([f"{i:05d}" for i in range(count)], [float(i) for i in range(count)])
        folder = tmp_path / str(count)
        run_in_parts(Squares(), "weights", source, growing(4), folder=folder)  # type: ignore[arg-type]
        found = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
        return sum(found), len(found)

    small, large = written(500), written(4000)
    assert large[0] < 8.5 * small[0] and large[1] < 2.5 * small[1]


def test_growing_parts_are_whole_batches() -> None:
    sizes, done = [], 0
    while done < 100_000:
        sizes.append(growing(16)(done))
        done += sizes[-1]
    assert all(size % 16 == 0 and size <= 32 * 16 for size in sizes)
    assert sizes[:17] == [16] * 17 and sizes == sorted(sizes)
    assert len(sizes) < 300


def test_the_time_of_finding_parts_is_linear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(Squares(), numbers(), 1, tmp_path)
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    read, reading = [], files.read
    monkeypatch.setattr(files, "read", lambda path: read.append(path) or reading(path))
    run(Squares(), numbers(), 1, tmp_path)
    assert len(listed) == 1 and len(read) == 7 * 3


def test_a_recipe_that_is_known_is_not_made_again(tmp_path: Path) -> None:
    class Once(Squares):
        def recipe(self, vit: Any, source: Numbers) -> Recipe:
            raise AssertionError

    known = Squares().recipe("weights", numbers())
    assert run(Once(), numbers(), 3, tmp_path, recipe=known) == result()
    analysis = Squares()
    assert run(analysis, numbers(), 3, tmp_path) == result() and analysis.ran == []
    anew = Squares()
    run(anew, numbers(), 3, tmp_path, recipe=replace(known, versions={"torch": "9"}))
    assert len(anew.ran) == 3
