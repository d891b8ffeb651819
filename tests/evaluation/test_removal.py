"""Removal operators: pixels by the formula, tokens on real architectures, and the rule for the empty end point."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import timm
import torch
from scipy import ndimage
from torch import Tensor

import vitscope as vs
from vitscope.errors import EvaluationError
from vitscope.evaluation import Protocol
from vitscope.evaluation.removal.perturbation import Asking, Perturber
from vitscope.evaluation.removal.pixels import (
    blurred,
    composite,
    rise_blur,
    unit_range,
)
from vitscope.models.preparing.cells import Cells

from .conftest import SIZE, AdditiveModel


def small(**options: Any) -> Any:
    torch.manual_seed(0)
    settings = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 3,
        "num_classes": 5,
    }
    return vs.open_model(timm.models.VisionTransformer(**{**settings, **options}).eval(), image_size=32)


def runner_of(vit: Any, images: Tensor, removal: str, **settings: Any) -> Perturber:
    from vitscope.evaluation.running.run import model_call

    protocol = Protocol(removal=removal, **settings)
    classes = vit.forward(images).argmax(1)
    pooled = vit.anatomy.pooling in ("class", "class+distillation")
    return Perturber(
        model_call(vit, removal),
        images,
        classes,
        Cells.even((4, 4), (SIZE, SIZE)),
        protocol,
        Asking(class_token=pooled),
    )


KINDS = {
    "class token": {},
    "registers": {"reg_tokens": 3},
    "mean pooling": {"class_token": False, "global_pool": "avg"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_drop_equals_mask(kind: str) -> None:
    vit = small(**KINDS[kind])
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    source = torch.Generator().manual_seed(2)
    keep = torch.stack(
        [torch.randperm(16, generator=source) < count for count in (1, 5, 9, 15) for _ in range(3)]
    )
    index = torch.arange(3).repeat(4)
    masked, dropped = (runner_of(vit, images, removal).remove(index, keep) for removal in ("mask", "drop"))
    assert torch.allclose(masked.logit, dropped.logit, atol=1e-4)
    assert torch.allclose(masked.normaliser, dropped.normaliser, atol=1e-4)
    assert torch.equal(masked.top, dropped.top)
    assert float((masked.logit - runner_of(vit, images, "mask").clean().logit[index]).abs().max()) > 1e-3


def test_the_shorter_sequence_stands_for_the_mask_only_where_it_is_equal() -> None:
    from vitscope.evaluation.running.run import shortens

    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for settings in KINDS.values():
        assert shortens(small(**settings), images)
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=56, embed_dim=24, depths=(1, 1, 1, 1), num_classes=5
    )
    assert not shortens(vs.open_model(swin.eval(), image_size=56), torch.randn(2, 3, 56, 56))


@pytest.mark.parametrize("removal", ["mask", "zero"])
def test_the_scores_of_mask_do_not_depend_on_how_it_is_done(
    removal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by the shorter sequence, once with masked keys: the same protocol, the same scores."""
    vit = small()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    metrics = ["srg", "mrg", "leave-one-out", "saco", "mu-fidelity"]
    protocol = Protocol(removal=removal, steps=5, random_draws=2)
    short = vs.evaluate(vit, images, None, ["daam"], metrics, protocol)
    module = sys.modules["vitscope.evaluation.running.checkpoint"]
    monkeypatch.setattr(module, "shortens", lambda vit, images: False)
    masked = vs.evaluate(vit, images, None, ["daam"], metrics, protocol)
    assert short.protocol == masked.protocol
    assert short.total_evaluations == masked.total_evaluations
    for metric in metrics:
        first, second = (board.interval("daam", metric).value for board in (short, masked))
        assert first == pytest.approx(second, abs=1e-4)


def test_a_removed_token_leaves_an_average() -> None:
    """Twin: a mean-pooled model on the shorter sequence, run by hand."""
    vit = small(**KINDS["mean pooling"])
    model = vit.model
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    keep = torch.arange(16).view(1, 16) % 3 != 0
    with torch.no_grad():
        tokens = model.patch_embed(images) + model.pos_embed
        tokens = tokens[:, keep[0]]
        for block in model.blocks:
            tokens = block(tokens)
        expected = model.head(model.fc_norm(model.norm(tokens).mean(1)))
    runner = runner_of(vit, images, "mask")
    found = runner.remove(torch.zeros(1, dtype=torch.long), keep)
    assert float(found.logit) == pytest.approx(float(expected[0, runner.classes[0]]), abs=1e-4)


def test_the_empty_end_point() -> None:
    """With a class token: the model without any patch. Without: the picture of the mean colour, as documented."""
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    vit = small()
    runner = runner_of(vit, images, "mask")
    model = vit.model
    with torch.no_grad():
        tokens = (model.cls_token + model.pos_embed[:, :1]).expand(2, -1, -1)
        for block in model.blocks:
            tokens = block(tokens)
        alone = model.head(model.norm(tokens)[:, 0])
    assert torch.allclose(
        runner.empty().logit, alone.gather(1, runner.classes.view(-1, 1)).squeeze(1), atol=1e-4
    )

    vit = small(**KINDS["mean pooling"])
    runner = runner_of(vit, images, "drop")
    grey = vit.forward(runner.fill("mean"))
    assert torch.allclose(
        runner.empty().logit, grey.gather(1, runner.classes.view(-1, 1)).squeeze(1), atol=1e-5
    )
    none = runner.remove(torch.arange(2), torch.zeros(2, 16, dtype=torch.bool))
    assert torch.equal(none.logit, runner.empty().logit)


