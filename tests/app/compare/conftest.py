"""The study of the site's tests, served with its model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vitscope as vs
from tests.app.browser.conftest import browser as browser
from tests.app.browser.conftest import chromium as chromium
from tests.app.browser.conftest import new_app as new_app
from tests.app.browser.conftest import page_is_built as page_is_built
from tests.app.browser.serving import Served, serving
from tests.app.site.conftest import study as study
from vitscope.studies import EvaluateChoice, Sizes

SHARED = 10
"""Pictures that the other study has, too."""
ALONE = 3
"""Pictures that it has alone."""


@pytest.fixture(scope="session")
def served(study: Path) -> Iterator[Served]:
    """One server of that study."""
    with serving(study) as running:
        yield running


@pytest.fixture(scope="session")
def beside(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of another model: ten of the same pictures under other names and in another order, and three others."""
    folder = tmp_path_factory.mktemp("beside")
    (folder / "pictures").mkdir()
    files = sorted((study.parent / "pictures").glob("*/[0-9]*.png"), key=lambda path: path.name)
    for number, path in enumerate(reversed(files[:SHARED])):
        (folder / "pictures" / f"photo-{number}.png").write_bytes(path.read_bytes())
    for number, picture in enumerate(vs.worlds.world("shapes").sample(ALONE, seed=77).images()):
        picture.save(folder / "pictures" / f"other-{number}.png")
    return evaluated(
        folder / "study", folder / "pictures", model="bundled/position", methods=("gmar", "daam", "dart")
    )


def evaluated(place: Path, images: Path, **more: Any) -> Path:
    """A finished study by the protocol of the first one, unless told otherwise."""
    methods, model = more.pop("methods", ("daam",)), more.pop("model", "bundled/position")
    weights = more.pop("weights", None)
    given = {
        "metrics": ("srg",),
        "protocol": vs.Protocol(steps=4, random_draws=1),
        "controls": ("random",),
        **more,
    }
    analyses = {"explain": {}, "evaluate": EvaluateChoice(**given)}
    sizes = Sizes(shard_size=8, batch_size=4)
    made = vs.Study.create(
        place, model=model, weights=weights, images=images, analyses=analyses, methods=methods, sizes=sizes
    )
    assert made.run().whole
    return place


@pytest.fixture(scope="session")
def both(study: Path, beside: Path) -> Iterator[Served]:
    """One server of the two."""
    with serving(study, beside) as running:
        yield running


@pytest.fixture(scope="session")
def on_deit(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the real DeiT-Tiny on four sample photographs, with scores."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "pictures").mkdir()
    for path in sorted((assets / "images" / "sample").glob("*.jpg"))[:4]:
        (folder / "pictures" / path.name).symlink_to(path)
    weights = str(assets / "models" / "deit_tiny_patch16_224.safetensors")
    return evaluated(
        folder / "study",
        folder / "pictures",
        model="timm/deit_tiny_patch16_224",
        weights=weights,
        methods=("daam", "dart"),
    )
