"""Methods of other packages: found by their entry points, in Python and in the shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

METHOD = '''
import vitscope as vs

@vs.register("of-a-package", family="attention", title="Of a package", citation="Nobody, 2026", class_specific=False)
def of_a_package(trace, *, head: int = 0):
    """Attention of the class token in one head of the last block."""
    return vs.Relevance(tokens=trace.sites[-1].attention()[:, head, 0])
'''


def installed(folder: Path, name: str, module: str) -> dict[str, str]:
    """A package as pip leaves it, and the environment that sees it."""
    (folder / f"{name}.py").write_text(module)
    record = folder / f"{name}-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[vitscope.methods]\n{name} = {name}\n")
    before = os.environ.get("PYTHONPATH", "")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [before])])}


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )


def test_a_method_of_another_package_is_seen_by_the_shell(tmp_path: Path) -> None:
    environment = installed(tmp_path, "plugged", METHOD)
    told = run(environment, "-m", "vitscope", "methods", "of-a-package", "--json")
    assert told.returncode == 0, told.stderr
    record = json.loads(told.stdout)
    assert record["citation"] == "Nobody, 2026" and record["options"]["head"]["default"] == 0
    code = (
        "import vitscope as vs; vit = vs.open_model('bundled/shapes');"
        "p = vs.worlds.demo_pictures(1).images(); print(vs.explain(vit, p, 'of-a-package'))"
    )
    made = run(environment, "-c", code)
    assert "<Explanation by of-a-package of 1 picture" in made.stdout, made.stderr


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("import not_there", "not_there"),
        (METHOD.replace("of-a-package", "gmar"), "registered already"),
    ],
)
def test_one_that_cannot_be_imported_is_told_and_stops_nothing(tmp_path: Path, module: str, why: str) -> None:
    told = run(installed(tmp_path, "broken", module), "-m", "vitscope", "methods")
    assert told.returncode == 0 and "rollout" in told.stdout
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith("the methods 'broken' of the package broken cannot be imported (") and why in line
