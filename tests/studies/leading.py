"""A process of its own that runs a study with Ray, to be stopped from outside; as a program: PLACE SECONDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 120.0
"""Many processes may share the machine; no test depends on how fast it is."""


def leads(place: Path, slow: float, **environment: str) -> subprocess.Popen[str]:
    """Run a study with Ray and two workers, every shard so many seconds slower."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    known["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])
    return subprocess.Popen(
        [sys.executable, __file__, str(place), str(slow)],
        env={**known, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def alive(process: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _lead(place: Path, slow: float) -> None:
    from tests.studies.mischief import mischief
    from vitscope.studies import Study
    from vitscope.studies.engines.ray_cluster import OWN

    def mine(number: int, frame: object) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, mine)
    try:
        with mischief(place, slow=slow):
            Study.open(place).run(engine="ray", workers=2)
    except KeyboardInterrupt:
        ours = [name for name in OWN if name in os.environ]
        print(json.dumps({"ours": ours, "kept": signal.getsignal(signal.SIGTERM) is mine}), flush=True)
        raise


if __name__ == "__main__":
    _lead(Path(sys.argv[1]), float(sys.argv[2]))
