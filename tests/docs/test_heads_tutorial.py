"""docs/tutorials/heads-in-the-app.md is made of the kept figures and of the steps that are drawn."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def tutorial() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "scripts"))
        yield importlib.import_module("heads_tutorial")


def test_the_page_is_made_of_its_figures_and_steps(tutorial: ModuleType) -> None:
    page = tutorial.PAGE.read_text(encoding="utf-8")
    figures = json.loads(tutorial.FIGURES.read_text(encoding="utf-8"))
    assert tutorial.page_of(figures) == page, "run: python scripts/draw_heads_tutorial.py --page"
    assert re.findall(r"\]\((http://127[^)]+)\)", page) == [step.link() for step in tutorial.STEPS]
    for step in tutorial.STEPS:
        assert (tutorial.IMAGES / f"{step.name}.png").is_file()
        # Photographs are in view A and in what a patch looks at; these may not be handed on.
        assert "A Pictures" not in step.panels and step.view.get("detail") not in ("queries", "matrix")
