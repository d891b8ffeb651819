"""Do the tests notice mistakes? Makes each mistake of a fixed list, alone, in a copy of the tree, and runs its tests.

    python scripts/mutate.py                  # all of scripts/mutants.toml, one after the other
    python scripts/mutate.py rollout Holm     # those whose name or file holds one of these words

Prints what survived and exits 1 if anything did, 2 when the list does not fit the code any more. The working tree is
only read.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "scripts" / "mutants.toml"
COPIED = (
    "src",
    "tests",
    "benchmarks",
    "scripts",
    "docs",
    "examples",
    "pyproject.toml",
    "README.md",
    "Makefile",
)
LONGEST = 300
"""Seconds after which a mutant's tests are stopped: it hangs, and that is noticed."""
PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "-W", "ignore")


@dataclass(frozen=True)
class Mutant:
    """One mistake: ``old`` stands once in ``file`` (below src/vitscope), ``new`` is what it becomes."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def place(self, root: Path) -> Path:
        """The file in a tree."""
        return root / "src" / "vitscope" / self.file

    def misfit(self, root: Path) -> str | None:
        """Why this mutant cannot be made in a tree, or None."""
        place = self.place(root)
        if not place.is_file():
            return f"{self.name!r}: there is no {self.file}"
        found = place.read_text(encoding="utf-8").count(self.old)
        if found != 1:
            return f"{self.name!r}: {self.old!r} stands {found} times in {self.file}, not once"
        missing = [test for test in self.tests if not (root / test.partition("::")[0]).is_file()]
        if missing or not self.tests:
            return f"{self.name!r}: there is no test {', '.join(missing) or 'named'}"
        return None


def read(path: Path = LIST) -> list[Mutant]:
    """The list of mutants."""
    with path.open("rb") as file:
        return [Mutant(**{**each, "tests": tuple(each["tests"])}) for each in tomllib.load(file)["mutant"]]


def run_tests(root: Path, tests: list[str]) -> tuple[int | None, str]:
    """pytest's exit code in a tree (None when it was stopped), and the last lines that it said."""
    environment = {
        "VITSCOPE_ASSETS": str(ROOT.parent / "shared"),
        **os.environ,
        "PYTHONPATH": str(root / "src"),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, *PYTEST, *tests], cwd=root, env=environment, timeout=LONGEST,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.returncode, "\n".join(done.stdout.splitlines()[-12:])
    except subprocess.TimeoutExpired:
        return None, f"stopped after {LONGEST} s"


def killed_by(mutant: Mutant, root: Path) -> str | None:
    """What became of a mutant, None when it survived. The tree is as before afterwards."""
    place = mutant.place(root)
    original = place.read_text(encoding="utf-8")
    place.write_text(original.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        code, _ = run_tests(root, list(mutant.tests))
    finally:
        place.write_text(original, encoding="utf-8")
    if code not in (0, 1, None):
        return f"BROKEN (pytest ended with {code}: no test ran, so none noticed)"
    return {0: None, 1: "noticed", None: "noticed (it hangs)"}[code]


def copy_of_the_tree(folder: Path) -> Path:
    """The working tree without what git ignores, in a folder."""
    for name in COPIED:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        elif place.is_file():
            shutil.copy(place, folder / name)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only mutants whose name or file holds one of these")
    parser.add_argument("--list", action="store_true", help="name them and stop")
    arguments = parser.parse_args()
    chosen = [
        mutant
        for mutant in read()
        if not arguments.words or any(word in f"{mutant.name} {mutant.file}" for word in arguments.words)
    ]
    if arguments.list:
        print("\n".join(f"{mutant.file}: {mutant.name}" for mutant in chosen))
        return 0
    misfits = [why for mutant in chosen if (why := mutant.misfit(ROOT)) is not None]
    if misfits or not chosen:
        print("\n".join(misfits) or "no mutant is named so", file=sys.stderr)
        return 2
    survivors, broken = [], []
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        root = copy_of_the_tree(Path(name))
        for test in sorted({test for mutant in chosen for test in mutant.tests}):
            code, said = run_tests(root, [test])
            if code != 0:
                print(f"{test} fails without any mutant; mend it first\n{said}", file=sys.stderr)
                return 2
        for place, mutant in enumerate(chosen, 1):
            started = time.monotonic()
            end = killed_by(mutant, root)
            survivors += [mutant] if end is None else []
            broken += [mutant] if end is not None and end.startswith("BROKEN") else []
            seconds = time.monotonic() - started
            print(
                f"{place:3} of {len(chosen)}, {seconds:3.0f} s  {mutant.name}: {end or 'SURVIVED'}",
                flush=True,
            )
    print(f"\n{len(chosen)} mutants, {len(survivors)} survived, {len(broken)} broken")
    for mutant in survivors:
        print(f"  survived: {mutant.name} ({mutant.file}); a test in {', '.join(mutant.tests)} should notice")
    return 1 if survivors or broken else 0


if __name__ == "__main__":
    sys.exit(main())
