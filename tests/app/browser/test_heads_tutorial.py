"""Each link of docs/tutorials/heads-in-the-app.md opens the view that it promises, on the model of the tutorial."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import vitscope as vs
from tests.app.browser.app import App
from tests.conftest import REPOSITORY
from vitscope.app.model.opening import StudiedOpening
from vitscope.app.serving import Background
from vitscope.app.settings import Settings

PICTURES = 3
DEIT = "timm/deit_tiny_patch16_224"


@pytest.fixture(scope="module")
def tutorial() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "scripts"))
        yield importlib.import_module("heads_tutorial")


@pytest.fixture(scope="module")
def served_deit(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a small study of the tutorial's model is served: the same heads, fewer photographs."""
    folder = tmp_path_factory.mktemp("deit")
    (folder / "photos").mkdir()
    header, *rows = (assets / "images" / "sample" / "labels.csv").read_text().splitlines()
    rows = sorted(rows)[:PICTURES]
    for row in rows:
        photo = row.partition(",")[0]
        (folder / "photos" / photo).symlink_to(assets / "images" / "sample" / photo)
    (folder / "photos" / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    study = vs.Study.create(
        folder / "study",
        model=DEIT,
        weights=str(assets / "models" / "deit_tiny_patch16_224.safetensors"),
        images=folder / "photos",
        analyses={
            "importance": {},
            "strength": {},
            "patterns": vs.studies.PatternsChoice(
                coder="pca",
                k=8,
                repeats=0,
                display="pca",
                autoencoder=vs.heads.AutoencoderOptions(epochs=1, width=1, latent=6),
            ),
        },
        arrays=("features",),
    )
    assert study.run().whole
    with Background(Settings(study=str(study.place), opening=StudiedOpening(str(study.place)))) as server:
        yield server.address


def test_each_link_opens_the_view_that_it_promises(
    tutorial: ModuleType, served_deit: str, new_app: Callable[..., App]
) -> None:
    app = new_app(viewport={"width": 1440, "height": 1000})
    app.open(served_deit)
    for step in tutorial.STEPS:
        app.page.goto("about:blank")
        app.page.goto(step.link(served_deit))
        app.ready()
        for panel in step.panels:
            app.page.get_by_role("region", name=panel, exact=True).wait_for(timeout=60_000)
        view = json.loads(app.view.get("heads", "{}"))
        assert view == dict(step.view), "nothing of the link is left out, nothing is added"
