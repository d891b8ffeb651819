"""A source of pictures: one key and one id each, whatever lies beside it; a bad one costs itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xxhash
from PIL import Image
from torch import Tensor

from vitscope.errors import DataError, PictureError
from vitscope.models import Preprocessor, to_batch
from vitscope.pictures import PictureSource, picture_source

RECIPE = Preprocessor(size=(8, 8), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), resize="squash")


class Model:
    """As much of an opened model as a batch needs."""

    preprocessor = RECIPE

    def images(self, images: Any) -> Tensor:
        return to_batch(images, RECIPE)


def pixels(seed: int, height: int = 12, width: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(folder: Path, *names: str) -> list[Path]:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(seed)).save(folder / name)
    return [folder / name for name in names]


def every_form(folder: Path) -> dict[str, Any]:
    """Three pictures in each accepted form."""
    arrays = [pixels(seed) for seed in range(3)]
    paths = write(folder, "0.png", "1.png", "2.png")
    tensors = [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]
    ready = torch.stack([RECIPE(Image.fromarray(array)) for array in arrays])
    return {
        "folder": folder,
        "folder as text": str(folder),
        "glob": str(folder / "*.png"),
        "paths": paths,
        "pillow": [Image.fromarray(array) for array in arrays],
        "arrays": arrays,
        "tuple": tuple(arrays),
        "one array": np.stack(arrays),
        "floats": np.stack(arrays) / 255,
        "sixteen bits": np.stack(arrays).astype(np.uint16) * 257,
        "uint8 tensor": torch.stack(tensors),
        "uint8 tensors": tensors,
        "ready tensor": ready,
        "ready tensors": list(ready),
        "generator": (array for array in arrays),
        "loader": [
            [torch.stack(tensors[:2]), torch.tensor([4, 5])],
            [torch.stack(tensors[2:]), torch.tensor([6])],
        ],
        "data set": list(zip(arrays, [4, 5, 6], strict=True)),
        "records": [{"image": Image.fromarray(array), "label": 4 + n} for n, array in enumerate(arrays)],
        "lazy": Lazy(arrays),
        "source": picture_source(arrays),
        "mixed": [paths[0], [arrays[1]], tensors[2]],
    }


class Lazy:
    """A data set as torch has them: items by number, nothing else."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays, self.opened = arrays, 0

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> np.ndarray:
        self.opened += 1
        return self.arrays[index]


def test_every_form_gives_the_same_three_pictures(tmp_path: Path) -> None:
    wanted = torch.stack([RECIPE(Image.fromarray(pixels(seed))) for seed in range(3)])
    for name, form in every_form(tmp_path).items():
        source = picture_source(form)
        assert len(source) == 3, name
        batches = list(source.batches(Model(), 2))
        assert [batch.positions for batch in batches] == [[0, 1], [2]], name
        assert torch.equal(torch.cat([batch.images for batch in batches]), wanted), name
        if name in ("loader", "data set", "records"):
            assert torch.cat([batch.labels for batch in batches if batch.labels is not None]).tolist() == [
                4,
                5,
                6,
            ]


def test_three_rows_of_colour_are_three_pictures() -> None:
    source = picture_source(np.zeros((3, 6, 5, 3), np.uint8))
    assert len(source) == 3 and source.open(2).image.size == (5, 6)  # type: ignore[union-attr]


def test_a_lazy_data_set_is_opened_when_it_is_needed() -> None:
    lazy = Lazy([pixels(seed) for seed in range(5)])
    source = picture_source(lazy, keys=list("abcde"))
    assert lazy.opened == 0
    assert [picture.key for picture in source.part(2, 4).read()] == ["c", "d"] and lazy.opened == 2


def test_ids_are_the_content(tmp_path: Path) -> None:
    first, second = write(tmp_path, "a.png", "b/a.png")
    source = picture_source(tmp_path)
    assert list(source.keys) == ["a.png", "b/a.png"]
    assert list(source.ids) == [xxhash.xxh3_128_hexdigest(path.read_bytes()) for path in (first, second)]
    assert [picture.id for picture in source.read()] == list(source.ids)
    first.rename(tmp_path / "c.png")
    assert picture_source(tmp_path / "c.png").ids[0] == source.ids[0]


