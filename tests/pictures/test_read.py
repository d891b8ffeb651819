"""Every kind of picture file that people really have, and every kind that they should not."""

from __future__ import annotations

import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitscope.errors import PictureError
from vitscope.pictures import MAX_PIXELS, as_picture, find_pictures, picture_source, read_picture


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 6, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)


def one_line(path: Path, **options: int) -> str:
    """The message of the refusal, after checking its form."""
    with pytest.raises(PictureError) as caught:
        read_picture(path, **options)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and (";" in message or ":" in message)
    return message


def bomb(path: Path, side: int) -> Path:
    """A valid PNG header of side × side pixels with no pixels behind it: a few hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "gif", "ppm", "tga", "jp2"])
def test_usual_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(gradient()).save(path)
    picture = read_picture(path)
    assert (picture.mode, picture.size) == ("RGB", (60, 40))
    assert np.abs(np.asarray(picture).astype(int) - gradient()).mean() < 12


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    Image.fromarray(gradient()).save(path, format="PNG")
    assert np.array_equal(np.asarray(read_picture(path)), gradient())


def test_exif_rotation_is_honoured(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    Image.fromarray(gradient()).save(tmp_path / "turned.png", exif=exif)
    picture = read_picture(tmp_path / "turned.png")
    assert picture.size == (40, 60)
    assert np.array_equal(np.asarray(picture), np.rot90(gradient(), k=-1))


def test_sixteen_bits_are_scaled_by_range(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    for suffix in ("png", "tif"):
        Image.fromarray(deep).save(tmp_path / f"deep.{suffix}")
        got = np.asarray(read_picture(tmp_path / f"deep.{suffix}"))[:, :, 0]
        assert np.abs(got.astype(float) - deep / 257).max() <= 0.5
    Image.fromarray((np.arange(256).reshape(16, 16) / 255).astype(np.float32)).save(tmp_path / "float.tif")
    assert np.array_equal(np.asarray(read_picture(tmp_path / "float.tif"))[:, :, 1].ravel(), np.arange(256))
    Image.fromarray(np.arange(-500, 500, dtype=np.int32).reshape(20, 50)).save(tmp_path / "signed.tif")
    signed = np.asarray(read_picture(tmp_path / "signed.tif"))
    assert signed.min() == 0 and signed.max() == 255


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    clear.putpixel((3, 3), (200, 0, 0, 255))
    clear.save(tmp_path / "clear.png")
    got = read_picture(tmp_path / "clear.png")
    assert got.getpixel((0, 0)) == (255, 255, 255) and got.getpixel((3, 3)) == (200, 0, 0)
    Image.new("LA", (8, 8), (10, 0)).save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png").getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert read_picture(tmp_path / "palette.png").getpixel((0, 0)) == (255, 255, 255)


def test_palette_bilevel_grey_and_cmyk(tmp_path: Path) -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png")
    assert read_picture(tmp_path / "palette.png").getpixel((0, 0)) == (10, 20, 30)
    Image.new("1", (8, 8), 1).save(tmp_path / "bilevel.png")
    assert read_picture(tmp_path / "bilevel.png").getpixel((0, 0)) == (255, 255, 255)
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png").getpixel((0, 0)) == (77, 77, 77)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    red, green, blue = read_picture(tmp_path / "print.jpg").getpixel((0, 0))
    assert red > 200 and green < 60 and blue < 60


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (10, 10), colour) for colour in ("red", "lime", "blue")]
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"moving.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)
        red, green, blue = read_picture(path).getpixel((5, 5))
        assert red > 240 and green < 15 and blue < 15


def test_one_pixel_is_legal(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (9, 8, 7)).save(tmp_path / "dot.png")
    assert read_picture(tmp_path / "dot.png").size == (1, 1)


def test_missing_empty_folder_and_text(tmp_path: Path) -> None:
    assert "no file" in one_line(tmp_path / "nowhere.jpg")
    (tmp_path / "empty.jpg").touch()
    assert "0 bytes" in one_line(tmp_path / "empty.jpg")
    assert "is a folder" in one_line(tmp_path)
    (tmp_path / "letter.jpg").write_text("Dear Sir or Madam,\n" * 20)
    assert "content is text" in one_line(tmp_path / "letter.jpg")
    (tmp_path / "noise.jpg").write_bytes(bytes(range(256)) * 9)
    assert "no known format" in one_line(tmp_path / "noise.jpg")
    with pytest.raises(PictureError, match="a name of more than 255 bytes"):
        read_picture("a" * 5000 + ".jpg")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('<?xml version="1.0"?>\n<svg xmlns="a"/>', "SVG"),
        ("%PDF-1.7 ...", "PDF"),
        ("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9", "PostScript"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        ("<!DOCTYPE html><html></html>", "web page"),
    ],
)
def test_what_it_is_instead(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "picture.png"
    path.write_text(content)
    assert says in one_line(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged or cut short" in one_line(path)
    path.write_bytes(whole[:20])
    one_line(path)


def test_bombs_are_refused_before_decoding(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png", 20_000)
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = one_line(path)
    assert "20,000×20,000" in message and f"{MAX_PIXELS:,}" in message and "--max-pixels" in message
    Image.fromarray(gradient()).save(tmp_path / "small.png")
    assert "max_pixels" in one_line(tmp_path / "small.png", max_pixels=100)
    # A raised limit lets it through to the decoder, whatever Pillow's own process-wide limit is.
    assert "damaged" in one_line(bomb(tmp_path / "large.png", 14_200), max_pixels=10**9)
    assert before == Image.MAX_IMAGE_PIXELS


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    Image.fromarray(gradient()).save(path)
    monkeypatch.setattr("vitscope.pictures.read.os.access", lambda *_: False)
    assert "may not be read" in one_line(path)


def test_damaged_exif_is_no_reason_to_refuse(tmp_path: Path) -> None:
    Image.fromarray(gradient()).save(tmp_path / "odd.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_picture(tmp_path / "odd.jpg").size == (60, 40)


def test_threads_read_at_the_same_time(tmp_path: Path) -> None:
    for index in range(8):
        Image.new("RGB", (20 + index, 10), (index, 0, 0)).save(tmp_path / f"{index}.png")
    bomb(tmp_path / "bomb.png", 20_000)
    sizes: dict[int, tuple[int, int]] = {}
    refused: list[str] = []

    def work(index: int) -> None:
        for _ in range(10):
            sizes[index] = read_picture(tmp_path / f"{index}.png").size
            try:
                read_picture(tmp_path / "bomb.png")
            except PictureError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == {index: (20 + index, 10) for index in range(8)} and len(refused) == 80


def close(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this user not search a folder (permissions say nothing where tests run as root)."""
    search = os.scandir

    def refuse(place: Path) -> Iterator[os.DirEntry[str]]:
        if Path(place) == folder:
            raise PermissionError(13, "Permission denied", str(place))
        return search(place)

    monkeypatch.setattr(os, "scandir", refuse)


