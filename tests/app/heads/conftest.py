"""A server of a small study that has every analysis of heads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import vitscope as vs
from tests.app.browsing import Client
from vitscope.app.model.opening import StudiedOpening
from vitscope.app.serving import Background
from vitscope.app.settings import Settings
from vitscope.studies import PatternsChoice, Sizes

PICTURES = 6


def drawn(folder: Path, pictures: int = PICTURES) -> Path:
    """Pictures of the bundled world in folders of their classes."""
    sample = vs.worlds.world("shapes").sample(pictures, seed=5)
    for number, (picture, name) in enumerate(zip(sample.images(), sample.names(), strict=True)):
        place = folder / name.replace(" ", "-") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture.save(place)
    return folder


@pytest.fixture(scope="session")
def headed(tmp_path_factory: pytest.TempPathFactory) -> vs.Study:
    """The study."""
    folder = tmp_path_factory.mktemp("headed")
    patterns = PatternsChoice(
        per_head=6, k=4, coder="pca", repeats=0, display="pca",
        autoencoder=vs.heads.AutoencoderOptions(epochs=1, width=1, latent=4),
    )  # fmt: skip
    study = vs.Study.create(
        folder / "study",
        model="bundled/shapes",
        images=drawn(folder / "pictures"),
        analyses={"importance": {}, "strength": {}, "patterns": patterns},
        arrays=("features",),
        sizes=Sizes(shard_size=4, batch_size=4),
    )
    study.run()
    return study


@pytest.fixture(scope="session")
def headed_client(headed: vs.Study) -> Iterator[Client]:
    """Who asks its server."""
    with Background(Settings(study=str(headed.place), opening=StudiedOpening(str(headed.place)))) as server:
        yield Client(server.address)