def test_in_memory_the_key_is_the_content_whatever_the_form(tmp_path: Path) -> None:
    array = pixels(3)
    state = xxhash.xxh3_128(b"uint8 12,10,3 ")
    state.update(array.tobytes())
    forms = [array, array[None], Image.fromarray(array), torch.from_numpy(array).permute(2, 0, 1), [array]]
    assert {picture_source(form).keys[0] for form in forms} == {state.hexdigest()}
    assert picture_source(array).ids[0] == state.hexdigest()
    twice = picture_source([array, pixels(4), array])
    assert twice.keys[2] == f"{twice.keys[0]}#again-2" and len(set(twice.keys)) == 3
    ready = torch.randn(2, 3, 8, 8)
    assert picture_source(ready).ids == picture_source([ready[0], ready[1].clone()]).ids
    assert picture_source(ready.double()).ids != picture_source(ready).ids


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_keys_do_not_depend_on_the_others(tmp_path: Path, order: tuple[int, ...], monkeypatch: Any) -> None:
    paths = write(tmp_path, "x/cat.png", "y/cat.png", "y/deep/cat.png")
    monkeypatch.chdir(tmp_path)
    wanted = ["x/cat.png", "y/cat.png", "y/deep/cat.png"]
    assert list(picture_source(tmp_path).keys) == wanted
    assert list(picture_source("**/*.png").keys) == wanted
    chosen = [paths[place] for place in order]
    assert list(picture_source(chosen).keys) == [wanted[place] for place in order]
    for place in order:
        assert picture_source([paths[place]]).keys[0] == wanted[place]
        assert picture_source(paths[place]).keys[0] == wanted[place]
    assert list(picture_source(["x", "y"]).keys) == wanted
    # One folder is the root of its pictures, unless another is declared.
    assert list(picture_source("y").keys) == ["cat.png", "deep/cat.png"]
    assert list(picture_source("y", root=".").keys) == wanted[1:]
    assert list(picture_source("y/*.png").keys) == ["cat.png"]
    monkeypatch.chdir(tmp_path / "x")
    assert picture_source("../y/cat.png").keys[0] == f"{str(tmp_path)[1:]}/y/cat.png"
    assert picture_source("../y/cat.png", root="..").keys[0] == "y/cat.png"
    with pytest.raises(PictureError, match="does not lie below the root"):
        picture_source("../y/cat.png", root=".")


