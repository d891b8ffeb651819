"""NaN, infinity and a gradient that does not come back are told: never a prediction, a score or a map made of them."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from vitscope.errors import AnswerError, VitscopeError
from vitscope.tracing import Vit

GRADIENT_METHODS = ["gmar", "gae", "dart", "attnlrp", "saliency"]


def small(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    size = {"img_size": 32, "num_classes": 4, "depth": 3, "embed_dim": 12, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", **{**size, **options}).eval()


def pictures(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Spoilt(nn.Module):
    """Answers ``value`` for bright pictures, at one class or at all."""

    def __init__(self, value: float, classes: slice = slice(None), brighter_than: float = 10) -> None:
        super().__init__()
        self.vit, self.value, self.classes, self.limit = small(), value, classes, brighter_than

    def forward(self, x: Tensor) -> Tensor:
        logits = self.vit(x).clone()
        bright = x.mean((1, 2, 3)) > self.limit
        logits[bright, self.classes] = self.value
        return logits


def opened(model: nn.Module) -> Vit:
    return vs.open_model(model, image_size=32, classes=4)


def with_bright(*positions: int, count: int = 5) -> Tensor:
    x = pictures(count)
    x[list(positions)] += 100
    return x


CALLS: dict[str, Callable[[Vit, Tensor], Any]] = {
    "explain": lambda vit, x: vs.explain(vit, x, "gmar", batch_size=2),
    "explain without gradient": lambda vit, x: vs.explain(vit, x, "rollout", batch_size=2),
    "pixels": lambda vit, x: vs.explain(vit, x, "occlusion"),
    "trace": lambda vit, x: vit.trace(x),
    "predict": lambda vit, x: vit.predict(x, batch_size=2),
    "score": lambda vit, x: vit.score(x, vit.trace(pictures(5)).resolved),  # type: ignore[arg-type]
    "cache": lambda vit, x: vit.cache(x),
    "evaluate": lambda vit, x: vs.evaluate(
        vit, list(x), methods=["gae"], metrics=["srg"], controls=(), protocol=vs.Protocol(steps=2)
    ),
    "importance": lambda vit, x: vs.heads.importance(vit, x),
    "strength": lambda vit, x: vs.heads.strength(vit, x),
}


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", CALLS)
def test_answers_that_are_no_numbers_are_told_with_their_pictures(name: str, value: float) -> None:
    vit = opened(Spoilt(value))
    with pytest.raises(VitscopeError, match="NaN" if math.isnan(value) else "infinity") as error:
        CALLS[name](vit, with_bright(3, count=5))
    assert "\n" not in str(error.value) and ";" in str(error.value)
    if name.startswith("explain"):
        assert isinstance(error.value, AnswerError) and error.value.pictures == (3,)
        assert "picture 3 " in str(error.value)
    CALLS[name](vit, pictures(5))


@pytest.mark.parametrize("name", ["predict", "explain", "cache"])
def test_minus_infinity_at_every_class(name: str) -> None:
    with pytest.raises(AnswerError, match="infinity"):
        CALLS[name](opened(Spoilt(-math.inf)), with_bright(3))


def test_one_class_of_many_is_enough() -> None:
    with pytest.raises(AnswerError, match="infinity"):
        vs.explain(opened(Spoilt(math.inf, slice(2, 3))), with_bright(0, 1), "rollout")


def test_a_class_that_cannot_be_is_no_error_unless_it_is_asked_for() -> None:
    vit = opened(Spoilt(-math.inf, slice(2, 3)))
    plain = opened(vit.model.vit)
    x = with_bright(0, 1, count=2)
    torch.testing.assert_close(
        vs.explain(vit, x, "gae", target=1).maps, vs.explain(plain, x, "gae", target=1).maps
    )
    with pytest.raises(AnswerError, match="infinity"):
        vs.explain(vit, x, "gae", target=2)


def test_a_score_of_ones_own_that_is_nan() -> None:
    def entropy(output: Tensor) -> Tensor:
        p = torch.zeros_like(output)
        return (p * p.log()).sum(1) * output[:, 0]

    with pytest.raises(AnswerError, match="NaN"):
        vs.explain(opened(small()), pictures(), "gae", target=entropy)


def test_nan_in_the_weights_of_a_module() -> None:
    model = small()
    model.blocks[1].attn.qkv.weight.data[0, 0] = math.nan
    for method in ("rollout", "gmar", "daam", "dart"):
        with pytest.raises(AnswerError, match="NaN"):
            vs.explain(opened(model), pictures(), method)


# ---- a way back that is cut -------------------------------------------------------------------------------------
class HalfFrozen(nn.Module):
    """The first blocks under no_grad, as partial fine-tuning is written."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.vit, self.count = small(), count

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.vit._pos_embed(self.vit.patch_embed(x))
            for block in self.vit.blocks[: self.count]:
                x = block(x)
        for block in self.vit.blocks[self.count :]:
            x = block(x)
        return self.vit.forward_head(self.vit.norm(x))


