"""The web app for those who work on it: server and page, both made anew when a file changes. ``make app`` runs it.

    python scripts/develop_app.py [arguments of vitscope serve]

The page is at the address that Vite prints and changes as it is edited; the server starts again when a file of the
package has changed. Ctrl-C ends both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PORT = 7860
LOOK_EVERY = 0.7
"""Seconds between two looks at the files."""


def newest() -> float:
    """When a file of the package was last changed."""
    return max(path.stat().st_mtime for path in (ROOT / "src/vitscope").rglob("*.py"))


def served(arguments: list[str]) -> subprocess.Popen[bytes]:
    """A server of the package as it is now."""
    command = [sys.executable, "-m", "vitscope", "serve", "--no-open", "--port", str(PORT), *arguments]
    return subprocess.Popen(command, cwd=ROOT)


def ended(process: subprocess.Popen[bytes]) -> None:
    """End a process, and wait for its end."""
    process.terminate()
    process.wait()


def main() -> None:
    """Run both until Ctrl-C."""
    environment = {**os.environ, "VITSCOPE_SERVER": f"http://127.0.0.1:{PORT}"}
    page = subprocess.Popen(["npm", "run", "dev"], cwd=ROOT / "ui", env=environment)
    server, made_of = served(sys.argv[1:]), newest()
    try:
        while page.poll() is None:
            time.sleep(LOOK_EVERY)
            if newest() > made_of:
                print("A file has changed; the server starts again.")
                ended(server)
                server, made_of = served(sys.argv[1:]), newest()
    except KeyboardInterrupt:
        pass
    finally:
        ended(server)
        ended(page)


if __name__ == "__main__":
    main()