def test_a_folder_that_may_not_be_searched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    for name in ("a.png", "closed/b.png"):
        Image.fromarray(gradient()).save(tmp_path / name)
    close(tmp_path / "closed", monkeypatch)
    with pytest.raises(PictureError, match=r"closed may not be read by this user; change its permissions"):
        find_pictures(tmp_path)
    source = picture_source(tmp_path, skip=True)
    assert list(source.keys) == ["a.png"] and "may not be read" in " ".join(source.skipped.values())
    with pytest.raises(PictureError, match="may not be read"):
        picture_source(tmp_path)
    with pytest.raises(PictureError, match="may not be read"):
        picture_source(tmp_path / "closed", skip=True)


def test_find_pictures(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("z.jpg", "a.PNG", "b/c.webp", "notes.txt", "._z.jpg", ".hidden/x.jpg"):
        (tmp_path / name).touch()
    everything = [tmp_path / "a.PNG", tmp_path / "z.jpg", tmp_path / "b" / "c.webp"]
    assert find_pictures(tmp_path) == everything
    assert find_pictures([tmp_path / "z.jpg", str(tmp_path)]) == [everything[1], everything[0], everything[2]]
    assert find_pictures(str(tmp_path / "*.jpg")) == [tmp_path / "z.jpg"]
    assert find_pictures(str(tmp_path / "**" / "*.webp")) == [everything[2]]
    # One bad path of many is reported when it is read, not here.
    assert find_pictures(tmp_path / "missing.jpg") == [tmp_path / "missing.jpg"]


def test_find_pictures_refuses_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="holds no file"):
        find_pictures(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PictureError, match="1 files but no picture"):
        find_pictures(tmp_path)
    with pytest.raises(PictureError, match="matches nothing"):
        find_pictures(str(tmp_path / "*.jpg"))
    with pytest.raises(PictureError, match="matches only 1"):
        find_pictures(str(tmp_path / "*.txt"))
    with pytest.raises(PictureError, match="no picture was named"):
        find_pictures([])


def test_a_file_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    path = tmp_path / "photo[1].png"
    Image.fromarray(gradient()).save(path)
    assert find_pictures(path) == [path] and read_picture(path).size == (60, 40)


def test_arrays_and_pillow_images() -> None:
    picture = gradient()
    assert np.array_equal(np.asarray(as_picture(picture)), picture)
    assert np.array_equal(np.asarray(as_picture(picture / 255)), picture)
    assert np.array_equal(np.asarray(as_picture(picture.astype(np.uint16) * 257)), picture)
    assert as_picture(picture[:, :, 0]).mode == "RGB"
    assert as_picture(picture[:, :, :1]).getpixel((0, 1)) == (6, 6, 6)
    assert as_picture(np.dstack([picture, np.zeros((40, 60), np.uint8)])).getpixel((5, 5)) == (255, 255, 255)
    assert as_picture(picture[:, :, 0] > 20).getpixel((0, 39)) == (255, 255, 255)
    assert as_picture(Image.new("L", (4, 4), 3)).getpixel((0, 0)) == (3, 3, 3)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.zeros((3, 8, 9), np.uint8), "channels come last"),
        (np.zeros((8, 9, 5), np.uint8), r"shape \(8, 9, 5\)"),
        (np.zeros((0, 9, 3), np.uint8), "shape"),
        (np.full((8, 9, 3), 254.0), "divide by 255"),
        (np.full((8, 9, 3), np.nan), "0..1"),
        (np.zeros((8, 9, 3), np.int64), "int64"),
        (object(), "object"),
    ],
)
def test_arrays_that_are_no_pictures(value: object, says: str) -> None:
    with pytest.raises(PictureError, match=says):
        as_picture(value)