def test_names_that_nobody_expects(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    names = [
        b"caf\xe9.png",
        b"caf\\xe9.png",
        b"\x1b]0;owned\x07.png",
        b"~x.png",
        b"a\nb.png",
        b"n" * 236 + b".png",
    ]
    for name in names:
        Image.fromarray(pixels(0)).save(os.fsencode(tmp_path) + b"/" + name, format="PNG")
    source = picture_source(".")
    assert len(list(source.read())) == len(names) and len(set(source.keys)) == len(names)
    assert {"caf\\xe9.png", "caf\\\\xe9.png", "\\x1b]0;owned\\x07.png", "~x.png", "a\\nb.png"} <= set(
        source.keys
    )
    assert all(key.isprintable() and key.encode() for key in source.keys)
    assert picture_source("~x.png").open(0).key == "~x.png"
    for name in names:
        with pytest.raises(PictureError) as caught:
            picture_source(os.fsdecode(name) + "x").open(0)
        assert str(caught.value).isprintable() and str(caught.value).encode()
    with pytest.raises(PictureError, match=r"no file ~nosuchuser/x\.png"):
        picture_source("~nosuchuser/x.png").open(0)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert picture_source("~/~x.png").open(0).key == "~x.png"


def test_a_bad_picture_costs_itself(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", "d.png", "e.png")
    (tmp_path / "c.png").write_text("a letter")
    source = picture_source(tmp_path, labels=[0, 1, 2, 3, 4], targets=list("vwxyz"), skip=True)
    (tmp_path / "e.png").unlink()
    batches = list(source.batches(Model(), 2))
    assert [batch.keys for batch in batches] == [["a.png", "b.png"], ["d.png"]]
    assert [batch.labels.tolist() for batch in batches if batch.labels is not None] == [[0, 1], [3]]
    assert [batch.targets for batch in batches] == [["v", "w"], ["y"]]
    assert source.skipped.keys() == {"c.png", "e.png"} and "no file" in source.skipped["e.png"]
    # The same pictures one by one, and in parts.
    alone = [batch.keys for batch in picture_source(source, skip=True).batches(Model(), 1)]
    assert alone == [["a.png"], ["b.png"], ["d.png"]]
    part = source.part(2, 4)
    assert [batch.keys for batch in part.batches(Model(), 2)] == [["d.png"]] and set(part.skipped) == {
        "c.png"
    }
    assert list(source.part(2, 3).batches(Model(), 2)) == []
    with pytest.raises(PictureError, match="content is text"):
        list(picture_source(tmp_path).batches(Model(), 2))


def test_none_of_them(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("a letter")
    with pytest.raises(PictureError, match=r"none of the 2 pictures can be read; the first: .*a\.png"):
        list(picture_source(tmp_path, skip=True).batches(Model(), 1))
    with pytest.raises(PictureError, match=r"a.png is not a picture"):
        list(picture_source(tmp_path / "a.png", skip=True).batches(Model(), 1))


def test_a_file_that_changes_in_between_is_refused(tmp_path: Path) -> None:
    (path,) = write(tmp_path, "a.png")
    source = picture_source(path)
    assert source.ids
    Image.fromarray(pixels(9)).save(path)
    with pytest.raises(PictureError, match="was changed while it was in use"):
        source.open(0)


def turned(path: Path, orientation: int = 6) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels(1)).save(path, exif=exif)
    return path


def test_a_turned_picture_and_its_mask(tmp_path: Path) -> None:
    path = turned(tmp_path / "a.png")  # stored 12 rows by 10, shown 10 rows by 12
    mask = np.zeros((10, 12), dtype=bool)
    mask[0, 3] = True
    loaded = Image.open(path)
    for form in (path, loaded):
        picture = picture_source(form, masks=[mask], boxes=[[(3, 0, 5, 2)]]).open(0)
        assert picture.image.size == (12, 10) and np.array_equal(picture.mask, mask)  # type: ignore[arg-type, union-attr]
        (batch,) = picture_source(form, masks=[mask], boxes=[[(3, 0, 6, 5)]]).batches(Model(), 1)
        assert batch.boxes == [[(2.0, 0.0, 4.0, 4.0)]] and batch.masks is not None
        with pytest.raises(
            DataError, match=r"mask of .* is 10x12, its picture 12x10; make them equal \(it is of the stored"
        ):
            picture_source(form, masks=[mask.T]).open(0)
    # A mask file that is turned as its picture is.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(mask).astype(np.uint8) * 255).save(tmp_path / "m.png", exif=exif)
    assert np.array_equal(picture_source(path, masks=[tmp_path / "m.png"]).open(0).mask, mask)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"labels": [0, 1]}, "labels for 3 pictures, got 2"),
        ({"labels": [0, 1, 2, 3]}, "labels for 3 pictures, got 4"),
        ({"labels": np.eye(3, dtype=int)}, "one-hot"),
        ({"labels": torch.eye(3)}, "one-hot"),
        ({"labels": np.eye(3, dtype=int).tolist()}, "one-hot"),
        ({"labels": [0.5, 1, 2]}, "whole numbers"),
        ({"labels": [True, False, True]}, "whole numbers"),
        ({"labels": [0, -1, 2]}, "from 0 on"),
        ({"labels": "012"}, "list of labels"),
        ({"labels": 3}, "list of labels"),
        ({"masks": [np.zeros((12, 10))]}, "masks for 3 pictures, got 1"),
        ({"boxes": [[]] * 4}, "boxes for 3 pictures, got 4"),
        ({"boxes": [[(0, 0, 1)]] * 3}, "box as x0"),
        ({"boxes": [[(0, 0, 0, 1)]] * 3}, "x0 < x1"),
        ({"targets": [1, 2]}, "targets for 3 pictures, got 2"),
        ({"keys": ["a", "b"]}, "keys for 3 pictures, got 2"),
        ({"keys": ["a", "b", "a"]}, "two pictures have the key"),
    ],
)
def test_what_is_known_must_be_of_these_pictures(known: dict[str, Any], says: str) -> None:
    arrays = [pixels(seed) for seed in range(3)]
    with pytest.raises(DataError, match=says):
        picture_source(arrays, **known)
    with pytest.raises(DataError, match=says):
        picture_source(picture_source(arrays), **known)


