"""Models that answer anything, raise, or change their input: a right map or one line, and nothing is left changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.tracing.test_answers import small
from vitscope.errors import VitscopeError


class Model(nn.Module):
    """A small ViT whose answer is changed."""

    def __init__(self, change: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.vit, self.change = small(), change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.vit(x), x)


class NeedsMore(nn.Module):
    """Cannot be called with pictures alone."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = small()

    def forward(self, x: Tensor, *, scale: float) -> Tensor:
        answer: Tensor = self.vit(x) * scale
        return answer


class ChangesInput(nn.Module):
    """Normalises its input in place, as careless models do."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = small()

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.vit(x.sub_(0.5).div_(0.5))
        return answer


class NoAttention(nn.Module):
    """One linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 4)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(x.flatten(1))
        return answer


class Nothing(nn.Module):
    """No parameters at all."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def raises(answer: Tensor, x: Tensor) -> Tensor:
    raise RuntimeError("the model is\nbroken")


def asserts(answer: Tensor, x: Tensor) -> Tensor:
    assert x.shape[0] > 10**6
    return answer


def recurses(answer: Tensor, x: Tensor) -> Tensor:
    return recurses(answer, x)


ANSWERS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "nothing": lambda answer, x: None,
    "a text": lambda answer, x: "cat",
    "a number": lambda answer, x: 3,
    "an empty tuple": lambda answer, x: (),
    "an empty mapping": lambda answer, x: {},
    "a tuple of nothing": lambda answer, x: (None, None),
    "a generator": lambda answer, x: (each for each in [answer]),
    "a mapping": lambda answer, x: {"scores": answer},
    "a mapping with logits": lambda answer, x: {"logits": answer, "loss": None},
    "a list of two": lambda answer, x: [answer, answer + 1],
    "whole numbers": lambda answer, x: answer.argmax(1),
    "complex numbers": lambda answer, x: answer.to(torch.complex64),
    "no classes": lambda answer, x: answer[:, :0],
    "one number": lambda answer, x: answer.sum(),
    "one picture too few": lambda answer, x: answer[:-1],
    "without a batch": lambda answer, x: answer[0],
    "without a gradient": lambda answer, x: answer.detach(),
    "a constant": lambda answer, x: torch.zeros_like(answer),
    "NaN": lambda answer, x: answer * float("nan"),
    "infinity": lambda answer, x: answer + float("inf"),
    "another answer each time": lambda answer, x: answer + torch.rand_like(answer),
    "the input": lambda answer, x: x,
    "itself as numpy": lambda answer, x: answer.detach().numpy(),
    "a class": lambda answer, x: Tensor,
    "an error": raises,
    "an assertion": asserts,
    "endless recursion": recurses,
}


def switches(module: nn.Module) -> list[Any]:
    """What may not be changed."""
    return [
        [(name, value.requires_grad, value.grad is None, float(value.detach().double().sum()))
         for name, value in module.named_parameters()],
        [(part.training, len(part._forward_hooks), len(part._forward_pre_hooks), "forward" in vars(part))
         for part in module.modules()],
    ]  # fmt: skip


def explained(module: nn.Module, images: Tensor) -> vs.Explanation | None:
    """The map of a model, None where it is refused in one line."""
    before, given = switches(module), images.clone()
    try:
        vit = vs.open_model(module, image_size=32, preprocess="half")
        return vs.explain(vit, images, "gae", target=1)
    except VitscopeError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 600
        return None
    finally:
        assert switches(module) == before
        assert torch.equal(images, given)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("answer", ANSWERS)
def test_any_answer(images: Tensor, answer: str) -> None:
    found = explained(Model(ANSWERS[answer]), images)
    right = vs.explain(vs.open_model(small(), image_size=32, preprocess="half"), images, "gae", target=1).maps
    if answer == "a mapping with logits":
        assert found is not None
    if found is not None and answer != "another answer each time":
        assert torch.allclose(found.maps, right, atol=1e-6), "the map of something else"


@pytest.mark.parametrize("module", [NeedsMore, NoAttention, Nothing])
def test_models_that_cannot_be_explained(images: Tensor, module: type[nn.Module]) -> None:
    assert explained(module(), images) is None


def test_a_model_that_changes_its_input_changes_a_copy(images: Tensor) -> None:
    found = explained(ChangesInput(), images)
    right = vs.explain(
        vs.open_model(small(), image_size=32, preprocess="half"), (images - 0.5) / 0.5, "gae", target=1
    )
    assert found is not None
    torch.testing.assert_close(found.maps, right.maps)
