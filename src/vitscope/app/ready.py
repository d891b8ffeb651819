"""A study of the bundled model and world, made once and kept in the user's cache: what is shown by default."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import vitscope as vs
from vitscope.errors import LockTaken
from vitscope.heads import AutoencoderOptions
from vitscope.progress import Progress
from vitscope.rendering import save_png
from vitscope.storage import files
from vitscope.storage.cache import cache_folder
from vitscope.storage.recipe import digest_of
from vitscope.studies import EvaluateChoice, PatternsChoice, Sizes, StudyError
from vitscope.version import __version__

STUDY, PICTURES, DONE = "shapes", "pictures", "drawn.txt"


@dataclass(frozen=True)
class Ready:
    """What the study is of. Everything that decides its numbers is here, so that another recipe is another study."""

    model: str = "bundled/shapes"
    world: str = "shapes"
    seed: int = 11
    pictures: int = 40
    methods: tuple[str, ...] = ("dart-removal", "daam", "gmar", "rollout")
    arrays: tuple[str, ...] = ("maps", "flow", "class_rows", "features")
    analyses: dict[str, Any] = field(
        default_factory=lambda: {
            "explain": {},
            "evaluate": EvaluateChoice(
                metrics=("srg",), protocol=vs.Protocol(steps=5, random_draws=1), controls=("random",)
            ),
            "importance": {},
            "strength": {},
            "patterns": PatternsChoice(
                per_head=20,
                k=8,
                coder="pca",
                repeats=0,
                display="pca",
                autoencoder=AutoencoderOptions(epochs=2),
            ),
        }
    )

    @property
    def digest(self) -> str:
        """Of the recipe, with the model's weights and the version of the library."""
        name = self.model.rpartition("/")[2]
        weights = resources.files("vitscope").joinpath("assets", f"{name}.safetensors").read_bytes()
        return digest_of([__version__, hashlib.sha256(weights).hexdigest(), self])[:16]

    def place(self) -> Path:
        """Where its pictures and its study lie."""
        return cache_folder() / "ready" / self.digest


def ready_study(ready: Ready | None = None, progress: Progress | None = None) -> Path:
    """The folder of the ready study; it is made, or finished, where it is not there yet.

    Args:
        ready: What it is of.
        progress: Told how far it is.

    Raises:
        OutputError: The cache folder cannot be written.
        LockTaken: Another process is making it.
    """
    asked = ready or Ready()
    place = asked.place()
    study = _study(asked, place)
    if not study.status().finished:
        try:
            study.run(progress=progress)
        except LockTaken as error:
            raise LockTaken(
                f"{error}; another vitscope serve makes its study, wait for it or name a study"
            ) from None
    return place / STUDY


def _study(asked: Ready, place: Path) -> vs.Study:
    try:
        return vs.Study.open(place / STUDY)
    except StudyError:
        _draw(asked, place / PICTURES)
        return vs.Study.create(
            place / STUDY,
            model=asked.model,
            images=place / PICTURES,
            analyses=asked.analyses,
            methods=asked.methods,
            arrays=asked.arrays,
            sizes=Sizes(shard_size=8, batch_size=4),
        )


def _draw(asked: Ready, folder: Path) -> None:
    """The pictures, in a folder for each class, as many programs lay labels down."""
    if (folder.parent / DONE).is_file():
        return
    sample = vs.worlds.world(asked.world).sample(asked.pictures, asked.seed)
    for number, (picture, name) in enumerate(zip(sample.images(), sample.names(), strict=True)):
        made = {"world": asked.world, "seed": asked.seed}
        save_png(picture, folder / name.replace(" ", "-") / f"{number:03d}.png", made)
    files.write(folder.parent / DONE, "all pictures are drawn\n")
