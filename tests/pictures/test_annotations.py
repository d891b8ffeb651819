"""Boxes and masks from CSV, COCO and VOC files, and what is said about hostile ones."""

from __future__ import annotations

import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from vitscope.errors import DataError
from vitscope.pictures.annotations import (
    ObjectRecord,
    PictureRecord,
    read_annotations,
    read_boxes,
    read_coco,
    read_labels,
    read_voc,
)
from vitscope.pictures.annotations.coco import _decompressed


def written(path: Path, content: str | bytes | dict[str, Any]) -> Path:
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_boxes_of_the_real_photographs(assets: Path) -> None:
    records = read_annotations(assets / "images" / "boxed" / "boxes.csv")
    assert len(records) == 6
    first = records[0]
    assert first.path.is_file() and first.label == 352 and first.boxes() == [(52.0, 15.0, 357.0, 332.0)]
    for record in records:
        with Image.open(record.path) as picture:
            assert record.size == (picture.height, picture.width)


def test_several_rows_are_several_objects(tmp_path: Path) -> None:
    text = "image,xmin,ymin,xmax,ymax,width,height\na.png,1,2,3,4,10,10\nb.png,0,0,5,5,,\na.png,-2,5,12,9.5,10,10\n"
    one, two = read_boxes(written(tmp_path / "b.csv", text))
    assert one.boxes() == [(1, 2, 3, 4), (0, 5, 10, 9.5)], "boxes are cut at the border"
    assert one.label is None and one.size == (10, 10) and two.size is None and two.boxes() == [(0, 0, 5, 5)]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a.png,3,2,1,4", "line 2.*x0 < x1"),
        ("a.png,1,2,nan,4", "line 2.*x0 < x1"),
        ("a.png,1,2,inf,4", "line 2"),
        ("a.png,1,2,x,4", "line 2.*four numbers"),
        ("a.png,1,2,3", "line 2.*empty"),
        ("../a.png,1,2,3,4", "outside the folder"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        read_boxes(written(tmp_path / "boxes.csv", f"file,x0,y0,x1,y1\n{row}\n"))
    assert "\n" not in str(error.value)


def test_a_box_outside_its_picture_is_refused(tmp_path: Path) -> None:
    text = "file,x0,y0,x1,y1,width,height\na.png,20,2,30,4,10,10\n"
    with pytest.raises(DataError, match="outside its picture of 10 x 10"):
        read_boxes(written(tmp_path / "boxes.csv", text))


def coco(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "images": [
            {"id": 5, "file_name": "b.jpg", "height": 4, "width": 6},
            {"id": 2, "file_name": "a.jpg", "height": 8, "width": 8},
            {"id": 9, "file_name": "empty.jpg", "height": 8, "width": 8},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 2, "category_id": 18, "bbox": [1, 2, 3, 4],
             "segmentation": [[1, 2, 4, 2, 4, 6, 1, 6]]},
            {"id": 2, "image_id": 5, "category_id": 3, "bbox": [0, 0, 2, 4], "iscrowd": 1,
             "segmentation": {"size": [4, 6], "counts": [0, 8, 16]}},
            {"id": 3, "image_id": 5, "category_id": 18, "bbox": [3, 1, 1, 2],
             "segmentation": {"size": [4, 6], "counts": [13, 2, 9]}},
        ],
    }  # fmt: skip
    return document | changes


def test_coco(tmp_path: Path) -> None:
    first, second = read_annotations(written(tmp_path / "c.json", coco()), tmp_path / "photos")
    assert first.path == tmp_path / "photos" / "b.jpg" and first.size == (4, 6)
    assert [known.class_index for known in first.objects] == [0, 1] and first.name == "car"
    assert first.boxes() == [(3, 1, 4, 3)] and first.boxes(hard=True) == [(0, 0, 2, 4), (3, 1, 4, 3)]
    mask = first.mask()
    assert mask is not None and np.argwhere(mask).tolist() == [[1, 3], [2, 3]], "runs go down the columns"
    crowd = first.mask(hard=True)
    assert crowd is not None and crowd[:, :2].all() and crowd.sum() == 10
    square = second.mask()
    assert square is not None and square[2:6, 1:4].all() and square.sum() == 12


def _compress(runs: list[int]) -> str:
    """The literal encoder of COCO's compressed masks."""
    text = ""
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            last = (value == 0 and not bits & 16) or (value == -1 and bool(bits & 16))
            text += chr(48 + bits + (0 if last else 32))
            if last:
                break
    return text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_compressed_runs_come_back(runs: list[int]) -> None:
    assert _decompressed(_compress(runs), "here") == runs


