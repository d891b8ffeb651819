"""Peak memory beside a method: the same work needs the same memory, whatever was freed before it."""

from __future__ import annotations

import ctypes
import platform

import pytest
import torch

from vitscope.evaluation.running.footprint import Footprint

MIB = 1024 * 1024
GLIBC = platform.system() == "Linux" and hasattr(ctypes.CDLL(None), "malloc_trim")


def peak_of(mebibytes: int) -> float:
    with Footprint() as footprint:
        pieces = [torch.ones(mebibytes * MIB // 4 // 20) for _ in range(20)]
        del pieces
    return footprint.memory


@pytest.mark.skipif(not GLIBC, reason="freed memory is given back on glibc only")
def test_memory_freed_before_does_not_hide_what_work_needs() -> None:
    first, second, small = peak_of(160), peak_of(160), peak_of(40)
    assert 150 < first < 200
    assert 150 < second < 200
    assert 35 < small < 60
