"""A ``vitscope serve`` of its own process, started and ended by a test."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 300
"""Seconds until a server must have said where it is."""


@dataclass(frozen=True)
class Served:
    """A running server: its address, which ends in a slash, and its process."""

    url: str
    process: subprocess.Popen[str]
    printed: list[str]


@contextlib.contextmanager
def serving(
    *arguments: str | Path,
    command: Sequence[str | Path] = (sys.executable, "-m", "vitscope"),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """Run ``vitscope serve`` until the block is left; what it printed is shown when it does not start."""
    process = subprocess.Popen(
        [*map(str, command), "serve", *map(str, arguments), "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ if environment is None else environment),
        start_new_session=True,
    )
    printed: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: printed.extend(iter(process.stdout.readline, "")), daemon=True)
    reader.start()
    try:
        yield Served(_address(process, printed), process, printed)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        reader.join(5)
        process.stdout.close()


def _address(process: subprocess.Popen[str], printed: list[str]) -> str:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for line in list(printed):
            if found := re.search(r"https?://[^\s\x1b]+", line):
                return found[0]
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"the server did not start (exit {process.poll()}):\n{''.join(printed)}")
