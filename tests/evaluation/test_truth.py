"""Labels and boxes from the files people have: CSV, class folders, COCO and VOC."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from vitscope.errors import DataError
from vitscope.evaluation.truth import read_truth


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "photos" / name for name in ("a.jpg", "b.jpg")]
    paths[0].parent.mkdir()
    for path in paths:
        Image.new("RGB", (20, 10)).save(path)
    return paths


def test_nothing_known(pictures: list[Path]) -> None:
    data = read_truth(pictures)
    assert data.labels is None
    assert data.boxes is None
    assert list(data.keys) == ["photos/a.jpg", "photos/b.jpg"]


def test_csv_beside_the_pictures(pictures: list[Path]) -> None:
    folder = pictures[0].parent
    (folder / "labels.csv").write_text("file,wnid,class_index\nb.jpg,n1,7\na.jpg,n0,3\n")
    (folder / "boxes.csv").write_text(
        "file,x0,y0,x1,y1\na.jpg,1,2,5,6\nphotos/b.jpg,0,0,4,4\na.jpg,7,7,9,9\n"
    )
    data = read_truth(pictures)
    assert data.labels == [3, 7]
    assert data.boxes == [[(1, 2, 5, 6), (7, 7, 9, 9)], [(0, 0, 4, 4)]]


def test_classes_from_a_box_file(pictures: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text("filename,class_index,xmin,ymin,xmax,ymax\na.jpg,1,1,2,5,6\nb.jpg,2,1,2,5,6\n")
    data = read_truth(pictures, boxes=file)
    assert data.labels == [1, 2]
    assert data.boxes == [[(1, 2, 5, 6)], [(1, 2, 5, 6)]]


def test_class_folders(tmp_path: Path) -> None:
    paths = []
    for name in ("0", "12"):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "x.png")
        Image.new("RGB", (4, 4)).save(paths[-1])
    assert read_truth(paths).labels == [0, 12]


def test_coco(pictures: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "coco.json"
    document = {
        "images": [{"id": 4, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 4, "bbox": [1, 2, 3, 4]}, {"image_id": 4, "bbox": [0, 0, 1, 1]}],
    }
    file.write_text(json.dumps(document))
    assert read_truth(pictures, boxes=file).boxes == [[(1, 2, 4, 6), (0, 0, 1, 1)], []]
    file.write_text("{}")
    with pytest.raises(DataError, match="no COCO file"):
        read_truth(pictures, boxes=file)


def test_voc(pictures: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "voc"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><object><bndbox><xmin>1</xmin><ymin>1</ymin>"
            "<xmax>20</xmax><ymax>10</ymax></bndbox></object></annotation>"
        )
    assert read_truth(pictures, boxes=folder).boxes == [[(0, 0, 20, 10)]] * 2, "VOC counts pixels from 1"
    (folder / "a.xml").write_text("<annotation>")
    with pytest.raises(DataError, match="no VOC annotation"):
        read_truth(pictures, boxes=folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class_index\na.jpg,1\n", "nothing about b.jpg"),
        ("name,class_index\na.jpg,1\n", "no column file"),
        ("file,kind\na.jpg,1\n", "no column class_index"),
        ("file,class_index\na.jpg,cat\nb.jpg,1\n", "class of a.jpg is 'cat'"),
        ("", "no row"),
    ],
)
def test_bad_label_files(pictures: list[Path], tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "l.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_truth(pictures, file)
    with pytest.raises(DataError, match="cannot read"):
        read_truth(pictures, tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x0,y0,x1,y1\na.jpg,5,5,1,1\n", "is empty"),
        ("file,x0,y0,x1,y1\na.jpg,5,b,1,1\n", "is no box"),
        ("file,left\na.jpg,5\n", "no columns x0"),
    ],
)
def test_bad_box_files(pictures: list[Path], tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "l.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_truth(pictures, boxes=file)
