"""Labels, boxes and masks from the files people have beside their pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitscope.errors import DataError
from vitscope.evaluation.running.truth import read_truth


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
    assert data.masks is None
    assert [key.endswith(name) for key, name in zip(data.keys, ("photos/a.jpg", "photos/b.jpg"), strict=True)]
    assert read_truth(pictures, keys=["a", "b"]).keys == ["a", "b"]


def test_csv_beside_the_pictures(pictures: list[Path]) -> None:
    folder = pictures[0].parent
    (folder / "labels.csv").write_text("file,wnid,class_index\nb.jpg,n1,7\na.jpg,n0,3\n")
    (folder / "boxes.csv").write_text("file,x0,y0,x1,y1\na.jpg,1,2,5,6\nb.jpg,0,0,4,4\na.jpg,7,7,9,9\n")
    data = read_truth(pictures)
    assert data.labels == [3, 7]
    assert data.boxes == [[(1, 2, 5, 6), (7, 7, 9, 9)], [(0, 0, 4, 4)]]


def test_classes_from_a_box_file(pictures: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text("filename,class_index,xmin,ymin,xmax,ymax\na.jpg,1,1,2,5,6\nb.jpg,2,1,2,5,6\n")
    data = read_truth(pictures, boxes=file)
    assert data.labels == [1, 2]


def test_class_folders(tmp_path: Path) -> None:
    paths = []
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "x.png")
        Image.new("RGB", (4, 4)).save(paths[-1])
    assert read_truth(paths).labels is None
    assert read_truth(paths, classes=2).labels == [0, 1]
    assert read_truth(paths, classes=1000).labels is None, "two folders do not name two of a thousand classes"
    for old, new in (("cat", "0"), ("dog", "12")):
        (tmp_path / old).rename(tmp_path / new)
    assert read_truth([tmp_path / "0" / "x.png", tmp_path / "12" / "x.png"]).labels == [0, 12]


def test_folders_named_as_the_classes(tmp_path: Path) -> None:
    """By the model's class names, or ImageNet's WordNet ids where the model has its thousand classes."""
    names = ["cat", "dog", "bird"]
    for wanted, given in ((("dog", "bird"), names), (("n01440764", "n01443537"), None)):
        paths = [tmp_path / name / "x.png" for name in wanted]
        for path in paths:
            path.parent.mkdir()
            Image.new("RGB", (4, 4)).save(path)
        classes = 1000 if given is None else 3
        expected = [0, 1] if given is None else [1, 2]
        assert read_truth(paths, classes=classes, class_names=given).labels == expected
    flat = [tmp_path / "n01443537_7.png", tmp_path / "n01440764_tench.png"]
    assert read_truth(flat, classes=1000).labels == [1, 0]
    assert read_truth([*flat, tmp_path / "n1_x.png"], classes=1000).labels is None
    assert read_truth(flat, classes=10).labels is None
    mixed = [tmp_path / "dog" / "x.png", tmp_path / "n01440764" / "x.png"]
    assert read_truth(mixed, classes=3, class_names=names).labels is None
    assert read_truth(paths, classes=5).labels is None


def test_a_found_file_that_does_not_fit_is_left_aside_unless_it_is_needed(pictures: list[Path]) -> None:
    folder = pictures[0].parent
    (folder / "labels.csv").write_text("file,class_index\na.jpg,3\n")
    (folder / "boxes.csv").write_text("file,x0,y0,x1,y1\nz.jpg,1,2,5,6\n")
    said: list[str] = []
    data = read_truth(pictures, needs=(), tell=said.append)
    assert data.labels is None
    assert data.boxes is None
    assert len(said) == 2
    assert "nothing about b.jpg" in said[0]
    assert "a.jpg and 1 others of 2" in said[1]
    with pytest.raises(DataError, match=r"nothing about b\.jpg"):
        read_truth(pictures, needs=("labels",))
    with pytest.raises(DataError, match=r"nothing about a\.jpg and 1 others"):
        read_truth(pictures, needs=("boxes",))
    with pytest.raises(DataError, match=r"nothing about b\.jpg"):
        read_truth(pictures, folder / "labels.csv", needs=())


def test_boxes_of_pictures_of_another_size(pictures: list[Path], tmp_path: Path) -> None:
    file, head = tmp_path / "b.csv", "file,x0,y0,x1,y1,width,height\n"
    file.write_text(head + "a.jpg,1,2,5,6,20,10\nb.jpg,1,2,5,6,200,100\n")
    with pytest.raises(DataError, match=r"marks b\.jpg as 200x100 pixels, but it has 20x10"):
        read_truth(pictures, boxes=file)
    file.write_text("file,x0,y0,x1,y1\na.jpg,1,2,5,6\nb.jpg,25,2,30,6\n")
    with pytest.raises(DataError, match=r"b\.jpg from \(25, 2\) on, outside"):
        read_truth(pictures, boxes=file)


def test_masks_are_read_when_they_are_asked_for(pictures: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("L", (20, 10), 255).save(folder / f"{name}.png")
    data = read_truth(pictures, masks=folder)
    assert data.masks is not None
    (folder / "b.png").write_bytes(b"no picture")
    assert np.asarray(data.masks[0]).all()
    assert np.asarray(data.part(0, 1).masks[0]).all()  # type: ignore[index]
    with pytest.raises(DataError, match=r"mask of b\.png cannot be read"):
        data.masks[1]


def test_the_size_of_a_turned_photograph(tmp_path: Path) -> None:
    """A mask is of the picture as it is shown, its EXIF rotation applied."""
    picture = Image.new("RGB", (20, 10))
    exif = picture.getexif()
    exif[0x0112] = 6
    path, folder = tmp_path / "a.jpg", tmp_path / "masks"
    picture.save(path, exif=exif)
    folder.mkdir()
    Image.new("L", (10, 20), 1).save(folder / "a.png")
    assert np.asarray(read_truth([path], masks=folder).masks[0]).shape == (20, 10)  # type: ignore[index]
    Image.new("L", (20, 10), 1).save(folder / "a.png")
    with pytest.raises(DataError, match="make them equal"):
        read_truth([path], masks=folder)


def test_equal_names_in_two_folders(tmp_path: Path) -> None:
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "x.png")
        Image.new("RGB", (4, 4)).save(paths[-1])
    (tmp_path / "labels.csv").write_text("file,class_index\ntwo/x.png,2\none/x.png,1\n")
    assert read_truth(paths).labels == [1, 2]


def test_coco_boxes_and_masks(pictures: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "coco.json"
    square = [1, 2, 4, 2, 4, 6, 1, 6]
    document = {
        "images": [{"id": 4, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": [square]},
            {"id": 2, "image_id": 9, "category_id": 1, "bbox": [0, 0, 4, 4]},
        ],
    }
    file.write_text(json.dumps(document))
    data = read_truth(pictures, boxes=file)
    assert data.boxes == [[(1, 2, 4, 6)], [(0, 0, 4, 4)]]
    assert data.masks is not None
    first, second = (np.asarray(mask) for mask in data.masks)
    assert first.shape == (10, 20)
    assert first[3, 2]
    assert not second.any()


def test_mask_folder(pictures: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    values = np.zeros((10, 20), dtype=np.uint8)
    values[2:5, 3:9] = 200
    Image.fromarray(values).save(folder / "a.png")
    with pytest.raises(DataError, match="no mask for"):
        read_truth(pictures, masks=folder)
    palette = Image.fromarray(np.where(values > 0, 7, 255).astype(np.uint8)).convert("P")
    palette.putdata(np.where(values > 0, 7, 255).ravel().tolist())
    palette.save(folder / "b.png")
    data = read_truth(pictures, masks=folder)
    assert data.masks is not None
    for mask in data.masks:
        assert np.array_equal(np.asarray(mask), values > 0), "undecided counts as ground"
    Image.new("L", (5, 5)).save(folder / "b.png")
    with pytest.raises(DataError, match="make them equal"):
        read_truth(pictures, masks=folder)


def test_what_it_refuses(pictures: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "l.csv"
    file.write_text("file,class_index\na.jpg,1\n")
    with pytest.raises(DataError, match=r"nothing about b\.jpg"):
        read_truth(pictures, file)
    with pytest.raises(DataError, match="no file"):
        read_truth(pictures, tmp_path / "none.csv")
