"""A model whose truth is known, and batches on it: the score is a sum over patches, so every drop is exact."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor

import vitscope as vs
from tests.cli.conftest import shell as shell
from vitscope.evaluation import Protocol
from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.removal.perturbation import Asking, Perturber
from vitscope.models.preparing.cells import Cells

GRID, SIZE, CLASSES = (4, 4), 16, 5


class AdditiveModel:
    """logits = weights · patch brightness; a removed patch adds nothing. Counts what it is asked."""

    def __init__(self, seed: int = 0, grid: tuple[int, int] = GRID) -> None:
        self.grid = grid
        self.weights = torch.randn(grid[0] * grid[1], CLASSES, generator=torch.Generator().manual_seed(seed))
        self.asked = 0
        self.largest = 0

    def patches(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), self.grid).flatten(1)

    def __call__(self, images: Tensor, keep: Tensor | None) -> Tensor:
        self.asked += len(images)
        self.largest = max(self.largest, len(images))
        values = self.patches(images)
        return (values if keep is None else values * keep) @ self.weights

    def contributions(self, images: Tensor, classes: Tensor) -> Tensor:
        """The truth: what each patch adds to the class's logit, (B, h, w)."""
        return (self.patches(images) * self.weights[:, classes].t()).view(-1, *self.grid)


MakeCase = Callable[..., Case]


@pytest.fixture
def additive() -> AdditiveModel:
    return AdditiveModel()


@pytest.fixture
def make_case(additive: AdditiveModel) -> MakeCase:
    """``make_case(count, seed=, keys=, **protocol)``: pictures on the additive model, explained class = top-1."""

    def make(count: int = 3, seed: int = 0, batch_size: int = 64, start: int = 0, **settings: object) -> Case:
        source = torch.Generator().manual_seed(seed)
        chosen = slice(start, start + count)
        images = torch.randn(64, 3, SIZE, SIZE, generator=source)[chosen]
        masks = torch.rand(64, SIZE, SIZE, generator=source)[chosen] > 0.7
        labels = torch.randint(CLASSES, (64,), generator=source)[chosen]
        protocol = Protocol(**{"steps": 8, "random_draws": 2, **settings})  # type: ignore[arg-type]
        classes = additive(images, None).argmax(1)
        runner = Perturber(
            additive,
            images,
            classes,
            Cells.even(additive.grid, (SIZE, SIZE)),
            protocol,
            Asking(batch_size=batch_size),
        )
        boxes = [
            [(2.0, 3.0, 9.0, 12.0), (10.0, 1.0, 15.0, 6.0)][: 1 + i % 2] for i in range(start, start + count)
        ]
        keys = [f"picture {i}" for i in range(start, start + count)]
        return Case(runner, keys, labels, masks, boxes, class_count=CLASSES)

    return make


def subject_of(case: Case, maps: Tensor | None = None, seed: int = 0, flow: bool = False) -> Subject:
    """A subject whose maps depend on the picture (and so on the class) in a fixed way."""

    def explain(images: Tensor, classes: Tensor) -> Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool2d(
            images.mean(1, keepdim=True), case.perturber.grid
        ).squeeze(1)
        return (pooled + 0.1 * seed).sin() * (1 + classes.view(-1, 1, 1)) + 0.3 * (
            classes.view(-1, 1, 1) * pooled
        ).cos()

    found = explain(case.images, case.classes) if maps is None else maps
    layers = torch.stack([found * 0.2 + 0.1 * found.flip(-1), found * 0.7, found], dim=1) if flow else None
    return Subject(case, "test", found, layers, signed=True, explain=explain)


def random_vit(image_size: int, **settings: int) -> vs.Vit:
    """A tiny ViT with patches of 8 pixels and weights that are drawn: pictures of noise are of several classes."""
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(img_size=image_size, patch_size=8, **settings)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    noise = torch.randn(64, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # A drawn head answers one class to everything: nobody could tell for whose class a picture was explained.
        model.head.bias -= model.eval()(noise).mean(0)
    return vs.open_model(model.eval(), image_size=image_size)


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return random_vit(32, embed_dim=24, depth=2, num_heads=3, num_classes=5)
