"""docs/supported.md says what happens now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_situations_is_what_happens() -> None:
    spec = importlib.util.spec_from_file_location(
        "describe_support", ROOT / "scripts" / "describe_support.py"
    )
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = (ROOT / "docs" / "supported.md").read_text(encoding="utf-8")
    assert script.page() == written, "docs/supported.md is out of date; run scripts/describe_support.py"
