"""Folders, patterns and lists of files: what is planned, in which order, under which keys."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from tests.pictures.planned.making import Model, encoded, put, read_all
from vitscope.errors import DataError, PictureError, SourceError
from vitscope.pictures import picture_source
from vitscope.pictures import read as read_module
from vitscope.pictures.planned import (
    PlanDigest,
    PlannedPicture,
    PlannedSource,
    from_table,
    plan_pictures,
    to_columns,
)

FILES = {
    "b.png": encoded(0),
    "Z.png": encoded(1),
    "x/cat.png": encoded(2),
    "x/deep/cat.png": encoded(3),
    "y/cat.png": encoded(4),
}
ORDER = ["Z.png", "b.png", "x/cat.png", "x/deep/cat.png", "y/cat.png"]


def test_keys_stay_when_the_root_moves(tmp_path: Path) -> None:
    put(tmp_path / "here", FILES | {"notes.txt": b"no picture", ".hidden/a.png": b"", "x/.a.png": b""})
    plan = plan_pictures(tmp_path / "here")
    planned = list(plan)
    assert [picture.key for picture in planned] == ORDER == [picture.source for picture in planned]
    assert all((picture.offset, picture.size, picture.column) == (0, -1, None) for picture in planned)
    assert plan.root == str(tmp_path / "here") and plan.kind == "folder"
    assert read_all(plan.root, planned) == {key: FILES[key] for key in ORDER}
    (tmp_path / "here").rename(tmp_path / "there")
    assert list(plan_pictures(tmp_path / "there")) == planned
    assert read_all(tmp_path / "there", planned) == {key: FILES[key] for key in ORDER}
    assert [p.key for p in plan_pictures(tmp_path / "there" / "x", root=tmp_path / "there")] == ORDER[2:4]


def test_a_planned_source_is_as_a_source_of_files(tmp_path: Path) -> None:
    put(tmp_path, FILES | {"x/bad.png": b"a letter", "x/empty.png": b""})
    planned, files = list(plan_pictures(tmp_path)), picture_source(tmp_path, skip=True)
    source = PlannedSource(tmp_path, planned)
    assert list(source.keys) == list(files.keys) and source.contents is None
    for ours, theirs in zip(source.batches(Model(), 2), files.batches(Model(), 2), strict=True):
        assert torch.equal(ours.images, theirs.images) and ours.keys == theirs.keys
        assert ours.ids == theirs.ids and ours.positions == theirs.positions
        assert [p.file_size for p in ours.pictures] == [len(FILES[key]) for key in ours.keys]
        assert {p.size for p in ours.pictures} == {(12, 10)}
    assert source.skipped == files.skipped and set(source.skipped) == {"x/bad.png", "x/empty.png"}
    assert "content is text" in source.skipped["x/bad.png"] and "0 bytes" in source.skipped["x/empty.png"]
    assert source.ids == files.ids and source.contents == source.ids
    part = source.part(1, 3)
    assert [b.keys for b in part.batches(Model(), 2)] == [["b.png"]] and set(part.skipped) == {"x/bad.png"}
    with pytest.raises(PictureError, match="changed while"):
        PlannedSource(tmp_path, planned[:1], contents=["0" * 32], skip=False).open(0)
    (source,) = [PlannedSource(tmp_path, planned[:1], max_pixels=100)]
    with pytest.raises(PictureError, match="more than the limit of 100"):
        list(source.batches(Model(), 1))


def test_a_missing_picture_is_skipped_a_missing_root_stops(tmp_path: Path) -> None:
    put(tmp_path / "p", {"a.png": encoded(0), "b.png": encoded(1)})
    planned = list(plan_pictures(tmp_path / "p"))
    (tmp_path / "p" / "a.png").unlink()
    source = PlannedSource(tmp_path / "p", planned)
    assert [batch.keys for batch in source.batches(Model(), 2)] == [["b.png"]]
    assert "there is no file" in source.skipped["a.png"]
    (tmp_path / "p").rename(tmp_path / "q")
    with pytest.raises(SourceError, match="is gone; mount it again"):
        list(PlannedSource(tmp_path / "p", planned).batches(Model(), 2))


def test_a_disk_that_fails_costs_the_picture_in_one_line(tmp_path: Path, monkeypatch: Any) -> None:
    put(tmp_path, {"a.png": encoded(0), "b.png": encoded(1)})
    read = read_module.id_of_stream

    def fails_once(stream: IO[bytes]) -> str:
        monkeypatch.setattr(read_module, "id_of_stream", read)
        raise OSError(errno.EIO, "Input/output error")

    for source in (
        picture_source(tmp_path, skip=True),
        PlannedSource(tmp_path, list(plan_pictures(tmp_path))),
    ):
        monkeypatch.setattr(read_module, "id_of_stream", fails_once)
        assert [picture.key for picture in source.read()] == ["b.png"]
        assert source.skipped["a.png"].endswith("a.png cannot be read (Input/output error); check the disk")


def test_lists_and_patterns(tmp_path: Path, monkeypatch: Any) -> None:
    put(tmp_path, FILES)
    monkeypatch.chdir(tmp_path)
    assert [p.key for p in plan_pictures("x/*.png")] == ["cat.png"]
    assert [p.key for p in plan_pictures("**/cat.png")] == ["x/cat.png", "x/deep/cat.png", "y/cat.png"]
    assert [p.key for p in plan_pictures("{y,x}/cat.png")] == ["y/cat.png", "x/cat.png"]
    listed = plan_pictures(["y/cat.png", tmp_path / "b.png"])
    assert listed.kind == "files" and [p.key for p in listed] == ["y/cat.png", "b.png"]
    assert read_all(listed.root, list(listed)) == {key: FILES[key] for key in ("y/cat.png", "b.png")}
    monkeypatch.chdir(tmp_path / "y")
    elsewhere = plan_pictures(["cat.png", "../b.png"])
    assert [p.key for p in elsewhere] == ["cat.png", f"{str(tmp_path)[1:]}/b.png"]
    assert list(read_all(elsewhere.root, list(elsewhere)).values()) == [FILES["y/cat.png"], FILES["b.png"]]
    assert [p.key for p in plan_pictures(["cat.png", "../b.png"], root="..")] == ["y/cat.png", "b.png"]
    with pytest.raises(DataError, match="keys are there more than once"):
        list(plan_pictures(["{cat,cat}.png", "../y/cat.png"]))
    for wrong, says in (
        ("nothing", "no file"), ([], "no picture was named"), ("z/*.png", "matches nothing"),
        (["../b.png", "s3://b/a.png"], "together"), ("a.tar.gz", "unpack it"), (["a.tar", "b.png"], "together"),
    ):  # fmt: skip
        with pytest.raises(PictureError, match=says):
            list(PlannedSource(".", list(plan_pictures(wrong)), skip=False).read())


def test_names_that_are_no_text(tmp_path: Path) -> None:
    names = [b"caf\xe9.png", b"caf\\xe9.png", b"bytes:a.png", b"a%E9.png", b"d\xff/\x1b.png"]
    (tmp_path / os.fsdecode(b"d\xff")).mkdir()
    for seed, name in enumerate(names):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(encoded(seed))
    planned = from_table(to_columns(plan_pictures(tmp_path)))
    assert planned == list(plan_pictures(tmp_path))
    assert {p.key for p in planned} == set(picture_source(tmp_path).keys)
    assert {p.key: p.source for p in planned}["caf\\xe9.png"] == "bytes:caf%E9.png"
    assert sorted(read_all(tmp_path, planned).values()) == sorted(encoded(seed) for seed in range(len(names)))


def test_columns_and_digest_do_not_depend_on_portions(tmp_path: Path) -> None:
    planned = [
        PlannedPicture("a", "a", 7, 8, label=3, boxes=((0.0, 1.0, 2.0, 3.5),), mask="m/a.png"),
        PlannedPicture("t::1", "t", 1, -1, "image"),
        PlannedPicture("b", "b", reason="a link; pack the picture", boxes=()),
    ]
    assert from_table(to_columns(planned)) == planned
    assert to_columns(planned[1:], first=1).equals(to_columns(planned).slice(1))
    digests = []
    for cut in range(4):
        digest = PlanDigest()
        digest.update(planned[:cut])
        digest.update(planned[cut:])
        digests.append(digest.hexdigest())
    assert len(set(digests)) == 1
    other = PlanDigest()
    other.update(reversed(planned))
    assert other.hexdigest() != digests[0]
    with pytest.raises(DataError, match="no table of planned pictures"):
        from_table(to_columns(planned).drop(["size"]))


class Entry:
    """An entry of a listing, made up."""

    def __init__(self, folder: str, name: str, is_folder: bool) -> None:
        self.name, self.path, self._is_folder = name, f"{folder}/{name}", is_folder

    def is_dir(self, follow_symlinks: bool = True) -> bool:
        return self._is_folder

    def is_symlink(self) -> bool:
        return False


def test_the_names_of_one_folder_are_in_memory_at_a_time(tmp_path: Path, monkeypatch: Any) -> None:
    """50,000 names in 100 folders; what is held is of the size of one folder, not of all, which are 5 MB."""
    folders, each = 100, 500

    @contextmanager
    def listed(folder: str) -> Iterator[Iterator[Entry]]:
        top = folder == str(tmp_path)
        names = [f"{n:03d}" for n in range(folders)] if top else [f"{n:04d}.jpg" for n in range(each)]
        yield (Entry(folder, name, top) for name in reversed(names))

    monkeypatch.setattr("vitscope.pictures.find.os.scandir", listed)
    plan = plan_pictures(tmp_path)
    assert next(iter(plan)).key == "000/0000.jpg"
    tracemalloc.start()
    count = sum(1 for _ in plan)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == folders * each and peak < 250_000
