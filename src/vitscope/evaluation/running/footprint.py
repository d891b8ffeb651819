"""Wall time and peak memory of a piece of work: on a GPU from the allocator, on Linux by watching the process."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from pathlib import Path

import torch

_STATUS = Path("/proc/self/statm")
_MIB = 1024 * 1024


class Footprint:
    """``with Footprint(device) as f: ...`` then ``f.seconds`` and ``f.memory`` (MiB above the start, NaN unknown)."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._cuda = torch.device(device) if torch.device(device).type == "cuda" else None
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self._start = self._peak = 0
        self.seconds = self.memory = float("nan")

    def __enter__(self) -> Footprint:
        if self._cuda is not None:
            torch.cuda.synchronize(self._cuda)
            torch.cuda.reset_peak_memory_stats(self._cuda)
            self._start = torch.cuda.memory_allocated(self._cuda)
        elif _STATUS.exists():
            _give_back_freed_memory()
            self._start = self._peak = _resident()
            self._watcher = threading.Thread(target=self._watch, daemon=True)
            self._watcher.start()
        self._clock = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        if self._cuda is not None:
            torch.cuda.synchronize(self._cuda)
            self.memory = (torch.cuda.max_memory_allocated(self._cuda) - self._start) / _MIB
        self.seconds = time.perf_counter() - self._clock
        if self._watcher is not None:
            self._stop.set()
            self._watcher.join()
            self.memory = (max(self._peak, _resident()) - self._start) / _MIB

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            self._peak = max(self._peak, _resident())


def _give_back_freed_memory() -> None:
    """Without this a piece of work that fits into what earlier work has freed would seem to need no memory."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; elsewhere figures are lower bounds
    if trim is not None:
        trim(0)


def _resident() -> int:
    return int(_STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
