"""Labels, boxes and masks of planned pictures from files beside them and from class folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pictures.planned.making import encoded, put
from vitscope.errors import DataError
from vitscope.pictures import picture_source
from vitscope.pictures.annotations import read_known
from vitscope.pictures.planned import PlannedSource, plan_pictures

FILES = {f"{folder}/{name}.png": encoded(n) for n, (folder, name) in enumerate(["ab", "ac", "ba", "bc"])}
LABELS = b"file,class_index\na/b.png,5\na/c.png,6\nb/a.png,7\nb/c.png,8\n"
BOXES = b"file,x0,y0,x1,y1,class_index\n" + b"".join(
    f"{name},0,0,{n + 1},2,{n}\n".encode() for n, name in enumerate(FILES)
)


@pytest.mark.parametrize(
    ("more", "classes", "options"),
    [
        ({"labels.csv": LABELS}, 10, {}),
        ({"a/labels.csv": LABELS.replace(b"a/", b"p/a/")}, 10, {}),
        ({"a/labels.csv": LABELS.replace(b"a/b", b"a/a/b")}, 10, {}),
        ({"boxes.csv": BOXES}, 10, {}),
        ({"boxes.csv": BOXES, "labels.csv": LABELS}, 10, {}),
        ({}, 2, {}),
        ({}, 3, {}),
        ({}, 2, {"class_names": ["b", "a"]}),
        ({}, 3, {"class_names": ["b", "x", "a"]}),
        ({}, 3, {"wordnet_ids": ["c", "b", "a"]}),
        ({"labels.csv": b"file,class_index\nother.png,1\n"}, 2, {}),
    ],
)
def test_known_as_an_evaluation_knows_it(
    tmp_path: Path, more: dict[str, bytes], classes: int, options: dict[str, list[str]]
) -> None:
    folder = put(tmp_path / "p", FILES | more)
    plan = plan_pictures(folder, classes=classes, **options)
    planned = list(plan)
    wanted = read_known(picture_source(folder), classes=classes, needs=(), **options)  # type: ignore[arg-type]
    source = PlannedSource(plan.root, planned)
    assert source.labels == wanted.labels and source.boxes == wanted.boxes
    assert [p.key for p in planned] == list(FILES) and planned == list(plan)
    assert bool(plan.aside) == (b"other.png" in more.get("labels.csv", b""))
    assert [p.label for p in plan_pictures(folder)] == [None] * 4


def test_files_that_are_named(tmp_path: Path) -> None:
    folder = put(tmp_path / "p", FILES)
    put(tmp_path, {"l.csv": LABELS, "b.csv": BOXES} | {f"m/{name}": encoded(9) for name in FILES})
    planned = list(
        plan_pictures(folder, labels=tmp_path / "l.csv", boxes=tmp_path / "b.csv", masks=tmp_path / "m")
    )
    assert [p.label for p in planned] == [5, 6, 7, 8]
    assert [p.boxes for p in planned] == [((0.0, 0.0, n + 1.0, 2.0),) for n in range(4)]
    assert [p.mask for p in planned] == [f"{tmp_path}/m/{name}" for name in FILES]
    inside = list(plan_pictures(tmp_path / "p", root=tmp_path, masks=tmp_path / "m"))
    assert [p.mask for p in inside] == [f"m/{name}" for name in FILES]
    tmp_path.rename(tmp_path.with_name("moved"))
    moved = tmp_path.with_name("moved")
    assert all(picture.mask is not None for picture in PlannedSource(moved, inside, skip=False).read())
    (moved / "l.csv").write_bytes(LABELS.replace(b"b/c.png,8\n", b""))
    with pytest.raises(DataError, match=r"l\.csv says nothing about c\.png|says one thing about c\.png"):
        list(plan_pictures(moved / "p", labels=moved / "l.csv"))
    put(moved, {"x.csv": b"file\np/a/b.png\n"})
    with pytest.raises(DataError, match="tells labels, boxes and masks itself"):
        plan_pictures(moved / "x.csv", labels=moved / "l.csv")


def test_class_folders_of_imagenet(tmp_path: Path) -> None:
    ids = ["n01440764", "n01443537", "n01484850"]
    folder = put(tmp_path, {f"{name}/{name}_{n}.JPEG": encoded(n) for name in ids for n in range(2)})
    assert [p.label for p in plan_pictures(folder, classes=3, wordnet_ids=ids[::-1])] == [2, 2, 1, 1, 0, 0]
    flat = put(tmp_path / "flat", {f"{name}_{n}.JPEG": encoded(n) for name in ids for n in range(2)})
    assert [p.label for p in plan_pictures(flat, classes=3, wordnet_ids=ids)] == [0, 0, 1, 1, 2, 2]
    assert [p.label for p in plan_pictures(flat, classes=4, wordnet_ids=ids)] == [None] * 6
    numbered = put(tmp_path / "numbered", {"07/a.png": encoded(1), "3/b.png": encoded(2)})
    assert [p.label for p in plan_pictures(numbered, classes=10)] == [7, 3]
