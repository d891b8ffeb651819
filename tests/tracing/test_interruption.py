"""Ctrl-C at any line: real signals, sent at every part of a call, leave the model and the process as they were."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any

import pytest
import timm
import torch
from torch import nn

import vitscope as vs
from tests.tracing.test_nothing_left import same, state
from vitscope.tracing import Vit

PLACES = int(os.environ.get("VITSCOPE_TEST_PLACES", "24"))
"""Lines of one call at which a signal is sent, spread evenly over all that it runs."""

WATCHED = ("/vitscope/", "/contextlib.py", "/torch/overrides.py", "/torch/autograd/grad_mode.py", "/torch/random.py")


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
        "checkpoint": [getattr(torch.utils.checkpoint, name) for name in ("CheckpointFunction", "checkpoint")],
    }


@cache
def _watched(file: str) -> bool:
    return any(part in file for part in WATCHED)


class _AtLine:
    """Runs a call under a trace function that sends SIGINT at the n-th line of the watched files."""

    def __init__(self, send_at: set[int], twice: bool = False) -> None:
        self.send_at, self.lines, self.twice = send_at, 0, twice
        self.sent = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if not _watched(frame.f_code.co_filename):
            return None
        if event == "line":
            self.lines += 1
            if self.lines in self.send_at:
                self.sent += 1
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


@pytest.mark.parametrize("name", CALLS)
def test_a_signal_at_any_line_is_raised_and_leaves_all_as_it_was(name: str, vit: Vit) -> None:
    call = CALLS[name]
    call(vit)  # whatever is imported or probed once
    everything(vit.model)
    count = _AtLine(set())
    count.run(lambda: call(vit))
    before = everything(vit.model)
    answers: dict[str, int] = {}
    step = max(1, count.lines // PLACES)
    for line in range(1, count.lines, step):
        at = _AtLine({line, line + 3})  # and a second one on its heels
        answer = at.run(lambda: call(vit))
        answers[answer] = answers.get(answer, 0) + 1
        after = everything(vit.model)
        changed = [key for key in before if not same(before[key], after[key])]
        assert not changed, f"a signal at line {line} of {count.lines} left changed: {changed}"
    assert answers.get("interrupted", 0) >= PLACES * 0.9, answers
    assert vs.explain(vit, PICTURES, "gae").maps.isfinite().all()


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
