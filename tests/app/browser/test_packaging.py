"""What a user installs: the sdist holds sources and built page, and its wheel runs without Node and without a network.

PyTorch and the other dependencies cannot be installed anew in a test, so the clean environment reaches those of the
running one through a ``.pth`` file; vitscope itself is there only as the wheel. That nothing is fetched is held by an
audit hook, which refuses every connection that leaves this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.app.browser.app import App
from tests.app.browser.conftest import FIRST
from tests.app.browser.serving import serving
from tests.conftest import REPOSITORY

BUILT = ("page/index.html", "page/built-from.txt", "widget/view.js", "widget/view.css")
NO_NETWORK = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"this test has no network, and {address} was asked for")
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "", b"", "127.0.0.1", "::1", "localhost"):
        raise OSError(f"this test has no network, and {arguments[0]} was looked up")

sys.addaudithook(refuse)
"""


def without_node(folder: Path) -> dict[str, str]:
    """The environment with neither Node nor this checkout in reach."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "PATH": str(folder), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(command: list[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, **options)


def built(command: list[str | Path], **options: Any) -> str:
    done = run(command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(page_is_built: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of this checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    built([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], cwd=REPOSITORY)
    [made] = folder.glob("*.tar.gz")
    return made


@pytest.fixture
def unpacked(sdist: Path, tmp_path: Path) -> Path:
    """The sdist as a folder of its own."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip makes of the sdist, with no Node in reach."""
    folder = tmp_path_factory.mktemp("wheel")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    built([*pip, "-w", folder, sdist], env=without_node(folder))
    [made] = folder.glob("*.whl")
    return made


def test_the_sdist_holds_sources_and_built_page_and_no_modules_of_npm(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/vitscope/app/{name}" for name in BUILT} <= names
    assert {"ui/package.json", "ui/package-lock.json", "ui/src/main.ts", "hatch_build.py"} <= names
    assert "scripts/build_page.py" in names
    assert not [name for name in names if "node_modules" in name or name.startswith((".venv", ".git/"))]


def test_the_wheel_holds_the_page_and_none_of_its_sources(wheel: Path, sdist: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"vitscope/app/{name}" for name in BUILT} <= names
    assert not [
        name for name in names if name.startswith(("ui/", "tests/", "scripts/")) or name.endswith(".svelte")
    ]
    # the page as a whole, not its entrance alone
    with tarfile.open(sdist) as archive:
        page = {
            name.partition("/src/")[2] for name in archive.getnames() if "/src/vitscope/app/page/" in name
        }
    assert {name for name in names if name.startswith("vitscope/app/page/")} == page


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda root: (root / "src/vitscope/app/page/index.html").unlink(), "not built yet"),
        (lambda root: (root / "ui/src/main.ts").write_text("// changed"), "older than its sources"),
    ],
    ids=["missing", "stale"],
)
def test_without_node_and_page_the_build_fails_in_one_line(
    unpacked: Path, tmp_path: Path, spoil: Any, cause: str
) -> None:
    spoil(unpacked)
    done = run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "out"],
        cwd=unpacked,
        env=without_node(tmp_path),
    )
    assert done.returncode != 0 and not list(tmp_path.glob("out/*.whl"))
    [line] = [line for line in (done.stdout + done.stderr).splitlines() if "error:" in line]
    assert cause in line and "install Node" in line and "Traceback" not in done.stderr


def test_an_editable_install_needs_neither_node_nor_page(unpacked: Path, tmp_path: Path) -> None:
    (unpacked / "src/vitscope/app/page/index.html").unlink()
    made = built(
        [sys.executable, "-c", f"import hatchling.build as b; print(b.build_editable({str(tmp_path)!r}))"],
        cwd=unpacked,
        env=without_node(tmp_path),
    )
    assert made.strip().endswith(".whl")


def test_the_wheel_serves_its_page_in_a_clean_environment(
    wheel: Path, study: Path, app: App, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    built(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel],
        env=without_node(tmp_path),
    )
    place = built(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], env=without_node(tmp_path)
    )
    site = Path(place.strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (site / "sitecustomize.py").write_text(NO_NETWORK)

    alone = without_node(tmp_path / "env" / "bin")
    where = built([python, "-c", "import vitscope; print(vitscope.__file__)"], env=alone, cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site), "the wheel is what runs"
    fetched = run([python, "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 1)"], env=alone)
    assert "this test has no network" in fetched.stderr, "the hook works"

    with serving(study, command=[tmp_path / "env" / "bin" / "vitscope"], environment=alone) as served:
        app.open(served.url)
        app.explain(FIRST)
        assert app.map_pixels().any()
