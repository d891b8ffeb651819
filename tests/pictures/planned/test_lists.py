"""Lists and tables: CSV and Parquet with names, Parquet that holds the pictures, and what they tell of each."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import vitscope as vs
from tests.pictures.planned.making import Model, encoded, put, read_all
from vitscope.errors import DataError, PictureError
from vitscope.pictures import picture_source
from vitscope.pictures.planned import PlannedSource, from_table, plan_pictures, to_columns


def mask_file(rows: int) -> bytes:
    stream = io.BytesIO()
    values = np.zeros((12, 10), np.uint8)
    values[:rows] = 255
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


FILES = {"a.png": encoded(1), "x/b.png": encoded(2), "m/a.png": mask_file(3), "m/b.png": mask_file(5)}
ROWS = [
    {"path": "x/b.png", "label": 7, "boxes": [[1, 2, 3, 4], [0, 0, 10, 12]], "mask": "m/b.png"},
    {"path": "a.png", "label": 0, "boxes": [[0, 0, 5, 6]], "mask": "m/a.png"},
]


def listed(folder: Path, kind: str, boxes: str = "json") -> Path:
    put(folder, FILES)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), folder / "list.parquet")
        return folder / "list.parquet"
    lines = ["path,Label,boxes,mask"]
    for row in ROWS:
        places = (
            json.dumps(row["boxes"])
            if boxes == "json"
            else "; ".join(" ".join(map(str, box)) for box in row["boxes"])
        )
        lines.append(f'{row["path"]},{row["label"]},"{places}",{row["mask"]}')
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return folder / "list.csv"


@pytest.mark.parametrize(("kind", "boxes"), [("csv", "json"), ("csv", "text"), ("parquet", "list")])
def test_a_list_tells_labels_boxes_and_masks(tmp_path: Path, kind: str, boxes: str) -> None:
    plan = plan_pictures(listed(tmp_path, kind, boxes))
    planned = list(plan)
    assert plan.kind == kind and [p.key for p in planned] == ["x/b.png", "a.png"]
    assert [p.label for p in planned] == [7, 0] and [p.mask for p in planned] == ["m/b.png", "m/a.png"]
    assert [p.boxes for p in planned] == [((1, 2, 3, 4), (0, 0, 10, 12)), ((0, 0, 5, 6),)]
    assert from_table(to_columns(planned)) == planned
    source = PlannedSource(tmp_path, planned)
    assert repr(source) == "PictureSource(2 pictures, with labels, masks, boxes)"
    by_hand = picture_source(
        [tmp_path / row["path"] for row in ROWS],
        labels=[7, 0], masks=[tmp_path / row["mask"] for row in ROWS], boxes=[row["boxes"] for row in ROWS],
    )  # fmt: skip
    (ours,), (theirs,) = source.batches(Model(), 2), by_hand.batches(Model(), 2)
    assert torch.equal(ours.images, theirs.images) and torch.equal(ours.masks, theirs.masks)
    assert ours.labels.tolist() == [7, 0] and ours.boxes == theirs.boxes


def test_an_evaluation_set_of_a_part_opens_nothing(tmp_path: Path) -> None:
    planned = list(plan_pictures(listed(tmp_path, "csv")))
    contents = list(PlannedSource(tmp_path, planned).ids)
    source = PlannedSource(tmp_path / "not there", planned, contents=contents, threads=2)
    data = vs.evaluation.evaluation_set(source.part(1, 2))
    assert len(data) == 1 and data.keys == ["a.png"] and data.labels == [0] and data.boxes == [[(0, 0, 5, 6)]]
    assert data.ids == contents[1:] and data.skip and data.threads == 2 and data.part(0, 1).threads == 2
    there = PlannedSource(tmp_path, planned, contents=contents)
    (batch,) = vs.evaluation.evaluation_set(there).batches(Model(), 2)  # type: ignore[arg-type]
    assert batch.ids == contents and batch.masks is not None
    assert vs.evaluation.evaluation_set(there).truth() == vs.evaluation.evaluation_set(
        picture_source(
            [tmp_path / row["path"] for row in ROWS], keys=["x/b.png", "a.png"],
            labels=[7, 0], masks=[tmp_path / row["mask"] for row in ROWS], boxes=[row["boxes"] for row in ROWS],
        )
    ).truth()  # fmt: skip


def test_what_is_handed_on_can_be_said(tmp_path: Path) -> None:
    put(tmp_path, FILES | {"list.csv": b"file,class_index,boxes\na.png,1,\nx/b.png,,0 0 1 1\n"})
    planned = list(plan_pictures(tmp_path / "list.csv"))
    assert [(p.label, p.boxes) for p in planned] == [(1, None), (None, ((0, 0, 1, 1),))]
    source = PlannedSource(tmp_path, planned)
    assert source.labels is None and source.boxes is None and source.masks is None
    assert PlannedSource(tmp_path, planned, known=["boxes"]).boxes == [[], [(0, 0, 1, 1)]]
    assert PlannedSource(tmp_path, planned[:1], known=[]).labels is None
    with pytest.raises(DataError, match=r"'x/b\.png' has no label"):
        PlannedSource(tmp_path, planned, known=["labels"])


def test_the_list_may_lie_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "data", FILES)
    put(tmp_path / "lists", {"l.csv": f"image,key\n{tmp_path}/data/a.png,one\nx/b.png,two\n".encode()})
    plan = plan_pictures(tmp_path / "lists" / "l.csv", root=tmp_path / "data")
    assert plan.root == str(tmp_path / "data")
    assert [(p.key, p.source) for p in plan] == [("one", "a.png"), ("two", "x/b.png")]
    assert read_all(plan.root, list(plan)) == {"one": FILES["a.png"], "two": FILES["x/b.png"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"name\na.png\n", "expected a header with a column file"),
        (b"file\n../a.png\n", r"line 2: '\.\./a\.png' lies outside"),
        (b"file\n/etc/passwd\n", "lies outside"),
        (b"file,mask\na.png,../../m.png\n", "lies outside"),
        (b"file,label\na.png,cat\n", "line 2: class_index: expected a whole number from 0 on, got 'cat'"),
        (b"file,label\na.png,-1\n", "expected a whole number"),
        (b"file,boxes\na.png,1 2 3\n", "line 2: expected a box as x0"),
        (b"file,boxes\na.png,[[1\n", "boxes cannot be read"),
        (b"file,boxes\na.png,3 3 1 1\n", "x0 < x1"),
        (b"file\n\xff\xfe\n", "is not a CSV text file in UTF-8"),
        (b"file,label\n,1\n", "complete the row"),
        (
            b"file\na.png\nb.png\na.png\n",
            "1 keys are there more than once, the first for the pictures 0 and 2",
        ),
        (b"", "is empty"),
        (b"file\n", "holds no picture"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, text: bytes, says: str) -> None:
    put(tmp_path, {"l.csv": text})
    with pytest.raises((DataError, PictureError), match=says):
        list(plan_pictures(tmp_path / "l.csv"))


def held(folder: Path, form: str, group: int = 2) -> Path:
    """A table of five pictures, the fourth of which has no bytes."""
    content = [encoded(1), encoded(2), encoded(3), None, encoded(5)]
    images: list[Any] = (
        [{"bytes": c, "path": f"{n}.png"} for n, c in enumerate(content)] if form == "record" else content
    )
    kind = (
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if form == "record" else pa.large_binary()
    )
    table = pa.table({"label": pa.array([4, 3, 2, 1, 0]), "image": pa.array(images, kind)})
    pq.write_table(table, folder / "t.parquet", row_group_size=group)
    return folder / "t.parquet"


@pytest.mark.parametrize("form", ["record", "bytes"])
@pytest.mark.parametrize("group", [1, 2, 5])
def test_a_table_that_holds_pictures(tmp_path: Path, form: str, group: int) -> None:
    plan = plan_pictures(held(tmp_path, form, group))
    planned = list(plan)
    assert [p.key for p in planned] == [f"t.parquet::{row}" for row in range(5)]
    assert [(p.source, p.offset, p.size, p.column, p.label) for p in planned[:2]] == [
        ("t.parquet", 0, -1, "image", 4), ("t.parquet", 1, -1, "image", 3),
    ]  # fmt: skip
    source = PlannedSource(tmp_path, planned)
    loose = put(tmp_path / "loose", {f"{n}.png": encoded(n) for n in (1, 2, 3, 5)})
    found = list(source.read())
    assert [p.id for p in found] == list(picture_source(loose).ids) and [p.position for p in found] == [
        0,
        1,
        2,
        4,
    ]
    assert [p.file_size for p in found] == [len(encoded(n)) for n in (1, 2, 3, 5)]
    assert (
        source.skipped["t.parquet::3"]
        == f"{tmp_path}/t.parquet, row 3 holds no bytes in image; store the picture itself in the table"
    )
    # backwards, too: any row can be asked for
    assert [source.open(n).id for n in (4, 2, 0, 1)] == [found[n].id for n in (3, 2, 0, 1)]


def test_other_tables(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1], "y": ["a"]}), tmp_path / "no.parquet")
    with pytest.raises(
        DataError, match="expected a column file with names, or image with pictures, found x, y"
    ):
        list(plan_pictures(tmp_path / "no.parquet"))
    put(tmp_path, {"bad.parquet": b"PAR1" + bytes(100)})
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(plan_pictures(tmp_path / "bad.parquet"))
    table = pa.table({"thumbnail": [b"x"], "file": ["a.png"], "label": [1.0]})
    pq.write_table(table, tmp_path / "named.parquet")
    assert [(p.key, p.column, p.label) for p in plan_pictures(tmp_path / "named.parquet")] == [
        ("a.png", None, 1)
    ]
    pq.write_table(
        pa.table({"jpg": [b"x", b"y"], "key": ["k/1", "k/2"], "cls": [1, 2]}), tmp_path / "keys.parquet"
    )
    assert [p.key for p in plan_pictures(tmp_path / "keys.parquet")] == ["k/1", "k/2"]
    plan = list(plan_pictures(held(tmp_path, "bytes")))
    pq.write_table(pa.table({"image": [encoded(1)]}), tmp_path / "t.parquet")
    source = PlannedSource(tmp_path, plan)
    assert [p.key for p in source.read()] == ["t.parquet::0"]
    assert "is not there any more (1 rows)" in source.skipped["t.parquet::4"]
