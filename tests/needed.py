"""What a test needs of the machine: without it the test is skipped, or fails where everything is required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def needed(message: str) -> NoReturn:
    """Skip the test; fail it where everything is required, as in continuous integration."""
    if os.environ.get("VITSCOPE_REQUIRE_ASSETS") == "1":
        pytest.fail(message)
    pytest.skip(message)
