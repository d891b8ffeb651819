"""Only the pictures room opens pictures, masks and label files; what opens them does so by content, never by name."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from PIL import Image

import vitscope as vs
from vitscope.errors import DataError, PictureError
from vitscope.pictures import picture_source
from vitscope.pictures.annotations.mask_files import mask_files
from vitscope.pictures.formats import FORMATS

SOURCE = Path(vs.__file__).parent
OPENERS = {
    "Image.open", "PIL.Image.open", "csv.reader", "csv.DictReader", "ElementTree.parse", "ElementTree.fromstring",
    "cv2.imread", "plt.imread", "imageio.imread", "read_image", "decode_image", "default_loader",
}  # fmt: skip


def calls(path: Path) -> set[str]:
    return {
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    }


def test_nothing_else_opens_pictures_or_label_files() -> None:
    seen = {
        path.relative_to(SOURCE).as_posix(): found
        for path in sorted(SOURCE.rglob("*.py"))
        if (found := OPENERS & calls(path))
    }
    assert seen and all(name.startswith("pictures/") for name in seen), seen
    # Pillow's own open tries every format; in the room itself decoders are asked one by one.
    assert not any("open" in call for found in seen.values() for call in found), seen


def test_every_reading_ends_in_one_function() -> None:
    """Whoever expands a path or asks Pillow's decoders does so in one place."""
    for needle, home in (("expanduser", "storage/paths.py"), ("OPEN[", "pictures/formats.py")):
        users = [p.relative_to(SOURCE).as_posix() for p in SOURCE.rglob("*.py") if needle in p.read_text()]
        assert users == [home], needle


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Ghostscript that leaves a mark when it is started."""
    folder, mark = tmp_path / "bin", tmp_path / "started"
    folder.mkdir()
    program = folder / "gs"
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo 10.0; exit 0; fi\ntouch {mark}\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return mark


def test_an_eps_with_another_name_starts_nothing(tmp_path: Path, ghostscript: Path) -> None:
    assert "EPS" not in FORMATS
    (tmp_path / "p").mkdir()
    (tmp_path / "m").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "p" / "x.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "x.eps", "EPS")
    for place in (tmp_path / "m" / "x.png", tmp_path / "p" / "y.png"):
        place.write_bytes((tmp_path / "x.eps").read_bytes())
    masks = mask_files(tmp_path / "m", [tmp_path / "p" / "x.png"])
    with pytest.raises(DataError, match="PostScript"):
        masks[0]
    source = picture_source(tmp_path / "p" / "x.png", masks=masks)
    with pytest.raises(DataError, match="PostScript"):
        source.open(0)
    with pytest.raises(PictureError, match="PostScript"):
        picture_source(tmp_path / "p" / "y.png").open(0)
    assert not ghostscript.exists()


def test_masks_have_the_limits_of_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "x.png")
    Image.new("L", (40, 30)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"more than the limit of 1,000"):
        picture_source(Image.new("RGB", (4, 3)), masks=[tmp_path / "m.png"], max_pixels=1000).open(0)
    with pytest.raises(PictureError, match=r"more than the limit of 1,000"):
        picture_source(tmp_path / "x.png", max_pixels=1000).open(0)
    with pytest.raises(PictureError, match=r"more than the limit of 1,000"):
        picture_source(Image.new("RGB", (40, 30)), max_pixels=1000).open(0)


def test_one_mask_never_serves_two_pictures(tmp_path: Path) -> None:
    paths = [tmp_path / "p" / name / "x.png" for name in ("a", "b")]
    for path in paths:
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 6)).save(path)
    (tmp_path / "m" / "b").mkdir(parents=True)
    Image.new("L", (8, 6), 0).save(tmp_path / "m" / "x.png")
    Image.new("L", (8, 6), 9).save(tmp_path / "m" / "b" / "x.png")
    masks = mask_files(tmp_path / "m", paths)
    assert not masks[0].any() and masks[1].all()
    (tmp_path / "m" / "b" / "x.png").unlink()
    with pytest.raises(DataError, match="would serve"):
        mask_files(tmp_path / "m", paths)
