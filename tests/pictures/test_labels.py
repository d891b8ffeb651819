"""Labelled folders: labels.csv and class folders, and what is said about hostile ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from vitscope.errors import DataError
from vitscope.pictures.annotations import PictureRecord, read_folder, read_labels


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(path)
    return path


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def one_line(error: pytest.ExceptionInfo[DataError]) -> str:
    message = str(error.value)
    assert "\n" not in message and len(message) > 30
    return message


def test_label_file_of_the_real_photographs(assets: Path) -> None:
    records = read_folder(assets / "images" / "sample")
    assert len(records) == 100 and all(record.path.is_file() for record in records)
    assert [record.label for record in records] == list(range(0, 1000, 10))
    assert records[1] == PictureRecord(assets / "images/sample/n01530575_brambling.jpg", 10, "brambling")


def test_class_folders_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    for name in (
        "cat/b.png",
        "cat/deep/a.JPG",
        "ant/z.png",
        "ant/.hidden.png",
        "ant/notes.txt",
        ".cache/x.png",
    ):
        if name.endswith("txt"):
            written(tmp_path / name, "no picture")
        else:
            picture(tmp_path / name)
    found = [(r.path.relative_to(tmp_path).as_posix(), r.label, r.name) for r in read_folder(tmp_path)]
    assert found == [("ant/z.png", 0, "ant"), ("cat/b.png", 1, "cat"), ("cat/deep/a.JPG", 1, "cat")]


def test_a_label_file_wins_over_class_folders_and_knows_other_headers(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png")
    written(tmp_path / "labels.csv", "\ufeffFilename, Class\r\ncat/a.png, 7\r\n\r\n")
    assert read_folder(tmp_path) == [PictureRecord(tmp_path / "cat/a.png", 7)]
    elsewhere = written(tmp_path / "truth.csv", "path,label,class_index\ncat/a.png,cat,3\n")
    assert read_folder(tmp_path, elsewhere) == [PictureRecord(tmp_path / "cat/a.png", 3)]


def test_absolute_names_inside_the_folder_are_understood(tmp_path: Path) -> None:
    file = written(tmp_path / "labels.csv", f"file,class_index\n{tmp_path / 'a.png'},1\n")
    assert read_labels(file) == [PictureRecord(tmp_path / "a.png", 1)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "class_index is missing"),
        ("file,class_index\n", "no rows"),
        ("file;class_index\na.png;1\n", "separate by commas"),
        ("file,class_index\na.png\n", "line 2.*empty"),
        ("file,class_index\na.png,\n", "line 2.*empty"),
        ("file,class_index\na.png,cat\n", "whole number.*'cat'"),
        ("file,class_index\na.png,-1\n", "whole number"),
        ("file,class_index\na.png,1.5\n", "whole number"),
        ("file,class_index\na.png,1\na.png,2\n", "line 3.*second time"),
        ("file,class_index\n../../secret.png,1\n", "outside the folder"),
        ("file,class_index\n/etc/passwd,1\n", "outside the folder"),
        ('file,class_index\n"a.png,1\n', "not a CSV"),
        (b"\xff\xfe\x00\x01binary\x00", "not a CSV"),
        (b"file,class_index\n\xe9t\xe9.png,1\n", "UTF-8"),
    ],
)
def test_bad_label_files_are_refused_in_one_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    file = written(tmp_path / "labels.csv", text)
    with pytest.raises(DataError, match=says) as error:
        read_folder(tmp_path)
    assert str(file) in one_line(error)


def test_folders_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        read_folder(tmp_path / "missing")
    with pytest.raises(DataError, match=r"no labels.*labels\.csv.*sub-folder"):
        read_folder(tmp_path)
    picture(tmp_path / "flat.png")
    with pytest.raises(DataError, match="no labels") as error:
        read_folder(tmp_path)
    one_line(error)
    with pytest.raises(DataError, match="no file"):
        read_folder(tmp_path, tmp_path / "none.csv")
