"""Small pictures and archives for the tests of plans."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from vitscope.models import Preprocessor, to_batch
from vitscope.pictures.planned import PlannedPicture, PlannedSource

RECIPE = Preprocessor(size=(8, 8), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), resize="squash")


class Model:
    """As much of an opened model as a batch needs."""

    preprocessor = RECIPE

    def images(self, images: Any) -> Tensor:
        return to_batch(images, RECIPE)


def encoded(seed: int, height: int = 12, width: int = 10, kind: str = "PNG") -> bytes:
    """The bytes of a picture file of random pixels."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder, which is given back."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def packed(files: Mapping[str, bytes], **kind: Any) -> bytes:
    """A tar of these members, in order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **kind) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def read_all(root: Any, planned: list[PlannedPicture], **options: Any) -> dict[str, bytes]:
    """The bytes of each picture by its key, as a source opens it."""
    source = PlannedSource(root, planned, **options)
    found = {}
    for picture, item in zip(planned, source.items, strict=True):
        with item.opened() as stream:
            found[picture.key] = stream.read()
    return found
