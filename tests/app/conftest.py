"""One server for all tests of the app: a small study of the bundled model, and its model in a process of its own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import vitscope as vs
from tests.app.browsing import Client
from vitscope.app.model.opening import StudiedOpening
from vitscope.app.serving import Background
from vitscope.app.settings import Settings
from vitscope.tracing import Vit

PICTURES = 5
METHODS = ("dart", "daam")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The model's process adds up in the same order as this one: bits are compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def vit() -> Vit:
    """The model that the server has opened, too."""
    return vs.open_model("bundled/shapes")


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory, vit: Vit) -> Path:
    """A finished study of a few pictures in class folders, one of which is no picture."""
    folder = tmp_path_factory.mktemp("app")
    sample = vs.worlds.world("shapes").sample(PICTURES, seed=3)
    for number, (picture, name) in enumerate(zip(sample.images(), sample.names(), strict=True)):
        place = folder / "pictures" / name
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{number}.png")
    (folder / "pictures" / sample.names()[0] / "zz-broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    study = vs.Study.create(
        folder / "study",
        model="bundled/shapes",
        images=folder / "pictures",
        methods=METHODS,
        arrays=("maps", "flow"),
        sizes=vs.studies.Sizes(shard_size=4, batch_size=4),
    )
    study.run()
    return folder / "study"


@pytest.fixture(scope="session")
def server(study_folder: Path) -> Iterator[Background]:
    """The server."""
    place = str(study_folder)
    settings = Settings(
        study=place, opening=StudiedOpening(place), upload_bytes=2_000_000, upload_pixels=1_000_000
    )
    with Background(settings) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Background) -> Client:
    """Who asks it."""
    return Client(server.address)


@pytest.fixture(scope="session")
def pictures(study_folder: Path) -> list[Path]:
    """The files of the study's pictures that can be read, in its order."""
    found = vs.pictures.find_pictures(study_folder.parent / "pictures")
    return [path for path in found if "broken" not in path.name]


@pytest.fixture(scope="session")
def ids(client: Client) -> list[str]:
    """Their ids."""
    columns = client.get("api/pictures").json["columns"]
    rows = zip(columns["id"], columns["added"], columns["skipped"], strict=True)
    return [id for id, added, skipped in rows if not added and skipped is None]


def png(picture: Image.Image) -> bytes:
    """A picture as the bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
