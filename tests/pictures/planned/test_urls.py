"""The same plans at URLs: an S3 server of this machine, fsspec's memory, a web server of files."""

from __future__ import annotations

import functools
import http.server
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.pictures.planned.making import Model, encoded, packed, put, read_all
from tests.servers import S3
from vitscope.errors import PictureError, SourceError
from vitscope.pictures import picture_source
from vitscope.pictures.planned import PlannedSource, plan_pictures

FILES = {"Z.png": encoded(1), "b é.png": encoded(0), "x/cat.png": encoded(2), "x/deep/cat.png": encoded(3)}
MORE = {"notes.txt": b"no picture", ".hidden.png": b"", "x/.h/a.png": b"", "x/bad.png": b"a letter"}


@pytest.fixture(params=["s3", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh place at a URL."""
    if request.param == "s3":
        server: S3 = request.getfixturevalue("s3")
        return f"{server.bucket()}/data"
    return f"memory://{tmp_path.name}/data"


def upload(url: str, files: dict[str, bytes]) -> None:
    store, path = fsspec.core.url_to_fs(url)
    for name, content in files.items():
        store.pipe_file(f"{path}/{name}", content)


def test_a_folder_as_here(url: str, tmp_path: Path) -> None:
    upload(url, FILES | MORE)
    here = list(plan_pictures(put(tmp_path / "here", FILES | MORE)))
    plan = plan_pictures(url)
    planned = list(plan)
    assert plan.root == url and planned == here and len(planned) == 5
    source, loose = PlannedSource(url, planned), picture_source(tmp_path / "here", skip=True)
    for ours, theirs in zip(source.batches(Model(), 2), loose.batches(Model(), 2), strict=True):
        assert torch.equal(ours.images, theirs.images) and ours.ids == theirs.ids
    assert set(source.skipped) == {"x/bad.png"} and source.ids == loose.ids
    upload(url, {"new.png": encoded(7)})
    assert len(list(plan)) == 6, "a listing is never an old one"
    assert [p.key for p in plan_pictures(f"{url}/x", root=url)] == [
        "x/bad.png",
        "x/cat.png",
        "x/deep/cat.png",
    ]
    assert [p.key for p in plan_pictures(f"{url}/*/cat.png")] == ["x/cat.png"]
    assert [p.key for p in plan_pictures(f"{url}/**/cat.png")] == ["x/cat.png", "x/deep/cat.png"]
    assert [p.key for p in plan_pictures([f"{url}/x/cat.png", f"{url}/Z.png"])] == ["x/cat.png", "Z.png"]
    again = pickle.loads(pickle.dumps(source.items[0].rows))
    assert again.place == source.items[0].rows.place


def test_archives_and_lists_as_here(url: str, tmp_path: Path) -> None:
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"image": list(FILES.values()), "label": [4, 3, 2, 1]}), table, row_group_size=2)
    lines = "file,label,mask\n" + "".join(f"{name},{n},{name}\n" for n, name in enumerate(FILES))
    files = FILES | {
        "s-0.tar": packed(FILES), "s-1.tar": packed(FILES | {"0.cls": b"4"}),
        "t.parquet": table.getvalue().to_pybytes(), "l.csv": lines.encode(),
    }  # fmt: skip
    upload(url, files)
    folder = put(tmp_path / "here", files)
    for name in ("s-0.tar", "s-{0..1}.tar", "s-*.tar", "t.parquet", "l.csv"):
        planned = list(plan_pictures(f"{url}/{name}"))
        assert planned == list(plan_pictures(folder / name)) and planned, name
        content = read_all(url, planned)
        assert content == read_all(folder, planned), name
        assert list(content.values()) == list(FILES.values()) * (len(planned) // 4), name
        assert PlannedSource(url, planned).ids == PlannedSource(folder, planned).ids
    # a list here of pictures there
    local = put(tmp_path, {"away.csv": f"file\n{url}/Z.png\n".encode()}) / "away.csv"
    (away,) = plan_pictures(local)
    assert away.key == f"{url.partition('://')[2]}/Z.png"
    assert read_all(tmp_path, [away]) == {away.key: FILES["Z.png"]}


def test_what_is_missing_there(url: str) -> None:
    upload(url, FILES | {"empty.png": b"", "s.tar": packed(FILES)[:700]})
    planned = [p for p in plan_pictures(url) if p.key in ("empty.png", "Z.png", "x/cat.png")]
    store, path = fsspec.core.url_to_fs(url)
    store.rm_file(f"{path}/Z.png")
    source = PlannedSource(url, planned)
    assert [p.key for p in source.read()] == ["x/cat.png"]
    assert (
        "is empty (0 bytes)" in source.skipped["empty.png"] and "there is no file" in source.skipped["Z.png"]
    )
    with pytest.raises(PictureError, match="cut short"):
        list(plan_pictures(f"{url}/s.tar"))
    upload(url, {"t.tar": packed(FILES)})
    members = list(plan_pictures(f"{url}/t.tar"))
    upload(url, {"t.tar": packed(FILES)[: members[1].offset + 5]})
    source = PlannedSource(url, members)
    assert [p.key for p in source.read()] == [members[0].key] and len(source.skipped) == 3
    assert all("is cut short" in reason for reason in source.skipped.values())
    with pytest.raises((PictureError, SourceError)):
        list(plan_pictures(f"{url}/nothing"))


def test_a_bucket_that_is_gone_stops(s3: S3) -> None:
    url = s3.bucket()
    upload(url, FILES)
    planned = list(plan_pictures(url))
    fsspec.filesystem("s3").rm(url, recursive=True)
    with pytest.raises(SourceError, match=r"the bucket .* is gone"):
        list(PlannedSource(url, planned).read())


def test_a_server_that_does_not_answer_stops(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    url = s3.bucket()
    upload(url, FILES)
    planned = list(plan_pictures(url))

    async def fails(*_: Any, **__: Any) -> bytes:
        raise ConnectionError("the line is dead")

    monkeypatch.setattr("s3fs.S3FileSystem._cat_file", fails)
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        with pytest.raises(SourceError, match=r"the line is dead.*check the connection"):
            list(PlannedSource(url, planned).read())
    finally:
        fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of the files in a folder; it knows no ranges of bytes."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_files_of_a_web_server(web: str, tmp_path: Path) -> None:
    put(tmp_path, {"d/a.png": encoded(1), "d/x/b.png": encoded(2), "t.tar": packed({"0.png": encoded(3)})})
    planned = list(plan_pictures(f"{web}/d/"))
    assert [p.key for p in planned] == ["a.png", "x/b.png"]
    assert list(read_all(f"{web}/d", planned).values()) == [encoded(1), encoded(2)]
    signed = list(plan_pictures(f"{web}/d/a.png?signature=1"))
    assert [p.key for p in signed] == ["a.png"]
    assert read_all(f"{web}/d", signed) == {"a.png": encoded(1)}
    member = list(plan_pictures(tmp_path / "t.tar"))
    assert read_all(web, member) == {"t.tar::0": encoded(3)}
