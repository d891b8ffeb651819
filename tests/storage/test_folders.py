"""A result of several files is the old one, the new one, or refused; never some of each."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vitscope.errors import OutputError, StorageError
from vitscope.storage import files, folders

OLD = {"a.bin": b"old a", "b.bin": b"old b", "only-old.bin": b"1"}
NEW = {"a.bin": b"new a", "b.bin": b"new b"}


def read(folder: Path) -> tuple[dict[str, bytes], object]:
    parts, note = folders.load(folder, "example")
    return parts, note["name"]


def test_parts_and_note_come_back_and_stale_parts_go(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    folders.save(tmp_path, "example", OLD, {"name": "old"})
    assert read(tmp_path) == (OLD, "old")
    folders.save(tmp_path, "example", NEW, {"name": "new"})
    assert read(tmp_path) == (NEW, "new")
    kept = sorted(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert kept == ["a", "b", "manifest.json", "mine.txt"]
    folders.remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(StorageError, match="there is no 'example' in"):
        folders.load(tmp_path, "example")


@pytest.mark.parametrize("stop", range(3))
@pytest.mark.parametrize("problem", [KeyboardInterrupt, lambda: OutputError("full")])
def test_wherever_writing_stops_the_old_result_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, problem: type[BaseException]
) -> None:
    folders.save(tmp_path, "example", OLD, {"name": "old"})
    real, calls = files.write, []

    def write(path: Path, content: bytes) -> Path:
        calls.append(path)
        if len(calls) > stop:
            raise problem()
        return real(path, content)

    monkeypatch.setattr(files, "write", write)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        folders.save(tmp_path, "example", NEW, {"name": "new"})
    monkeypatch.undo()
    assert read(tmp_path) == (OLD, "old")
    folders.save(tmp_path, "example", NEW, {"name": "new"})
    assert read(tmp_path) == (NEW, "new")


def test_a_part_that_is_missing_changed_or_of_another_result_is_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    folders.save(one, "example", OLD, {"name": "old"})
    folders.save(two, "example", NEW, {"name": "new"})
    part = next(one.glob("a-*"))
    part.write_bytes(b"old A")
    with pytest.raises(StorageError, match="its checksum does not fit"):
        read(one)
    part.unlink()
    with pytest.raises(StorageError, match="is missing"):
        read(one)
    # The new manifest over the old parts: a folder half copied over another.
    folders.save(one, "example", OLD, {"name": "old"})
    (one / "manifest.json").write_bytes((two / "manifest.json").read_bytes())
    with pytest.raises(StorageError):
        read(one)


def test_a_manifest_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    from vitscope.storage import documents

    (tmp_path / "secret-0123456789abcdef.bin").write_bytes(b"s")
    for name in ("../secret-0123456789abcdef.bin", str(tmp_path / "secret-0123456789abcdef.bin"), "", ".."):
        documents.save(tmp_path / "f" / "manifest.json", "example", {"parts": {"a": [name, "0"]}, "note": {}})
        with pytest.raises(StorageError, match="a part is called"):
            folders.load(tmp_path / "f", "example")
        folders.save(tmp_path / "f", "example", NEW, {"name": "new"})
        assert (tmp_path / "secret-0123456789abcdef.bin").exists()
    for name in ("../a.bin", "a/b.bin", "/a"):
        with pytest.raises(OutputError, match="plain ending"):
            folders.save(tmp_path / "f", "example", {name: b""}, {})
    assert read(tmp_path / "f") == (NEW, "new")


def test_manifests_without_what_they_need_are_refused(tmp_path: Path) -> None:
    from vitscope.storage import documents

    for note in ({}, {"parts": 3}, {"parts": {"a": None}}, {"parts": {"a": [1, 2]}}, {"parts": {}}):
        documents.save(tmp_path / "manifest.json", "example", note)
        with pytest.raises(StorageError):
            folders.load(tmp_path, "example")


def test_processes_that_write_and_read_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    results = [{"a.bin": bytes([n]) * 1000, "b.bin": bytes([n]) * 10} for n in range(4)]
    folders.save(tmp_path, "example", results[0], {"name": 0})

    def write(n: int) -> None:
        for _ in range(15):
            folders.save(tmp_path, "example", results[n], {"name": n})

    def look(_: int) -> None:
        for _ in range(40):
            parts, name = read(tmp_path)
            assert parts == results[int(str(name))]

    children = []
    for n in (1, 2):
        child = os.fork()
        if child == 0:
            try:
                write(n)
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    with ThreadPoolExecutor(3) as pool:
        for job in [pool.submit(write, 3), pool.submit(look, 0), pool.submit(look, 0)]:
            job.result()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 3
