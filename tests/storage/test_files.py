"""The one atomic write: whole or not there, through no link, with nothing left behind."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from vitscope.errors import OutputError, StorageError
from vitscope.storage import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_text_are_written_and_folders_made(tmp_path: Path) -> None:
    assert files.write(tmp_path / "a" / "b" / "x.bin", b"\x00\x01").read_bytes() == b"\x00\x01"
    assert files.write(tmp_path / "t.txt", "ä\n").read_bytes() == b"\xc3\xa4\n"
    assert files.write(tmp_path / "t.txt", "name \udcff").read_bytes() == b"name \\udcff"
    assert names(tmp_path / "a" / "b") == ["x.bin"]


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").symlink_to(victim)
    files.write(tmp_path / "out" / "x", "new")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "out" / "x").is_symlink()


def test_a_link_under_the_temporary_name_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr(files, "_once", lambda: "known.tmp")
    (tmp_path / "known.tmp").symlink_to(victim)
    with pytest.raises(OutputError):
        files.write(tmp_path / "x", "new")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_was_there_stays_and_nothing_is_left_when_a_step_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, problem: BaseException
) -> None:
    (tmp_path / "x").write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise problem

    if step == "write":
        real = os.fdopen

        def broken(*given: object, **named: object) -> object:
            stream = real(*given, **named)  # type: ignore[call-overload]
            stream.close()
            fail()

        monkeypatch.setattr(os, "fdopen", broken)
    else:
        monkeypatch.setattr(os, step, fail)
    expected = OutputError if isinstance(problem, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        files.write(tmp_path / "x", "new")
    if isinstance(problem, OSError):
        assert (
            str(caught.value)
            == f"cannot write {tmp_path / 'x'} (No space left on device); choose another place"
        )
    monkeypatch.undo()
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_places_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for bad in (
        tmp_path / "file" / "x",
        tmp_path / "folder",
        tmp_path / ("n" * 300),
        tmp_path / "a\0b",
        Path("/proc/no/x"),
    ):
        with pytest.raises(OutputError, match="cannot write"):
            files.write(bad, b"x")
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


def test_a_thousand_folders_deep(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 1000) / "x"
    assert files.write(deep, b"1").read_bytes() == b"1"
    with pytest.raises(OutputError, match="cannot write"):
        files.write(tmp_path.joinpath(*["folder"] * 1000) / "x", b"1")
    # pytest's own clean-up recurses.
    top = tmp_path / "d"
    for place in (deep, *deep.parents):
        place.unlink() if place == deep else place.rmdir()
        if place == top:
            break


def test_make_folder(tmp_path: Path) -> None:
    assert files.make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(OutputError) as caught:
            files.make_folder(bad)
        assert str(caught.value) == f"{tmp_path / 'file'} is a file, not a folder; give --out a folder"
    with pytest.raises(OutputError, match="cannot write to the folder"):
        files.make_folder("/proc/no")


def test_read_tells_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for bad, words in (("none", "there is no file"), ("folder", "director"), ("pipe", "is no file")):
        with pytest.raises(StorageError, match=words):
            files.read(tmp_path / bad)
    with pytest.raises(StorageError):
        files.read("/dev/zero")
    files.write(tmp_path / "x", b"12")
    assert files.read(tmp_path / "x") == b"12"


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    def work(letter: str) -> None:
        for _ in range(20):
            files.make_folder(tmp_path / "out")
            files.write(tmp_path / "out" / "x", letter * 50_000)

    workers = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    text = (tmp_path / "out" / "x").read_text()
    assert len(text) == 50_000 and len(set(text)) == 1
    assert names(tmp_path / "out") == ["x"]


def test_rights_are_those_of_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    files.write(tmp_path / "x", "")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    (tmp_path / "x").chmod(0o600)
    files.write(tmp_path / "x", "new")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600, "what was private stays so"


def test_a_file_in_pieces_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "numbers.bin"
    with files.writing(target) as stream:
        stream.write(b"0123456789")
        stream.seek(2)
        assert stream.read(3) == b"234" and not target.exists()
        stream.seek(0)
        stream.write(b"x")
    assert target.read_bytes() == b"x123456789" and os.listdir(target.parent) == ["numbers.bin"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(28, "No space left on device")])
def test_a_file_in_pieces_that_fails_leaves_what_was_there(tmp_path: Path, error) -> None:
    target = tmp_path / "numbers.bin"
    target.write_bytes(b"before")
    with pytest.raises(OutputError if isinstance(error, OSError) else error), files.writing(target) as stream:
        stream.write(b"half")
        raise error
    assert target.read_bytes() == b"before" and os.listdir(tmp_path) == ["numbers.bin"]