@pytest.mark.parametrize("removal", ["mean", "blur", "zero", "black"])
def test_pixel_operators(removal: str) -> None:
    model = AdditiveModel()
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    colour = (0.2, 0.4, 0.6) if removal == "mean" else None
    runner = Perturber(
        model,
        images,
        torch.tensor([0, 1]),
        Cells.even((4, 4), (SIZE, SIZE)),
        Protocol(removal=removal, mean_colour=colour),
        Asking(batch_size=3),
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    keep = torch.arange(16) % 2 == 0
    found = runner.remove(torch.tensor([1]), keep.view(1, 16))
    expected = images[1].clone()
    filled = {
        "mean": ((torch.tensor([0.2, 0.4, 0.6]) - mean) / std).view(3, 1, 1).expand(3, SIZE, SIZE),
        "black": (-mean / std).view(3, 1, 1).expand(3, SIZE, SIZE),
        "zero": torch.zeros(3, SIZE, SIZE),
        "blur": blurred(images)[1],
    }[removal]
    for patch in range(16):
        if not keep[patch]:
            y, x = 4 * (patch // 4), 4 * (patch % 4)
            expected[:, y : y + 4, x : x + 4] = filled[:, y : y + 4, x : x + 4]
    assert float(found.logit) == pytest.approx(float(model(expected.unsqueeze(0), None)[0, 1]), abs=1e-5)
    assert float(runner.empty().logit[1]) == pytest.approx(
        float(model(filled.unsqueeze(0), None)[0, 1]), abs=1e-5
    )


def test_rise_blur_is_the_published_kernel() -> None:
    import numpy as np

    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = torch.tensor(ndimage.gaussian_filter(point, 5))
    spot = torch.zeros(1, 3, 21, 21)
    spot[:, :, 10, 10] = 1
    assert torch.allclose(rise_blur(spot)[0, 0, 5:16, 5:16], kernel.float(), atol=1e-6)
    assert float(rise_blur(spot)[0, 0, 4].abs().sum()) == 0


def test_blur_keeps_what_is_flat() -> None:
    flat = torch.full((1, 3, 20, 30), 0.7)
    assert torch.allclose(blurred(flat), flat, atol=1e-5)
    assert blurred(torch.randn(1, 3, 64, 64)).std() < 0.2


def test_masks_at_any_size() -> None:
    keep = torch.tensor([[True, False, False, True]])
    mask = Cells.even((2, 2), (5, 4)).kept(keep)
    assert mask.shape == (1, 1, 5, 4)
    assert mask[0, 0, 0].tolist() == [True, True, False, False]
    assert mask[0, 0, 4].tolist() == [False, False, True, True]
    assert float(composite(torch.ones(1, 3, 5, 4), torch.zeros(1, 3, 5, 4), mask).mean()) == pytest.approx(
        0.5
    )
    assert unit_range(torch.full((1, 2, 2), 3.0)).tolist() == [[[1, 1], [1, 1]]]


def test_evaluations_are_counted_and_shared() -> None:
    from vitscope.evaluation.case import Case

    from .conftest import subject_of

    model = AdditiveModel()
    images = torch.randn(3, 3, SIZE, SIZE)
    runner = Perturber(
        model,
        images,
        torch.tensor([0, 1, 2]),
        Cells.even((4, 4), (SIZE, SIZE)),
        Protocol(steps=8),
        Asking(batch_size=5),
    )
    case = Case(runner, ["a", "b", "c"])
    subject_of(case).curves()
    # Clean and empty once per picture; seven inner points of two curves each.
    assert runner.evaluations == model.asked == 3 * 2 + 3 * 14
    assert model.largest <= 5
    subject_of(case, seed=3).curves()
    assert runner.evaluations == 3 * 2 + 2 * 3 * 14, "the end points are asked for once"
    case.random_area()
    before = runner.evaluations
    case.random_area()
    assert runner.evaluations == before == 3 * 2 + 12 * 3 * 14


def test_known_clean_logits_are_adopted() -> None:
    model = AdditiveModel()
    images = torch.randn(2, 3, SIZE, SIZE)
    runner = Perturber(model, images, torch.tensor([0, 1]), Cells.even((4, 4), (SIZE, SIZE)), Protocol())
    runner.adopt_clean(model(images, None))
    model.asked = 0
    assert runner.clean().logit.shape == (2,)
    assert model.asked == 0


def test_what_it_refuses() -> None:
    images = torch.randn(1, 3, SIZE, SIZE)
    with pytest.raises(EvaluationError, match="batch size"):
        Asking(batch_size=0)
    with pytest.raises(EvaluationError, match="pixel removal"):
        Perturber(
            AdditiveModel(), images, torch.tensor([0]), Cells.even((4, 4), (SIZE, SIZE)), Protocol()
        ).fill("mask")
