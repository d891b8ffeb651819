"""The web app for those who work on it: server and page, both made anew when a file changes. ``make app`` runs it.

    python scripts/develop_app.py [arguments of vitscope serve]

The page is at the address that Vite prints and changes as it is edited; the server starts again when a file of the
package has changed. Ctrl-C ends both.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
LOOK_EVERY = 0.7
"""Seconds between two looks at the files."""
PATIENCE = 10
"""Seconds in which a process may end by itself."""


def state() -> dict[Path, float]:
    """The files of the package, and when each was last changed."""
    return {path: path.stat().st_mtime for path in (ROOT / "src/vitscope").rglob("*.py")}


def free_port() -> int:
    """A port that nothing listens at; the page is at the one that Vite prints."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def served(port: int, arguments: list[str]) -> subprocess.Popen[bytes]:
    """A server of the package as it is now."""
    command = [sys.executable, "-m", "vitscope", "serve", "--no-open", "--port", str(port), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)


def ended(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started (npm starts Vite, the server its model), and wait for its end."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
            process.wait(PATIENCE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def interrupted(number: int, frame: FrameType | None) -> None:
    """Asked to end, as by Ctrl-C."""
    raise KeyboardInterrupt


def main() -> None:
    """Run both until Ctrl-C."""
    signal.signal(signal.SIGTERM, interrupted)
    port = free_port()
    environment = {**os.environ, "VITSCOPE_SERVER": f"http://127.0.0.1:{port}"}
    made_of = state()
    server = served(port, sys.argv[1:])
    page = subprocess.Popen(["npm", "run", "dev"], cwd=ROOT / "ui", env=environment, start_new_session=True)
    try:
        while page.poll() is None:
            time.sleep(LOOK_EVERY)
            if (found := state()) != made_of:
                made_of = found
                print("A file has changed; the server starts again.", flush=True)
                ended(server)
                server = served(port, sys.argv[1:])
    except KeyboardInterrupt:
        pass
    finally:
        ended(server)
        ended(page)


if __name__ == "__main__":
    main()
