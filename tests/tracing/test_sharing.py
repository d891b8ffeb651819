"""Passes over one batch that are shared: equal to the bit to passes of their own, run once, and never for anything
else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

import vitscope as vs
from tests.zoo import fresh, open_zoo, pictures
from vitscope.errors import AnswerError
from vitscope.tracing import (
    Capture,
    ClassIndex,
    Foreseen,
    HeadAblation,
    TokenRemoval,
    TopK,
    Trace,
    constant_gate,
    sharing_traces,
)
from vitscope.tracing.copies.clean import run_clean

STREAMS = Foreseen(gradient=False, capture=Capture(streams=True))
KINDS = [
    "timm-deit-distilled",
    "timm-siglip",
    "hf-siglip-eager",
    "swin",
    "timm-cait",
    "timm-volo",
    "hand-in-place",
]


@contextmanager
def forwards(vit: vs.Vit) -> Iterator[list[int]]:
    """One entry for each run of the model up to its last block."""
    runs: list[int] = []
    last = vit.model.get_submodule(vit.anatomy.blocks[-1].path)
    handle = last.register_forward_hook(lambda *_: runs.append(1))
    try:
        yield runs
    finally:
        handle.remove()


def shown(trace: Trace) -> list[Tensor]:
    """Everything that a trace holds of attention, and its logits."""
    sites = [value for s in trace.sites for value in (s.attention(), s.output, s.output_gradient)]
    return [trace.logits, *(value for value in sites if value is not None)]


def same(one: Trace, other: Trace) -> bool:
    pairs = zip(shown(one), shown(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one.has_gradient == other.has_gradient


@pytest.mark.parametrize("name", KINDS)
def test_what_is_shared_is_what_is_run_apart(name: str) -> None:
    vit, images = open_zoo(name), pictures(name)
    classified = vit.anatomy.classes is not None
    alone = vit.trace(images, gradient=False), vit.forward(images)
    explained = vit.trace(images) if classified else None
    clean = run_clean(vit, images)
    with forwards(vit) as runs, sharing_traces(vit, images, [Foreseen(None), STREAMS]):
        logits, plain = vit.forward(images), vit.trace(images, gradient=False)
        if explained is not None:
            assert same(vit.trace(images), explained)
        resumed = run_clean(vit, images)
        assert len(runs) == 1
    assert torch.equal(logits, alone[1])
    assert same(plain, alone[0])
    assert torch.equal(resumed.cache.logits, clean.cache.logits)
    for block in range(len(vit.anatomy.blocks)):
        assert torch.equal(resumed.cache.tokens(block), clean.cache.tokens(block))
    for found, expected in ((resumed.entering, clean.entering), (resumed.attended, clean.attended)):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[block], expected[block]) for block in found)
    assert resumed.embedding.keys() == clean.embedding.keys()


def test_one_forward_serves_targets_that_come_to_the_same_classes() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit")
    top = tuple(vit.forward(images).argmax(1).tolist())
    alone = vit.trace(images, ClassIndex(top))
    other = tuple((index + 1) % 10 for index in top)
    with forwards(vit) as runs, sharing_traces(vit, images):
        vit.trace(images, "top1")
        found = vit.trace(images, ClassIndex(top))
        assert len(runs) == 1
        assert found.target == alone.target
        assert same(found, alone)
        probability = vit.trace(images, TopK(1, "probability"))
        assert len(runs) == 2
        assert not torch.equal(probability.sites[0].output_gradient, found.sites[0].output_gradient)
        assert vit.trace(images, ClassIndex(other)).scores.tolist() != found.scores.tolist()
        assert len(runs) == 3
        # without a gradient any target is read off the logits
        plain = vit.trace(images, ClassIndex(other), gradient=False)
        assert len(runs) == 3
    assert torch.equal(plain.scores, vit.trace(images, ClassIndex(other), gradient=False).scores)


def test_a_trace_knows_what_it_was_asked_for_and_no_more() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit")
    with sharing_traces(vit, images, [Foreseen("top1"), STREAMS]):
        plain = vit.trace(images, gradient=False)
        assert not plain.has_gradient and not plain.capture.streams
        assert all(site.output_gradient is None for site in plain.sites)
        with pytest.raises(vs.errors.TraceError, match="did not keep streams"):
            _ = plain.block_outputs


def test_no_reader_spoils_another() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit")
    with sharing_traces(vit, images, [Foreseen("top1")]):
        first, logits = vit.trace(images), vit.forward(images)
        before = [value.clone() for value in shown(first)]
        vit.trace(images).logits.zero_()
        vit.forward(images).zero_()
        second = vit.trace(images)
        with second.shared():
            assert all(site.shared is None for site in first.sites)
        assert all(torch.equal(a, b) for a, b in zip(shown(vit.trace(images)), before, strict=True))
        assert torch.equal(vit.forward(images), logits)


def test_nothing_else_is_served() -> None:
    vit, images = vs.open_model(fresh("timm-deit"), image_size=64), pictures("timm-deit")
    keep = torch.ones(1, len(vit.anatomy.blocks), vit.anatomy.heads)
    keep[0, 0, 0] = 0
    patches = torch.ones(1, 16, dtype=torch.bool)
    patches[0, 3] = False
    asks = {
        "another tensor of the same values": lambda: vit.forward(images.clone()),
        "some of the pictures": lambda: vit.forward(images[:1]),
        "an ablation": lambda: vit.forward(images, ablation=HeadAblation(keep)),
        "a removal": lambda: vit.trace(images, gradient=False, removal=TokenRemoval(patches)).logits,
        "rules": lambda: vit.trace(images, rules=constant_gate()).logits,
        "a precision": lambda: vit.trace(images, gradient=False, precision="bf16").logits,
    }
    alone = {name: ask() for name, ask in asks.items()}
    with forwards(vit) as runs, sharing_traces(vit, images, [Foreseen("top1")]):
        vit.trace(images)
        for name, ask in asks.items():
            before = len(runs)
            assert torch.equal(ask(), alone[name]), name
            assert len(runs) == before + 1, name


def test_pictures_and_weights_that_were_written_into_are_run_anew() -> None:
    vit, images = vs.open_model(fresh("timm-deit"), image_size=64), pictures("timm-deit")
    with sharing_traces(vit, images):
        old = vit.forward(images)
        with torch.no_grad():
            vit.model.head.weight.mul_(2)
        heavier = vit.forward(images)
        images.mul_(0.5)
        paler = vit.forward(images)
    assert not torch.equal(old, heavier)
    assert not torch.equal(heavier, paler)
    assert torch.equal(paler, vit.forward(images))


def test_another_thread_runs_its_own() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit")
    with forwards(vit) as runs, sharing_traces(vit, images):
        vit.forward(images)
        thread = threading.Thread(target=lambda: vit.forward(images))
        thread.start()
        thread.join()
        assert len(runs) == 2


def test_sharing_ends_with_the_block_also_after_an_error_and_within_another() -> None:
    vit, images, others = open_zoo("timm-deit"), pictures("timm-deit"), pictures("timm-deit", seed=1)
    with forwards(vit) as runs:
        with sharing_traces(vit, images):
            vit.forward(images)
            with pytest.raises(RuntimeError, match="stop"), sharing_traces(vit, others):
                vit.forward(others)
                raise RuntimeError("stop")
            vit.forward(images)
            assert len(runs) == 2
        vit.forward(images)
        assert len(runs) == 3
    assert vit.shared is None


def test_no_more_than_four_passes_are_kept() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit")
    with forwards(vit) as runs, sharing_traces(vit, images):
        for index in range(5):
            vit.trace(images, index)
        vit.trace(images, 4)
        assert len(runs) == 5
        vit.trace(images, 0)
        assert len(runs) == 6


def test_what_is_foreseen_and_cannot_be_had_spoils_nothing() -> None:
    vit, images = vs.open_model(fresh("timm-deit"), image_size=64), pictures("timm-deit")
    alone = vit.forward(images)
    with sharing_traces(vit, images, [Foreseen(vs.Custom(lambda logits: logits[:, 0] / 0))]):
        assert torch.equal(vit.forward(images), alone)
    images[1] = 3e38
    with sharing_traces(vit, images, [Foreseen("top1")]), pytest.raises(AnswerError) as error:
        vit.forward(images)
    assert error.value.pictures == (1,)