class DetachedBranch(nn.Module):
    """One block's attention branch is detached; the stream goes on beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = small()
        self.vit.blocks[1].attn.register_forward_hook(lambda _, __, output: output.detach())

    def forward(self, x: Tensor) -> Tensor:
        return self.vit(x)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_blocks_under_no_grad_are_named_or_the_map_is_refused(method: str) -> None:
    vit = opened(HalfFrozen(2))
    try:
        found = vs.explain(vit, pictures(), method, target=1)
    except VitscopeError as error:
        assert "\n" not in str(error) and "cut" in str(error)
        return
    assert any("blocks 0, 1" in note and "no gradient" in note for note in found.metadata["notes"])
    assert bool(found.maps.flatten(1).any(1).all())


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_integer_layers_are_refused(method: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(copy.deepcopy(small()), {nn.Linear}, dtype=torch.qint8)
        with pytest.raises(VitscopeError, match="cut") as error:
            vs.explain(opened(model), pictures(), method, target=1)
        assert "\n" not in str(error.value)
        assert vs.explain(opened(model), pictures(), "rollout").maps.isfinite().all()


def test_a_detached_branch_is_named() -> None:
    vit = opened(DetachedBranch())
    for method in ("gmar", "gae"):
        notes = vs.explain(vit, pictures(), method).metadata["notes"]
        assert any("block 1 " in note and "no gradient" in note for note in notes), notes
    assert not any("no gradient" in note for note in vs.explain(vit, pictures(), "rollout").metadata["notes"])


def test_a_whole_model_has_no_such_note() -> None:
    for method in GRADIENT_METHODS:
        assert not any(
            "gradient" in n for n in vs.explain(opened(small()), pictures(), method).metadata["notes"]
        )


def test_notes_of_every_batch_are_kept() -> None:
    found = vs.explain(opened(HalfFrozen(2)), pictures(4), "gae", batch_size=1)
    assert sum("no gradient" in note for note in found.metadata["notes"]) == 1


class Sure(nn.Module):
    """Logits 1000 apart: the softmax is exactly 1 and its gradient exactly 0."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = small()

    def forward(self, x: Tensor) -> Tensor:
        return self.vit(x) + torch.tensor([1000.0, 0, 0, 0])


@pytest.mark.parametrize("method", ["gae", "saliency"])
def test_a_score_that_is_flat_is_told_in_the_notes(method: str) -> None:
    found = vs.explain(opened(Sure()), pictures(3), method, target="top1:probability")
    assert not found.maps.any()
    assert any("flat at some pictures" in note for note in found.metadata["notes"])
    found = vs.explain(opened(Sure()), pictures(), method)
    assert found.maps.any() and not any("flat" in note for note in found.metadata["notes"])


def test_one_flat_score_among_others_leaves_the_others_as_they_are() -> None:
    x, vit = pictures(3), opened(small())
    logits = vit.predict(x)[:, 0]
    hinge = logits.min() + 1e-6

    def score(output: Tensor) -> Tensor:
        return (output[:, 0] - hinge).clamp_min(0)

    found, whole = vs.explain(vit, x, "gae", target=score), vs.explain(vit, x, "gae", target=0)
    for row in range(3):
        wanted = torch.zeros_like(whole.maps[row]) if row == int(logits.argmin()) else whole.maps[row]
        torch.testing.assert_close(found.maps[row], wanted)
    assert any("flat" in note for note in found.metadata["notes"])
