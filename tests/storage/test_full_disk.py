"""A disk that is really full: every kind of result is "cannot write", and what was there stays readable."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.storage.saved_kinds import KINDS, SavedKind
from tests.storage.test_saved_kinds import parts_of
from vitscope.errors import OutputError
from vitscope.rendering import save_png
from vitscope.storage import files


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 600 KiB in memory."""
    place = tmp_path_factory.mktemp("disk")
    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> None:
    """Leave no room at all."""
    with (disk / "fill").open("wb", buffering=0) as stream:
        for size in (4096, 1):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError:
                continue


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_result_stays_whole_on_a_full_disk(kind: SavedKind, disk: Path) -> None:
    shutil.rmtree(disk / "results", ignore_errors=True)
    (disk / "fill").unlink(missing_ok=True)
    result = kind.make()
    place = kind.save(result, disk / "results")
    before = {part: part.read_bytes() for part in parts_of(place)}
    fill(disk)
    with pytest.raises(OutputError, match=r"cannot write .*No space left on device"):
        kind.save(result, disk / "results")
    assert {part: part.read_bytes() for part in parts_of(place)} == before
    kind.load(place)
    assert not list(disk.rglob("*.tmp"))


def test_pictures_and_pages_are_told_too(disk: Path) -> None:
    shutil.rmtree(disk / "results", ignore_errors=True)
    fill(disk)
    for write in (
        lambda: save_png(Image.effect_noise((99, 99), 9), disk / "new" / "a.png"),
        lambda: files.write(disk / "a.html", "<p>" * 999),
    ):
        with pytest.raises(OutputError, match=r"cannot write .*No space left on device"):
            write()
    assert not list(disk.rglob("*.tmp")) and not (disk / "a.html").exists()
