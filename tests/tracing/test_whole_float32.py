"""Leave to round float32, to TF32 or bfloat16, does not reach a call and is as before afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import vitscope as vs
from vitscope.tracing.calls.whole_float32 import WholeFloat32, is_whole

BACKENDS: Any = torch.backends
NEWER = hasattr(torch.backends, "fp32_precision")
newer = pytest.mark.skipif(not NEWER, reason="this release of torch has the older switches alone")


def places() -> list[Any]:
    cudnn, mkldnn = BACKENDS.cudnn, BACKENDS.mkldnn
    operations = [BACKENDS.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn]
    return [BACKENDS, cudnn, mkldnn, *operations] if NEWER else []


def state() -> list[object]:
    """Every switch, also what torch refuses to tell."""
    found: list[object] = [each.fp32_precision for each in places()]
    for read in (torch.get_float32_matmul_precision, lambda: BACKENDS.cudnn.allow_tf32):
        try:
            found.append(read())
        except RuntimeError:
            found.append("mixed")
    return found


@pytest.fixture(autouse=True)
def as_torch_comes() -> Iterator[None]:
    begin = [each.fp32_precision for each in places()]
    yield
    torch.set_float32_matmul_precision("highest")
    BACKENDS.cudnn.allow_tf32 = True
    for place, own in zip(places(), begin, strict=True):
        place.fp32_precision = own


def products() -> None:
    torch.set_float32_matmul_precision("medium")


def everywhere() -> None:
    BACKENDS.fp32_precision = "tf32"


def one_operation() -> None:
    BACKENDS.mkldnn.matmul.fp32_precision = "bf16"


def mixed() -> None:
    torch.set_float32_matmul_precision("high")
    BACKENDS.cuda.matmul.fp32_precision = "ieee"
    BACKENDS.cudnn.conv.fp32_precision = "ieee"
    BACKENDS.mkldnn.fp32_precision = "bf16"


WAYS = [
    lambda: None,
    products,
    *(pytest.param(way, marks=newer) for way in (everywhere, one_operation, mixed)),
]


@pytest.mark.parametrize("allow", WAYS)
def test_all_is_whole_inside_and_as_before_afterwards(allow: Callable[[], None]) -> None:
    allow()
    before = state()
    with WholeFloat32():
        assert is_whole()
        assert all(each.fp32_precision in ("none", "ieee") for each in places())
    assert state() == before


@newer
def test_what_follows_all_backends_still_follows_them_afterwards() -> None:
    BACKENDS.fp32_precision = "tf32"
    with WholeFloat32():
        pass
    BACKENDS.fp32_precision = "ieee"
    assert BACKENDS.cuda.matmul.fp32_precision == BACKENDS.mkldnn.matmul.fp32_precision == "ieee"


def test_a_caller_that_allows_nothing_is_left_alone() -> None:
    BACKENDS.cudnn.allow_tf32 = False
    before = state()
    with WholeFloat32():
        assert state() == before
    assert state() == before


def test_the_last_of_several_threads_puts_it_back() -> None:
    products()
    before, own = state(), WholeFloat32()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with own:
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with own:
        thread.start()
        assert entered.wait(30)
    assert is_whole()
    leave.set()
    thread.join(30)
    assert state() == before


class Reads(nn.Module):
    """A model that looks at the switches on its way, as those do that turn cuDNN off for a layer."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, set[tuple[str, bool]]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.add((torch.get_float32_matmul_precision(), is_whole()))
        with torch.backends.cudnn.flags(enabled=False):
            x = x.clone()
        found: torch.Tensor = self.inner(x)
        return found


@pytest.mark.parametrize("allow", WAYS[:2])
def test_a_model_runs_in_whole_float32_and_may_read_the_switches(allow: Callable[[], None]) -> None:
    allow()
    before = state()
    model = Reads(vs.open_model("bundled/shapes").model)
    vit = vs.open_model(model, image_size=96, classes=10)
    pictures = vs.worlds.world("shapes").sample(2, seed=1).pictures
    wanted = vs.explain(vs.open_model("bundled/shapes"), pictures, "gmar").maps
    model.seen.clear()
    ready = vs.open_model("bundled/shapes").images(pictures)
    torch.testing.assert_close(vs.explain(vit, ready, "gmar").maps, wanted)
    assert model.seen == {("highest", True)}
    assert state() == before
