"""``vitscope explain`` with awkward names: all results inside ``--out``, each picture's in its own files."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitscope import Explanation
from vitscope.cli.application import run

NFC, NFD = (unicodedata.normalize(form, "café.png") for form in ("NFC", "NFD"))


def picture(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(shade).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(values).save(path, "PNG")
    return path


def explain(*pictures: Path, out: Path) -> list[Path]:
    """The raw maps that explaining these pictures wrote."""
    arguments = ["explain", *map(str, pictures), "--model", "bundled/shapes", "--method", "gmar", "--no-draw"]
    assert run([*arguments, "--out", str(out)]) == 0
    return sorted(path for path in out.rglob("*.safetensors") if path.is_file())


def test_a_way_through_the_folder_above_stays_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``photos/../secret/x.png`` beside ``photos/x.png``: once the results went to a folder beside --out."""
    first = picture(tmp_path / "photos" / "x.png", 0)
    second = picture(tmp_path / "secret" / "x.png", 1)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before = sorted(tmp_path.rglob("*"))
    files = explain(first, Path("../photos/../secret/x.png"), out=Path("out"))
    assert len(files) == 2
    after = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert all(path.is_relative_to(tmp_path / "work" / "out") for path in after)
    assert second.stat().st_size and len(after) >= 3


def test_names_that_differ_in_capitals_or_accents_share_no_file(tmp_path: Path) -> None:
    names = [
        "Cat.png",
        "cat.png",
        NFC,
        NFD,
        "cat.gmar.png",
        "cat.gmar.safetensors.png",
        "A/dog.png",
        "a/dog.png",
    ]
    paths = [picture(tmp_path / "in" / name, shade) for shade, name in enumerate(names)]
    files = explain(*paths, out=tmp_path / "out")
    assert len(files) == len(names)
    plain = {unicodedata.normalize("NFC", path.relative_to(tmp_path).as_posix()).casefold() for path in files}
    assert len(plain) == len(names), "also where the file system takes such names for one"
    # Each holds its own picture's map.
    alone = [
        Explanation.load(explain(path, out=tmp_path / f"alone-{i}")[0]).scores for i, path in enumerate(paths)
    ]
    together = sorted(float(Explanation.load(path).scores[0]) for path in files)
    np.testing.assert_allclose(together, sorted(float(score[0]) for score in alone), rtol=1e-4)


def test_the_same_way_through_a_link_is_another_picture(tmp_path: Path) -> None:
    """``link/../x.png`` is the picture beside the folder that the link leads to."""
    picture(tmp_path / "in" / "x.png", 0)
    picture(tmp_path / "far" / "x.png", 1)
    (tmp_path / "far" / "deep").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "far" / "deep")
    paths = [tmp_path / "in" / "x.png", tmp_path / "in" / "link" / ".." / "x.png"]
    assert len(explain(*paths, out=tmp_path / "out")) == 2
