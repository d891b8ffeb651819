"""Each link of docs/tutorials/heads-in-the-app.md opens the view that it promises, on the model of the tutorial."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from tests.app.browser.app import App
from tests.app.browser.serving import Served
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def tutorial() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "scripts"))
        yield importlib.import_module("heads_tutorial")


def test_each_link_opens_the_view_that_it_promises(
    tutorial: ModuleType, deit_served: Served, new_app: Callable[..., App]
) -> None:
    app = new_app(viewport={"width": 1440, "height": 1000})
    app.open(deit_served.url)
    for step in tutorial.STEPS:
        app.page.goto("about:blank")
        app.page.goto(step.link(deit_served.url))
        app.ready()
        for panel in step.panels:
            app.page.get_by_role("region", name=panel, exact=True).wait_for(timeout=60_000)
        view = json.loads(app.view.get("heads", "{}"))
        assert view == dict(step.view), "nothing of the link is left out, nothing is added"
