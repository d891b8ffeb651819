"""Makes the pictures that people really have: broken, odd and huge ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def photograph(size: tuple[int, int] = (120, 96), seed: int = 0) -> Image.Image:
    """A coloured picture with structure, width x height."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 40, (height, width, 3))
    ground = np.stack([rows * 180 / height, columns * 180 / width, (rows + columns) % 60], axis=-1)
    return Image.fromarray((ground + noise).clip(0, 255).astype(np.uint8))


def write_readable(folder: Path) -> dict[str, Path]:
    """Odd pictures that are pictures all the same: they must be explained, not refused."""
    good = photograph()
    paths = {
        name: folder / name
        for name in ("plain.jpg", "grey16.png", "cmyk.jpg", "palette.png", "moving.gif", "dot.png")
    }
    good.save(paths["plain.jpg"])
    grey = np.asarray(good.convert("L"), dtype=np.uint16) * 257
    Image.fromarray(grey).save(paths["grey16.png"])
    good.convert("CMYK").save(paths["cmyk.jpg"])
    palette = good.convert("P")
    palette.save(paths["palette.png"], transparency=0)
    good.save(
        paths["moving.gif"],
        save_all=True,
        append_images=[photograph(seed=1), photograph(seed=2)],
        duration=50,
    )
    Image.new("RGB", (1, 1), (200, 30, 30)).save(paths["dot.png"])
    return paths


def write_broken(folder: Path) -> dict[str, Path]:
    """Files that cannot be used, by what is wrong with them."""
    whole = folder / "whole.jpg"
    photograph().save(whole)
    content = whole.read_bytes()
    whole.unlink()
    paths = {name: folder / f"{name}.jpg" for name in ("truncated", "empty", "text")}
    paths["truncated"].write_bytes(content[: len(content) // 2])
    paths["empty"].write_bytes(b"")
    paths["text"].write_text("This is a letter and no picture.\n" * 20)
    paths["huge"] = folder / "huge.png"
    write_huge_png(paths["huge"], 20_000, 20_000)
    return paths


def write_huge_png(path: Path, width: int, height: int) -> None:
    """A valid grey PNG of any size in a few kilobytes: the decompression bomb that must be refused unread."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    packer = zlib.compressobj(9)
    row = b"\0" * (width + 1)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
