"""What a run asks for each picture, in numbers known beforehand: its class, and the mean over the random draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import vitscope as vs
from vitscope.evaluation import get_metric, metric
from vitscope.evaluation.removal.draws import uniforms
from vitscope.methods import Relevance, register, registry
from vitscope.tracing import Trace

CLASSES = [3, 0, 4, 1, 3, 2, 0]


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def class_number() -> Iterator[str]:
    """A method whose maps hold the number of the class that was explained, and the score of that class's logit."""

    @register(
        "class-number",
        family="attention",
        title="The class",
        citation="none",
        class_specific=True,
        signed=False,
    )
    def class_number(trace: Trace) -> Relevance:
        """The number of the explained class on every patch, (B, N)."""
        assert trace.classes is not None
        return Relevance(tokens=trace.classes.float().view(-1, 1).expand(-1, trace.layout.tokens))

    try:
        yield "class-number"
    finally:
        del registry._METHODS["class-number"]


@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6], [6, 2, 0, 4, 1, 5, 3]])
def test_every_picture_is_explained_for_its_own_class(
    vit: Any,
    pictures: torch.Tensor,
    class_number: str,
    batch_size: int,
    order: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = [CLASSES[i] for i in order]
    found = vs.explain(vit, pictures[order], class_number, target=wanted, batch_size=batch_size)
    assert found.maps.amax((1, 2)).tolist() == found.maps.amin((1, 2)).tolist() == wanted
    logits = vit.forward(pictures[order])
    assert torch.allclose(found.scores, logits.gather(1, torch.tensor(wanted)[:, None])[:, 0], atol=1e-4)
    top = vs.explain(vit, pictures[order], class_number, batch_size=batch_size)
    assert top.maps[:, 0, 0].tolist() == logits.argmax(1).tolist()
    assert len(set(logits.argmax(1).tolist())) > 1, "pictures of several classes, or nothing is shown"
    info = dataclasses.replace(
        get_metric("srg"), name="class asked for", function=lambda subject: subject.maps.mean((1, 2))
    )
    monkeypatch.setitem(metric._METRICS, info.name, info)
    for aim, expected in (("label", wanted), ("top1", logits.argmax(1).tolist()), (2, [2] * 7)):
        board = vs.evaluate(
            vit, pictures[order], wanted, [class_number], [info.name], vs.Protocol(target=aim),
            controls=(), batch_size=batch_size,
        )  # fmt: skip
        assert board.state(class_number, info.name).per_image().tolist() == expected  # type: ignore[union-attr]


def test_the_random_control_is_the_mean_over_its_draws(vit: Any, pictures: torch.Tensor) -> None:
    """Mass on the left half of each of three random maps, averaged by hand; one draw alone is far from it."""
    masks = torch.zeros(7, 32, 32, dtype=torch.bool)
    masks[:, :, :16] = True
    keys = [f"k{i}" for i in range(7)]
    protocol = vs.Protocol(random_draws=3, seed=11, upsampling="nearest")
    board = vs.evaluate(
        vit,
        pictures,
        None,
        ["rollout"],
        ["mass"],
        protocol,
        masks=masks,
        keys=keys,
        controls=("random",),
        batch_size=3,
    )
    draws = [uniforms(keys, (4, 4), 11, f"random control {draw}").double() for draw in range(3)]
    masses = torch.stack([draw[:, :, :2].sum((1, 2)) / draw.sum((1, 2)) for draw in draws])
    state = board.state("random", "mass")
    assert state is not None and state.keys == keys
    assert state.per_image().tolist() == pytest.approx(masses.mean(0).tolist(), abs=1e-6)
    assert float((masses[0] - masses.mean(0)).abs().max()) > 0.02
