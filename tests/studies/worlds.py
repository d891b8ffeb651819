"""Small folders of pictures and studies of them, for the tests of studies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vitscope as vs
from vitscope.studies import PatternsChoice, Sizes, Study

QUICK = vs.Protocol(steps=2, random_draws=1)
CODER = vs.heads.AutoencoderOptions(epochs=1, width=1, latent=4)
EVERYTHING: Mapping[str, Any] = {
    "explain": {},
    "evaluate": {"protocol": QUICK, "controls": ("random", "uniform")},
    "importance": {"replacement": "mean", "representation": "none"},
    "strength": {},
    "patterns": PatternsChoice(per_head=3, k=3, repeats=0, display="pca", autoencoder=CODER),
}


def folder_of_pictures(place: Path, count: int, *, bad: int = 0) -> Path:
    """A folder with pictures of a planted world, and so many files that are no pictures."""
    place.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(vs.worlds.world("shapes").sample(count, seed=1).images()):
        image.save(place / f"{number:03d}.png")
    for number in range(bad):
        (place / f"{number:03d}-bad.png").write_bytes(b"no picture")
    return place


def made(place: str | Path, pictures: Path, **changed: Any) -> Study:
    """A study of a folder: two methods explained, four pictures a shard."""
    asked: dict[str, Any] = {
        "model": "bundled/shapes",
        "images": pictures,
        "methods": ["gmar", "daam"],
        "sizes": Sizes(shard_size=4, batch_size=2, threads=1),
        **changed,
    }
    return Study.create(place, **asked)


def files_of(place: Path) -> dict[str, bytes]:
    """Every result of a study by its path: all files but those that say what a clock said, and the manifest."""
    left_out = ("events", "attempts", "lease", "manifest.json", ".lock", ".lock.json")
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.relative_to(place).parts[0] not in left_out
    }
