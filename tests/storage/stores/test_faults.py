"""A place that fails as a whole, really: full, read-only, gone, forbidden; and a writer that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitscope.errors import OutputError, StorageError, StoreFault
from vitscope.storage.stores import Store, open_store


def mount(place: Path, *options: str) -> None:
    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no right to mount: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mount(place, "-t", "tmpfs", "-o", "size=1m", "tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True)


def opened(place: Path) -> Store:
    store = open_store(place)
    store.make_root(["shards/main", "tables"])
    return store


def files_in(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_a_full_disk(disk: Path) -> None:
    store = opened(disk / "study")
    store.put("tables/0.parquet", b"0" * 100_000)
    before = files_in(disk)
    for write in (store.put, store.create):
        for path in ("tables/0.parquet", "tables/1.parquet"):
            with pytest.raises(StoreFault) as caught:
                write(path, b"1" * 2_000_000)
            assert (caught.value.why, caught.value.needed) == ("full", 2_000_000)
            assert str(caught.value).startswith(
                f"cannot write {path} in {disk}/study: No space left on device (2.0 MB needed, "
            )
            assert str(caught.value).endswith(" kB free); make room there and run it again")
    assert files_in(disk) == before
    store.put("tables/1.parquet", b"1" * 500_000)  # what has room is still written


def test_a_full_disk_stops_events_too(disk: Path) -> None:
    store = opened(disk / "study")
    with pytest.raises(StoreFault, match="No space left on device"):
        while True:
            store.append("tables/events.jsonl", b"x" * 100_000)


LIMITED = """
import resource, sys
from vitscope.errors import StoreFault
from vitscope.storage.stores import open_store
store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store.put("tables/small", b"1" * 99_999)
for write in (store.put, store.create):
    try:
        write("tables/large", b"1" * 100_001)
    except StoreFault as error:
        print(error.why, error)
"""


def test_a_limit_of_file_sizes(tmp_path: Path) -> None:
    opened(tmp_path)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True)
    words = f"full cannot write tables/large in {tmp_path}: File too large (100.0 kB needed, "
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(line.startswith(words) for line in lines), done.stderr
    assert lines[0].endswith("free); raise the limit of a file's size (ulimit -f) and run it again")
    assert list(files_in(tmp_path)) == ["tables/small"]


def test_a_read_only_disk(disk: Path) -> None:
    store = opened(disk / "study")
    store.put("tables/0.parquet", b"0")
    mount(disk, "-o", "remount,ro")
    for use in (
        lambda: store.put("tables/0.parquet", b"1"),
        lambda: store.create("tables/1.parquet", b"1"),
        lambda: store.append("tables/events.jsonl", b"1"),
        lambda: store.remove("tables/0.parquet"),
    ):
        with pytest.raises(
            StoreFault, match=r"Read-only file system.*; make it writable and run it again"
        ) as caught:
            use()
        assert caught.value.why == "read-only"
    assert store.read("tables/0.parquet") == b"0" and store.list("tables") == ["0.parquet"]


def test_a_folder_without_rights(tmp_path: Path) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to become somebody else")
    store = opened(tmp_path / "study")
    (tmp_path / "study" / "tables").chmod(0o555)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    program = """
import sys
from vitscope.storage.stores import open_store
try:
    open_store(sys.argv[1]).put("tables/0.parquet", b"0")
except Exception as error:
    print(type(error).__name__, getattr(error, "why", ""), error)
"""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*nobody, sys.executable, "-c", program, store.url()], capture_output=True, text=True
    )
    if "Permission denied" in done.stderr:
        pytest.skip(f"somebody else may not start Python here: {done.stderr.strip()[:100]}")
    assert done.stdout.strip() == (
        f"StoreFault forbidden cannot write tables/0.parquet in {store.url()}: Permission denied (1 B needed); "
        "give yourself the right to use it and run it again"
    ), done.stderr


def gone(store: Store, root: Path) -> None:
    """Everything says that the root is gone, and nothing makes it anew."""
    for use in (
        lambda: store.put("shards/main/0.json", b"1"),
        lambda: store.create("shards/main/0.json", b"1"),
        lambda: store.append("tables/events.jsonl", b"1"),
        lambda: store.read("shards/main/0.json"),
        lambda: store.exists("shards/main/0.json"),
        lambda: store.list("shards/main"),
        lambda: store.remove("shards/main/0.json"),
        lambda: store.sweep(0),
    ):
        with pytest.raises(
            StoreFault, match=r"No such file or directory.*; mount it or put it back and run it again"
        ) as e:
            use()
        assert e.value.why == "gone"
    assert not root.exists()


def test_a_folder_that_was_renamed_away(tmp_path: Path) -> None:
    root = tmp_path / "study"
    store = opened(root)
    root.rename(tmp_path / "elsewhere")
    gone(store, root)


def test_a_mount_that_vanished_is_not_made_anew_beneath(disk: Path) -> None:
    root = disk / "study"
    store = opened(root)
    store.put("shards/main/0.json", b"1")
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
    gone(store, root)
    assert list(disk.iterdir()) == []


def test_a_mount_that_was_the_root_itself(disk: Path) -> None:
    store = opened(disk)
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
    for write in (store.put, store.create, store.append):
        with pytest.raises(StoreFault) as caught:
            write("shards/main/0.json", b"1")
        assert caught.value.why == "gone"
    assert list(disk.iterdir()) == []


def test_a_fault_of_one_file_is_not_one_of_the_place(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(OutputError, match="Is a directory") as caught:
        store.put("shards/main", b"1")
    assert not isinstance(caught.value, StoreFault)
    with pytest.raises(OutputError, match="File name too long") as caught:
        store.put("tables/" + "n" * 300, b"1")
    assert not isinstance(caught.value, StoreFault)
    with pytest.raises(StorageError, match=r"cannot read|is no file"):
        store.read("shards/main")
    assert files_in(tmp_path) == {}


WRITER = """
import sys
from vitscope.storage.stores import open_store
store = open_store(sys.argv[1])
print(flush=True)
for turn in range(10**6):
    store.put("tables/0.parquet", bytes([65 + turn % 2]) * 3_000_000)
    store.create(f"shards/main/{turn:06d}.json", b"{}" * 1000)
"""


def test_a_killed_writer_leaves_whole_files_and_parts_that_are_swept(tmp_path: Path) -> None:
    store = opened(tmp_path)
    parts = 0
    for turn in range(8):
        shutil.rmtree(tmp_path / "shards")
        store.make_root(["shards/main"])
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.02 + 0.013 * turn)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if store.exists("tables/0.parquet"):
            content = store.read("tables/0.parquet")
            assert len(content) == 3_000_000 and len(set(content)) == 1
        assert all(store.read(f"shards/main/{name}") == b"{}" * 1000 for name in store.list("shards/main"))
        left = list(tmp_path.rglob("*.part"))
        assert store.sweep(3600) == 0 and store.sweep(-1) == len(left)
        parts += len(left)
        assert list(tmp_path.rglob("*.part")) == []
    assert parts > 0, "no kill came in the middle of writing, so this has shown nothing"


@pytest.mark.parametrize("step", ["write", "fsync", "replace", "link"])
def test_ctrl_c_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    store = opened(tmp_path)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if step == "write":
        real = os.fdopen

        def broken(*given: object, **named: object) -> object:
            real(*given, **named).close()  # type: ignore[call-overload]
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fdopen", broken)
    else:
        monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        (store.create if step == "link" else store.put)("tables/0", b"1")
    monkeypatch.undo()
    assert files_in(tmp_path) == {}
