"""The study of the site's tests, served with its model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.browser.conftest import browser as browser
from tests.app.browser.conftest import chromium as chromium
from tests.app.browser.conftest import new_app as new_app
from tests.app.browser.conftest import page_is_built as page_is_built
from tests.app.browser.serving import Served, serving
from tests.app.site.conftest import study as study


@pytest.fixture(scope="session")
def served(study: Path) -> Iterator[Served]:
    """One server of that study."""
    with serving(study) as running:
        yield running