def test_compressed_masks_of_a_file(tmp_path: Path) -> None:
    document = coco()
    document["annotations"][2]["segmentation"]["counts"] = _compress([13, 2, 9])
    mask = read_coco(written(tmp_path / "c.json", document))[0].mask()
    assert mask is not None and mask.sum() == 2


def entry(**changes: Any) -> dict[str, Any]:
    return {"id": 7, "image_id": 2, "category_id": 3, "bbox": [1, 1, 2, 2]} | changes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not a JSON"),
        ("{", "not a JSON"),
        ("[" * 100_000, "not a JSON"),
        ("[]", "not a COCO"),
        (b"\xff\xd8\xff\xe0", "not a JSON"),
        ({"images": []}, "not a COCO"),
        (coco(images=[{"id": 2}]), "annotation|not a COCO"),
        (coco(images=7), "not a COCO"),
        (coco(annotations=[entry(image_id=77)]), "annotation 7.*no image 77"),
        (coco(annotations=[entry(bbox=[1, 1, 0, 2])]), "annotation 7.*x0 < x1"),
        (coco(annotations=[entry(bbox=[1, 1, 2])]), "not a COCO"),
        (coco(annotations=[entry(bbox=[90, 1, 2, 2])]), "annotation 7.*outside"),
        (coco(annotations=[entry(segmentation=[[1, 2, 3]])]), "annotation 7.*three x, y"),
        (coco(annotations=[entry(segmentation={"counts": [5]})]), "annotation 7.*do not fill"),
        (coco(annotations=[entry(segmentation={"counts": [-4, 68]})]), "annotation 7.*do not fill"),
        (coco(annotations=[entry(segmentation={"counts": "\x01\x02"})]), "annotation 7.*damaged"),
        (coco(annotations=[entry(segmentation={"counts": "oooo"})]), "annotation 7.*middle of a number"),
        (coco(images=[{"id": 2, "file_name": "../../x.jpg"}], annotations=[entry()]), "outside the folder"),
    ],
)
def test_bad_coco_files_are_refused_in_one_line(tmp_path: Path, content: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        read_coco(written(tmp_path / "c.json", content))
    assert "\n" not in str(error.value)


VOC = """<annotation><folder>VOC</folder><filename>{name}.jpg</filename>
<size><width>50</width><height>40</height><depth>3</depth></size>
<object><name>{kind}</name><difficult>{hard}</difficult>
<bndbox><xmin>1</xmin><ymin>3</ymin><xmax>{right}</xmax><ymax>40</ymax></bndbox></object></annotation>"""


def test_voc(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "JPEGImages").mkdir()
    written(tmp_path / "Annotations" / "b.xml", VOC.format(name="b", kind="cat", hard=0, right=50))
    written(tmp_path / "Annotations" / "a.xml", VOC.format(name="a", kind="dog", hard=1, right=20))
    first, second = read_annotations(tmp_path / "Annotations")
    assert first.path == tmp_path / "JPEGImages" / "a.jpg" and first.size == (40, 50)
    assert first.boxes() == [] and first.boxes(hard=True) == [(0, 2, 20, 40)]
    assert second.boxes() == [(0, 2, 50, 40)], "VOC counts from 1 and includes the last pixel"
    assert (first.name, first.label, second.name, second.label) == ("dog", 1, "cat", 0)
    assert second.mask() is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not XML"),
        ("<annotation>", "not XML"),
        (b"\x00\x01\x02", "not XML"),
        ("<html><filename>x</filename></html>", "not a VOC"),
        ("<annotation></annotation>", "not a VOC"),
        (VOC.format(name="a", kind="c", hard=0, right="x"), "number in <bndbox/xmax>"),
        (VOC.format(name="a", kind="c", hard=0, right=0), "object 1.*x0 < x1"),
        (VOC.format(name="../../a", kind="c", hard=0, right=9), "outside the folder"),
        (
            '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>',
            "document type",
        ),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotation/>', "document type"),
    ],
)
def test_bad_voc_files_are_refused_in_one_line(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        read_voc(written(tmp_path / "a.xml", content))
    assert "\n" not in str(error.value)


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    for name in ("none.csv", "none.json", "none.xml", "none.bin"):
        with pytest.raises(DataError, match=r"no file|cannot be read"):
            read_annotations(tmp_path / name)
    with pytest.raises(DataError, match="Expected boxes as"):
        read_annotations(written(tmp_path / "boxes.txt", "x"))
    with pytest.raises(DataError, match=r"no \.xml files"):
        read_annotations(tmp_path)


def _literal_fill(
    polygon: list[tuple[float, float]], height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels have their centre inside, and which have it off every edge and corner, where there is no doubt."""
    inside, clear = np.zeros((height, width), dtype=bool), np.ones((height, width), dtype=bool)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
                if (ay > y) != (by > y):
                    edge = ax + (y - ay) * (bx - ax) / (by - ay)
                    inside[row, column] ^= x > edge
                clear[row, column] &= _distance((x, y), (ax, ay), (bx, by)) > 1e-9
    return inside, clear


def _distance(point: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    """From a point to the nearest one of the edge from ``a`` to ``b``."""
    along, to = (b[0] - a[0], b[1] - a[1]), (point[0] - a[0], point[1] - a[1])
    length = along[0] ** 2 + along[1] ** 2
    share = 0.0 if length == 0 else min(1.0, max(0.0, (along[0] * to[0] + along[1] * to[1]) / length))
    return math.hypot(to[0] - share * along[0], to[1] - share * along[1])


@settings(max_examples=40, deadline=None)
@example([(0.0, 0.0), (0.0, 1.0), (2.0, 2.0)])
@example([(0.0, 0.5), (3.0, 0.5), (3.0, 2.5), (0.0, 2.5)])
@given(st.lists(st.tuples(st.floats(-3, 15), st.floats(-3, 15)), min_size=3, max_size=7))
def test_polygons_are_filled_by_pixel_centres(corners: list[tuple[float, float]]) -> None:
    flat = tuple(value for corner in corners for value in corner)
    mask = PictureRecord(Path("a"), objects=(ObjectRecord((0, 0, 1, 1), polygons=(flat,)),)).mask((11, 12))
    inside, clear = _literal_fill(corners, 11, 12)
    assert mask is not None and np.array_equal(mask & clear, inside & clear)


def test_a_mask_needs_its_size() -> None:
    known = PictureRecord(
        Path("a.jpg"), objects=(ObjectRecord((0, 0, 2, 2), polygons=((0, 0, 2, 0, 2, 2, 0, 2),)),)
    )
    with pytest.raises(DataError, match=r"size=\(H, W\)"):
        known.mask()
    mask = known.mask((5, 5))
    assert mask is not None and mask.shape == (5, 5) and mask[:2, :2].all()


@pytest.mark.parametrize(
    "content",
    [
        '{"images": [{"id": 1, "file_name": "a.jpg", "width": 1e400, "height": 4}], "annotations": [OBJECT]}',
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": [0, 0, 1e400, 4]}]}',
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": [0, 0, 4, 4], '
        '"segmentation": [[0, 0, 1e400, 0, 4, 4]]}]}',
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": [0, 0, 4, 4], '
        '"segmentation": {"counts": [1e400, 2]}}]}',
        "[" * 100_000 + "]" * 100_000,
        '{"images": ' + "[" * 100_000 + "]" * 100_000 + ', "annotations": []}',
        '{"images": [{"id": ' + "9" * 5000 + '}], "annotations": []}',
    ],
)
def test_numbers_that_are_none_and_nests_without_end(tmp_path: Path, content: str) -> None:
    file = written(
        tmp_path / "c.json",
        content.replace("OBJECT", '{"image_id": 1, "bbox": [0, 0, 4, 4], "category_id": 1}'),
    )
    with warnings.catch_warnings(), pytest.raises(DataError) as error:
        warnings.simplefilter("error")
        read_coco(file)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_corners_far_outside_are_cut_without_a_warning() -> None:
    far = (-1e308, -1e308, 1e308, -1e308, 1e308, 1e308, -1e308, 1e308)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask = PictureRecord(Path("a"), objects=(ObjectRecord((0, 0, 1, 1), polygons=(far,)),)).mask((4, 5))
    assert mask is not None and mask.shape == (4, 5)


def test_files_that_are_none_are_never_waited_for(tmp_path: Path) -> None:
    for name in ("a.csv", "a.json", "a.xml"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match="a device or a pipe"):
            read_annotations(tmp_path / name)
    for text in ("1e400", "9" * 5000):
        with pytest.raises(DataError, match="whole number"):
            read_labels(written(tmp_path / "l.csv", f"file,class_index\na.png,{text}\n"))
