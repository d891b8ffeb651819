"""What every store promises, on a disk, in memory and on S3: files whole, made once, listed as they are now."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import S3
from vitscope.errors import MissingError, MissingExtraError, OutputError, StorageError
from vitscope.storage.stores import Store, open_store
from vitscope.storage.stores.disk import _kind_of_mount
from vitscope.storage.stores.faults import in_words

NUMBERS = itertools.count()
KINDS = ("disk", "memory", "s3")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path / "a study")
    if request.param == "memory":
        return f"memory://study{next(NUMBERS)}/a study"
    server: S3 = request.getfixturevalue("s3")
    return f"{server.bucket()}/a study"


@pytest.fixture
def store(place: str) -> Store:
    opened = open_store(place)
    opened.make_root(["shards/main", "tables"])
    return opened


def test_files_are_written_read_listed_and_removed(store: Store) -> None:
    assert store.list("shards/main") == [] and store.list("nowhere") == []
    assert not store.exists("shards/main/1.json")
    store.put("shards/main/2.json", b"two")
    store.put("shards/main/10.json", b"ten")
    store.put("shards/main/2.json", b"")
    store.put("manifest.json", b"{}")
    assert store.read("shards/main/2.json") == b"" and store.read("shards/main/10.json") == b"ten"
    assert store.list("shards/main") == ["10.json", "2.json"]
    assert store.list() == ["manifest.json"], "folders are no files"
    assert store.exists("shards/main/2.json") and not store.exists("shards/main")
    store.remove("shards/main/2.json")
    store.remove("shards/main/2.json")
    assert store.list("shards/main") == ["10.json"]


def test_a_missing_file_is_told_from_a_broken_place(store: Store) -> None:
    for path in ("shards/main/7.json", "no folder/7.json"):
        with pytest.raises(MissingError) as caught:
            store.read(path)
        assert str(caught.value) == f"there is no file {path} in {store.name}; check the place"


def test_a_file_is_created_once(store: Store) -> None:
    assert store.create("shards/main/0.json", b"first") is True
    assert store.create("shards/main/0.json", b"second") is False
    assert store.read("shards/main/0.json") == b"first"
    assert store.list("shards/main") == ["0.json"] and store.list() == []


def test_of_many_that_create_at_once_one_wins(store: Store) -> None:
    def race(path: str) -> tuple[list[str], str]:
        start, won = threading.Barrier(6), []

        def create(name: str) -> None:
            start.wait()
            if store.create(path, name.encode() * 1000):
                won.append(name)

        racers = [threading.Thread(target=create, args=(name,)) for name in "abcdef"]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        return won, store.read(path).decode()

    for turn in range(5):
        won, content = race(f"shards/main/{turn}.json")
        assert len(won) == 1 and content == won[0] * 1000
    assert len(store.list("shards/main")) == 5


def test_lines_are_added(store: Store) -> None:
    store.append("tables/events.jsonl", b"1\n")
    store.append("tables/events.jsonl", b"2\n")
    assert store.read("tables/events.jsonl") == b"1\n2\n"


def test_a_listing_is_never_an_old_one(store: Store, place: str) -> None:
    other = open_store(place)
    assert store.list("tables") == other.list("tables") == []
    other.put("tables/1", b"1")
    assert store.list("tables") == ["1"] and store.exists("tables/1")
    other.remove("tables/1")
    assert store.list("tables") == [] and not store.exists("tables/1")


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a/../../x", "a//b", "./a", "a\\b", "a\0b", "a/"])
def test_no_path_leads_out(store: Store, path: str) -> None:
    for use in (
        store.read,
        store.remove,
        store.exists,
        lambda p: store.put(p, b""),
        lambda p: store.create(p, b""),
    ):
        with pytest.raises(StorageError, match="no path inside a store"):
            use(path)


def test_others_read_the_same_place(store: Store) -> None:
    import io

    import duckdb
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import zarr

    store.make_root(["arrays.zarr/maps/c"])
    buffer = io.BytesIO()
    pq.write_table(pa.table({"picture": [4, 5], "value": [0.5, 1.5]}), buffer)
    store.put("tables/0.parquet", buffer.getvalue())
    memory = zarr.storage.MemoryStore()
    zarr.create_array(memory, name="maps", shape=(4,), chunks=(4,), dtype="f4")[:] = np.arange(4)
    for key in ("maps/zarr.json", "maps/c/0"):
        store.put(f"arrays.zarr/{key}", memory._store_dict[key].to_bytes())

    files, url = store.filesystem(), store.url("tables/0.parquet")
    assert pq.read_table(url.split("://")[-1], filesystem=files)["picture"].to_pylist() == [4, 5]
    with duckdb.connect() as database:
        if not store.is_local:
            database.register_filesystem(files)
        assert database.sql(f"select sum(value) from read_parquet('{url}')").fetchall() == [(2.0,)]
    assert zarr.open_array(store.url("arrays.zarr/maps"), mode="r")[:].tolist() == [0, 1, 2, 3]


def test_free_space_is_said_where_it_is_known(store: Store) -> None:
    free = store.free_space()
    assert (free is not None and free > 0) if store.is_local else free is None


def test_a_part_is_no_file_of_the_store_and_is_swept_when_it_is_old(store: Store, place: str) -> None:
    if store.is_local:
        (Path(place) / "tables" / "1.parquet.0123.part").write_bytes(b"half")
    else:
        store.put("trial.0123.part", b"")
    assert store.list("tables") == store.list() == []
    assert store.sweep(3600) == 0
    assert store.sweep(-1) == 1
    assert store.sweep(-1) == 0


def test_a_url_of_a_file_is_the_folder(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/s")
    store.make_root([])
    assert store.is_local and store.name == f"file://{tmp_path}/s"
    store.put("x", b"1")
    assert (tmp_path / "s" / "x").read_bytes() == b"1" and store.url("x") == f"{tmp_path}/s/x"


def test_a_store_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("s")
    store.make_root([])
    monkeypatch.chdir("/")
    store.put("x", b"1")
    assert store.name == "s" and (tmp_path / "s" / "x").exists()


def test_what_cannot_be_a_store_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OutputError, match=r"cannot make the folder .*: a file stands in the way; choose another place"
    ):
        open_store(tmp_path / "file" / "s").make_root([])
    for place, words in (
        ("s3://", "names no folder; give one, like s3://bucket/folder"),
        ("simplecache::s3://a/b", "is a chain of places; give one folder or one URL"),
        (Path("s3://bucket/a"), "is a URL that lost a slash on the way; give it as text"),
        ("nonsense://a", r"cannot open nonsense://a \(ValueError: .*; check the URL"),
        ("", "expected a path"),
    ):
        with pytest.raises(OutputError, match=words):
            open_store(place)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # type: ignore[attr-defined]
    with pytest.raises(MissingExtraError, match=r"needs the package s3fs; install it with: pip install .*s3"):
        open_store("s3://bucket/a")


def test_a_bucket_that_is_not_there_is_told(s3: S3) -> None:
    store = open_store("s3://no-such-bucket/study")
    store.make_root(["shards"])
    with pytest.raises(
        OutputError, match=r"^cannot write shards/0 in s3://no-such-bucket/study: .*bucket does not exist"
    ) as e:
        store.put("shards/0", b"12")
    assert (e.value.why, e.value.needed) == ("gone", 2)  # type: ignore[attr-defined]


def test_a_place_that_replaces_what_it_was_to_create_is_refused(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"{s3.bucket()}/study"
    store = open_store(place)
    files = store.filesystem()
    pipe: Callable[..., object] = files.pipe_file
    # What a server does that does not know If-None-Match.
    monkeypatch.setattr(files, "pipe_file", lambda path, data, mode="": pipe(path, data))
    with pytest.raises(OutputError) as caught:
        store.create("a", b"1")
    assert str(caught.value) == (
        f"{place} cannot keep two runs apart (it replaces what it was to create); "
        "use another place, or --i-am-alone when no other run works there"
    )
    assert files.find(place) == [], "the trial is gone"
    alone = open_store(place, alone=True)
    assert alone.create("a", b"1") and not alone.create("a", b"2") and alone.read("a") == b"1"


def test_a_disk_without_hard_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    def link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    store = open_store(tmp_path)
    with pytest.raises(
        OutputError, match=r"cannot keep two runs apart \(it has no hard links\); .*--i-am-alone"
    ):
        store.create("a", b"1")
    assert list(tmp_path.iterdir()) == []
    alone = open_store(tmp_path, alone=True)
    assert alone.create("a", b"1") and not alone.create("a", b"2") and alone.read("a") == b"1"


def test_processes_see_one_place(store: Store, place: str) -> None:
    if place.startswith("memory"):
        pytest.skip("the memory of one process")
    program = (
        "import sys; from vitscope.storage.stores import open_store; s = open_store(sys.argv[1]); "
        "print(s.create('tables/a', sys.argv[2].encode()))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, place, name], stdout=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    answers = [process.communicate()[0].strip() for process in started]
    assert sorted(answers) == ["False", "True"]
    assert store.read("tables/a") == b"ab"[answers.index("True") :][:1]


def test_networks_are_told_from_disks(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /data/my\\040sets rw shared:2 - nfs4 server:/sets rw\n"
        "31 30 8:2 / /data/my\\040sets/here rw - xfs /dev/sdb rw\n"
    )
    kinds = {
        path: _kind_of_mount(path, str(table))
        for path in ("/", "/data/my sets", "/data/my sets/x", "/data/my setsx")
    }
    assert kinds == {
        "/": "ext4",
        "/data/my sets": "nfs4",
        "/data/my sets/x": "nfs4",
        "/data/my setsx": "ext4",
    }
    assert _kind_of_mount("/data/my sets/here/y", str(table)) == "xfs"
    assert _kind_of_mount("/", str(tmp_path / "none")) == ""


def test_bytes_in_words() -> None:
    sizes = (0, 999, 1000, 12_345_678, 999_960, 10**12, 5 * 10**15)
    assert [in_words(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12.3 MB",
        "1.0 MB",
        "1.0 TB",
        "5000.0 TB",
    ]
