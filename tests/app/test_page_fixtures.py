"""What the page takes over from Python is what Python says today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from vitscope.app.tensors import decode
from vitscope.rendering.colour import lookup_table

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "page_fixtures.py"
SPEC = importlib.util.spec_from_file_location("page_fixtures", SCRIPT)
assert SPEC is not None and SPEC.loader is not None
page_fixtures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(page_fixtures)


def test_every_file_is_current() -> None:
    for path, content in page_fixtures.files().items():
        assert path.read_bytes() == content, f"{path.name}: run python scripts/page_fixtures.py"


def test_the_colours_of_the_page_are_those_of_every_drawing() -> None:
    written = page_fixtures.tables()["viridis"]
    assert bytes.fromhex(written[-6:]) == lookup_table("viridis")[255].tobytes()
    assert all(len(digits) == 256 * 6 for digits in page_fixtures.tables().values())


def test_the_example_of_tensors_says_its_own_values() -> None:
    arrays, header = decode(page_fixtures.tensors())
    for name, values in header["values"].items():
        assert np.array_equal(arrays[name].ravel().astype(float), values)
