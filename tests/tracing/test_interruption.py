"""Ctrl-C at any line: real signals, sent at every part of a call, leave the model and the process as they were."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import timm
import torch
from torch import nn

import vitscope as vs
from tests.tracing.test_nothing_left import same, state
from vitscope.interruption import held, released
from vitscope.tracing import Vit
from vitscope.tracing.calls import exclusion
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.calls.scope import current_scope

PLACES = int(os.environ.get("VITSCOPE_TEST_PLACES", "40"))
"""Lines of one call at which signals are sent, spread evenly over all that it runs; as many again over ``DELICATE``."""

DELICATE = tuple(
    f"/vitscope/{name}.py"
    for name in (
        "interruption", "tracing/calls/guard", "tracing/calls/scope", "tracing/calls/exclusion",
        "tracing/calls/while_running", "tracing/calls/whole_float32", "tracing/calls/callers_switches",
        "tracing/interception/multihead",
        "tracing/interception/function_modes", "tracing/calls/recomputing", "evaluation/running/footprint",
    )
)  # fmt: skip
"""Where things are set up and put back."""
assert all((Path(vs.__file__).parent / name.removeprefix("/vitscope/")).is_file() for name in DELICATE)

WATCHED = (
    "/vitscope/",
    "/contextlib.py",
    "/torch/overrides.py",
    "/torch/autograd/grad_mode.py",
    "/torch/random.py",
)


@pytest.fixture(scope="module")
def vit() -> Vit:
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, num_classes=4, depth=2, embed_dim=12, num_heads=2, drop_rate=0.2
    )
    model.train()
    model.blocks[0].eval()
    model.head.weight.requires_grad_(False)
    opened = vs.open_model(model, image_size=32)
    assert opened.anatomy.heads == 2
    return opened


PICTURES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))

CALLS: dict[str, Callable[[Vit], Any]] = {
    "explain": lambda vit: vs.explain(vit, PICTURES, "gmar"),
    "pixels": lambda vit: vs.explain(vit, PICTURES, "kernel-shap", samples=4),
    "probe": lambda vit: vs.open_model(vit.model, image_size=32).anatomy,
    "resume": lambda vit: vit.resume(vit.cache(PICTURES), 1),
    "importance": lambda vit: vs.heads.importance(vit, PICTURES),
    "evaluate": lambda vit: vs.evaluate(
        vit, list(PICTURES), methods=["gae"], metrics=["srg"], controls=(), protocol=vs.Protocol(steps=2)
    ),
}  # fmt: skip


def everything(model: nn.Module) -> dict[str, Any]:
    return {
        **state(model),
        "hook names": [sorted(m._forward_hooks) + sorted(m._forward_pre_hooks) for m in model.modules()],
        "threads": [thread.ident for thread in threading.enumerate()],
        "dtype": torch.get_default_dtype(),
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        "scope": current_scope(),
        "working": list(exclusion._working),
        "checkpoint": [
            getattr(torch.utils.checkpoint, name) for name in ("CheckpointFunction", "checkpoint")
        ],
    }


@cache
def _watched(file: str, files: tuple[str, ...]) -> bool:
    return any(part in file for part in files)


class _AtLine:
    """Runs a call under a trace function that sends SIGINT at the n-th line of the watched files."""

    def __init__(self, send_at: set[int], files: tuple[str, ...]) -> None:
        self.send_at, self.lines, self.files = send_at, 0, files

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if not _watched(frame.f_code.co_filename, self.files):
            return None
        if event == "line":
            self.lines += 1
            if self.lines in self.send_at:
                signal.raise_signal(signal.SIGINT)
        return self

    def run(self, call: Callable[[], Any]) -> str:
        sys.settrace(self)
        try:
            call()
        except KeyboardInterrupt:
            return "interrupted"
        finally:
            sys.settrace(None)
        return "went through"


FOOTPRINT = ("/evaluation/running/footprint.py",)
"""A thread that watches the memory begins and ends there."""


@pytest.mark.parametrize(
    ("name", "files"),
    [(name, files) for name in CALLS for files in (WATCHED, DELICATE)] + [("evaluate", FOOTPRINT)],
)
def test_a_signal_at_any_line_is_raised_and_leaves_all_as_it_was(
    name: str, files: tuple[str, ...], vit: Vit
) -> None:
    call = CALLS[name]
    call(vit)  # whatever is imported or probed once
    everything(vit.model)
    count = _AtLine(set(), files)
    count.run(lambda: call(vit))
    before = everything(vit.model)
    step = max(1, count.lines // PLACES)
    for line in range(1, int(count.lines * 0.98), step):
        at = _AtLine({line, line + 1, line + 2}, files)  # others on its heels, while things are put back
        assert at.run(lambda: call(vit)) == "interrupted", f"a signal at line {line} was lost"
        after = everything(vit.model)
        changed = [key for key in before if not same(before[key], after[key])]
        assert not changed, f"a signal at line {line} of {count.lines} left changed: {changed}"
    assert vs.explain(vit, PICTURES, "gae").maps.isfinite().all()


def test_a_switch_of_torch_that_an_interrupt_left_on_is_put_back() -> None:
    @unaffected
    def cut_short() -> None:
        torch.set_grad_enabled(False)  # as torch.no_grad does before it is sure to undo it
        torch.set_default_dtype(torch.float64)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_short()
    assert torch.is_grad_enabled() and torch.get_default_dtype() is torch.float32


def test_held_signals_come_out_in_order_and_handlers_are_put_back() -> None:
    seen: list[str] = []
    before = signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, lambda *_: seen.append("signal"))
    try:
        with held():
            signal.raise_signal(signal.SIGUSR1)
            seen.append("held")
            with released():
                seen.append("released")
                signal.raise_signal(signal.SIGUSR1)
                with held():
                    signal.raise_signal(signal.SIGUSR1)
                    seen.append("held inside")
                seen.append("still released")
            signal.raise_signal(signal.SIGUSR1)
            seen.append("held again")
        seen.append("outside")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [
        "held", "signal", "released", "signal", "held inside", "signal", "still released", "held again", "signal",
        "outside",
    ]  # fmt: skip


def test_other_threads_neither_hold_nor_release() -> None:
    with held():
        thread = threading.Thread(target=lambda: released().__enter__())
        thread.start()
        thread.join()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), released():
            pass


def test_signals_at_random_moments(vit: Vit) -> None:
    """From another thread, as from a keyboard: wherever the main thread is, inside torch too."""
    call = CALLS["explain"]
    started = time.perf_counter()
    call(vit)
    usual = time.perf_counter() - started
    everything(vit.model)
    before = everything(vit.model)
    interrupted = 0
    for attempt in range(40):
        timer = threading.Timer(usual * (attempt + 0.5) / 40, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            while True:  # until the signal comes
                call(vit)
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        after = everything(vit.model)
        changed = [key for key in before if not same(before[key], after[key])]
        assert not changed, f"attempt {attempt} left changed: {changed}"
    assert interrupted == 40
