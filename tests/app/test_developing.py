"""``make app``: the server starts again, and the page is another, when a file has changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import REPOSITORY
from tests.needed import needed

PATIENCE = 120
"""Seconds until something that was asked for must be there."""


def until(told: object, ask: object) -> object:
    """Ask until there is an answer."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if (found := ask()) is not None:  # type: ignore[operator]
                return found
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"no answer; {told}")


def text_of(url: str) -> str:
    with urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def test_both_sides_follow_the_files(tmp_path: Path) -> None:
    modules = REPOSITORY / "ui" / "node_modules"
    if not (modules / "vite").is_dir():
        needed("the page's tools are not installed; run: make page")
    left_out = shutil.ignore_patterns("node_modules", "__pycache__", "page", "widget")
    for name in ("src", "ui", "scripts"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=left_out)
    (tmp_path / "ui" / "node_modules").symlink_to(modules)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "scripts" / "develop_app.py", "--model", "bundled/shapes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    printed: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: printed.extend(iter(process.stdout.readline, "")), daemon=True)
    reader.start()

    def address() -> str | None:
        found = re.search(r"Local:\s+(http://\S+)", "".join(printed))
        return found[1] if found else None

    try:
        page = str(until(printed, address))
        assert "@vite/client" in text_of(page)

        def version() -> str:
            return str(json.loads(text_of(f"{page}api/about"))["version"])

        before = until(printed, version)
        (tmp_path / "src/vitscope/version.py").write_text('"""Changed."""\n\n__version__ = "9.9.9"\n')
        until(printed, lambda: True if version() == "9.9.9" != before else None)
        assert any("the server starts again" in line for line in printed)
        script = tmp_path / "ui/src/main.ts"
        script.write_text(script.read_text() + "\nconsole.log('changed while it runs');\n")
        until(printed, lambda: "changed while it runs" in text_of(f"{page}src/main.ts") or None)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        reader.join(5)
    with pytest.raises(OSError):
        text_of(page)  # nothing goes on listening
