"""Build what a browser shows of vitscope from ``ui/``: the page of ``vitscope serve`` and the widget for notebooks.

    python scripts/build_page.py

Nothing is done where both are there and made of the sources as they are. Standard library only: the hook of the wheel
and the sdist (``hatch_build.py``), the Makefile and continuous integration all come through here.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NODE = (20, 19)
"""The oldest Node that the page's tools run on."""
MADE = ("page/index.html", "widget/view.js")
"""What must be there, below ``src/vitscope/app``."""
STAMP = "page/built-from.txt"
"""The digest of the sources that the page was made of, below ``src/vitscope/app``; written last."""


class PageError(RuntimeError):
    """The page is not there and cannot be made. One line, ``cause; remedy``."""


def sources(root: Path) -> Iterator[Path]:
    """The files that the page is made of: what lies in ``ui`` itself, all below ``src`` and ``public`` there, and the
    styles that it shares with the reports."""
    for pattern in ("ui/*", "ui/src/**/*", "ui/public/**/*", "src/vitscope/rendering/pages/static/*.css"):
        for path in sorted(root.glob(pattern)):
            if path.is_file() and path.name != ".DS_Store" and path.suffix != ".tmp":
                yield path


def digest(root: Path) -> str:
    """SHA-256 over the names and contents of the sources."""
    found = hashlib.sha256()
    for path in sources(root):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()}\n{len(content)}\n".encode() + content)
    return found.hexdigest()


def is_built(root: Path) -> bool:
    """Whether page and widget are there."""
    return all((root / "src/vitscope/app" / name).is_file() for name in (*MADE, STAMP))


def is_current(root: Path) -> bool:
    """Whether page and widget are there and made of the sources as they are."""
    return is_built(root) and (root / "src/vitscope/app" / STAMP).read_text().strip() == digest(root)


def build_page(root: Path) -> bool:
    """Make page and widget where they are missing or older than their sources.

    Args:
        root: The folder of vitscope's sources.

    Returns:
        True when they were made, False when they were current.

    Raises:
        PageError: They have to be made and Node is not there, too old, or fails.
    """
    if is_current(root):
        return False
    ui = root / "ui"
    node = found_node("older than its sources" if is_built(root) else "not built yet")
    stamp = root / "src/vitscope/app" / STAMP
    stamp.unlink(missing_ok=True)
    made_of = digest(root)
    npm = [str(shutil.which("npm"))]
    lock, installed = (ui / "package-lock.json").read_bytes(), ui / "node_modules" / ".installed-from"
    wanted = hashlib.sha256(lock + node.encode()).hexdigest()
    if not installed.is_file() or installed.read_text() != wanted:
        run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], ui)
        installed.write_text(wanted)
    run([*npm, "run", "build", "--silent"], ui)
    missing = [name for name in MADE if not (root / "src/vitscope/app" / name).is_file()]
    if missing:
        raise PageError(f"npm run build made no {', '.join(missing)}; see ui/package.json")
    stamp.write_text(f"{made_of}\n")
    return True


def found_node(why: str) -> str:
    """The version of Node. Raises PageError where it or npm is missing or too old."""
    wanted = ".".join(map(str, NODE))
    remedy = (
        f"install Node {wanted} or newer with npm, or install a wheel or sdist, which hold the built page"
    )
    if not (shutil.which("node") and shutil.which("npm")):
        raise PageError(f"the web page is {why}, and there is no Node to build it with; {remedy}")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(part) for part in version.lstrip("v").split(".")[:2]) < NODE:
        raise PageError(f"the web page is {why}, and Node {version} is too old to build it; {remedy}")
    return version


def run(command: list[str], folder: Path) -> None:
    """Run a tool, and show what it printed only when it fails."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        words = " ".join(["npm", *command[1:]])
        raise PageError(
            f"'{words}' failed in {folder} (exit {done.returncode}); what it printed stands above"
        )


def main() -> int:
    """Say what was done; 1 and one line where the page cannot be made."""
    try:
        made = build_page(Path(__file__).resolve().parents[1])
    except PageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("The web page was built." if made else "The web page is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