def test_labels_as_people_have_them() -> None:
    arrays = [pixels(seed) for seed in range(3)]
    for labels in (
        [2, 0, 1],
        (2, 0, 1),
        np.array([2, 0, 1]),
        torch.tensor([2, 0, 1]),
        [np.int64(2), 0, torch.tensor(1)],
    ):
        source = picture_source(arrays, labels=labels)
        (batch,) = source.batches(Model(), 3)
        assert batch.labels is not None and batch.labels.tolist() == [2, 0, 1]
        assert list(source.part(1, 3).labels or ()) == [0, 1]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "no picture at all"),
        (None, "NoneType"),
        (b"bytes", "bytes"),
        ([None], "NoneType"),
        ({"labels": 3}, "records with one of"),
        ([[np.zeros((4, 4, 3), np.uint8), 1], np.zeros((4, 4, 3), np.uint8)], "labels came with 1 of 2"),
        ([(np.zeros((2, 4, 4, 3), np.uint8), [1, 2, 3])], "2 pictures came with 3 labels"),
        (np.zeros((0, 4, 4, 3), np.uint8), "no picture at all"),
    ],
)
def test_what_is_no_picture(value: Any, says: str) -> None:
    with pytest.raises((PictureError, DataError), match=says):
        picture_source(value)


def test_a_source_knows_its_own_kind() -> None:
    source = picture_source(pixels(0), labels=[3])
    assert isinstance(source, PictureSource) and picture_source(source) is source
    again = picture_source(source, boxes=[[(0, 0, 4, 4)]])
    assert again.labels == [3] and again.boxes == [[(0, 0, 4, 4)]]


@contextmanager
def deep(folder: Path, depth: int, name: str) -> Iterator[None]:
    """A tower of folders with a picture at its end, taken down afterwards (rmtree itself cannot go so deep)."""
    home = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(depth):
            os.mkdir(name)
            os.chdir(name)
        with open("deep.png", "wb") as file:  # a name alone is made a whole path by some versions of Pillow
            Image.fromarray(pixels(0)).save(file, "PNG")
        os.chdir(home)
        yield
    finally:
        os.chdir(folder)
        for _ in range(depth):
            os.chdir(name)
        os.remove("deep.png")
        for _ in range(depth):
            os.chdir("..")
            os.rmdir(name)
        os.chdir(home)


def test_folders_of_any_depth(tmp_path: Path) -> None:
    with deep(tmp_path, 1000, "d"):
        source = picture_source(tmp_path)
        assert source.keys[0] == "d/" * 1000 + "deep.png"
        assert source.open(0).image.size == (10, 12)  # type: ignore[union-attr]


def test_paths_longer_than_the_system_allows_are_told(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    with deep(tmp_path, 25, "d" * 200):
        source = picture_source(tmp_path, skip=True)
        assert list(source.keys) == ["a.png"] and "cannot be searched" in " ".join(source.skipped.values())
        with pytest.raises(PictureError, match="cannot be searched"):
            picture_source(tmp_path)
