"""Cases small enough to be computed by hand: one or more for each metric."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vitscope.evaluation import Protocol, get_metric
from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.level_boxes import boxes_above
from vitscope.evaluation.metrics.box_accuracy import best_overlap
from vitscope.evaluation.metrics.flow import block_reaching_of
from vitscope.evaluation.metrics.saco import saco_of
from vitscope.evaluation.metrics.sanity import histogram_entropy
from vitscope.evaluation.metrics.segmentation import BINS, accuracy_of, mean_iou_of, pxap_of
from vitscope.evaluation.metrics.single_deletion import cells_of
from vitscope.evaluation.rank_statistics import auroc, average_precision, entropy, gini, midranks, spearman
from vitscope.evaluation.removal.curves import area, mean_rise, removal_order, step_counts
from vitscope.evaluation.removal.imputation import linear_imputation
from vitscope.evaluation.removal.perturbation import Perturber
from vitscope.models.preparing.cells import Cells


def four_patches(maps: list[float], **settings: Any) -> Subject:
    """A 2×2 picture whose logit for class 0 is 4·p₀ + 2·p₁ + 1·p₂ + 0·p₃ (each p = 1 when kept), class 1 always 3."""
    images = torch.ones(1, 3, 2, 2)

    def model(images: Tensor, keep: Tensor | None) -> Tensor:
        values = images.mean(1).flatten(1)
        values = values if keep is None else values * keep
        first = values @ torch.tensor([4.0, 2.0, 1.0, 0.0])
        return torch.stack([first, torch.full_like(first, 3.0)], dim=1)

    protocol = Protocol(**{"steps": 4, "random_draws": 2, "upsampling": "nearest", **settings})
    runner = Perturber(model, images, torch.tensor([0]), Cells.even((2, 2), (2, 2)), protocol)
    mask = torch.tensor([[[True, True], [False, False]]])
    case = Case(runner, ["hand"], torch.tensor([0]), mask, [[(0.0, 0.0, 2.0, 1.0)]], class_count=2)
    values = torch.tensor(maps, dtype=torch.float32).view(1, 2, 2)
    return Subject(
        case,
        "hand",
        values,
        values.unsqueeze(1),
        signed=True,
        explain=lambda i, c: values.expand(len(i), 2, 2),
    )


def value(name: str, subject: Subject) -> float:
    rows = get_metric(name).function(subject)
    assert rows is not None
    if rows.ndim == 2:
        return float(get_metric(name).finalise(rows.double().sum(0)))
    return float(rows[0])


def test_removal_curves() -> None:
    # MIF takes 4, 2, 1, 0 away: 7, 3, 1, 0, 0. LIF takes 0, 1, 2, 4 away: 7, 7, 6, 4, 0.
    subject = four_patches([4, 2, 1, 0])
    assert value("mif", subject) == pytest.approx((3.5 + 3 + 1 + 0) / 4)
    assert value("lif", subject) == pytest.approx((3.5 + 7 + 6 + 4) / 4)
    assert value("srg", subject) == pytest.approx(13 / 4)
    assert value("srg", four_patches([-4, -2, -1, 0])) == pytest.approx(-13 / 4)
    # MRG + LRG = SRG whatever the random area is.
    assert value("mrg", subject) + value("lrg", subject) == pytest.approx(13 / 4)
    # One block whose map is the map: SRG of the flow is SRG, reached at block 0.
    assert value("flow-srg", subject) == pytest.approx(13 / 4)
    assert value("flow-block-90", subject) == 0


def test_insertion_and_deletion() -> None:
    subject = four_patches([4, 2, 1, 0])
    p = [1 / (1 + math.exp(3 - logit)) for logit in (7, 3, 1, 0, 0)]
    assert value("deletion-patch", subject) == pytest.approx(
        (p[0] / 2 + p[1] + p[2] + p[3] + p[4] / 2) / 4, abs=1e-6
    )
    # RISE's step is one row of pixels, here two of four: logits 7, 1, 0.
    assert value("deletion", subject) == pytest.approx((p[0] / 2 + p[2] + p[3] / 2) / 2, abs=1e-6)
    assert float(subject.curves_kept["deletion"][1][0, 0]) == pytest.approx(p[0], abs=1e-6)
    assert value("insertion-patch", subject) > value("deletion-patch", subject)


def test_average_drop_and_adcc() -> None:
    # m̂ = (1, ½, ¼, 0): the logit on picture × map is 4 + 1 + ¼ = 5¼ after 7.
    subject = four_patches([4, 2, 1, 0])
    p, q = 1 / (1 + math.exp(-4)), 1 / (1 + math.exp(-2.25))
    assert value("average-drop", subject) == pytest.approx((p - q) / p, abs=1e-6)
    assert value("average-increase", subject) == 0
    assert value("average-gain", subject) == 0
    # The explanation does not change: coherency 1; complexity is the mean of m̂, 7/16.
    assert value("adcc", subject) == pytest.approx(3 / (1 + 16 / 9 + p / q), abs=1e-6)
    constant = four_patches([1, 1, 1, 1])
    assert value("average-drop", constant) == 0, "a constant map wins the average drop"


def test_class_perturbation() -> None:
    # Black is negative after normalisation, so the class falls as soon as its pixels go.
    subject = four_patches([4, 2, 1, 0])
    positive, negative = value("positive-perturbation", subject), value("negative-perturbation", subject)
    # Pixels gone at 10..90 %: 0, 0, 1, 1, 2, 2, 2, 3, 3. Right as long as the 4 stays: logit 4 − 2·3 < 3 when it goes.
    assert positive == pytest.approx(100 * 0.1 * (0.5 + 1 + 1 * 0.5 + 0.5), abs=1e-4)
    assert negative > positive


def test_single_removals() -> None:
    assert value("leave-one-out", four_patches([9, 5, 2, 1])) == pytest.approx(1)
    assert value("leave-one-out", four_patches([1, 2, 5, 9])) == pytest.approx(-1)
    assert value("single-deletion", four_patches([9, 5, 1, 2])) == pytest.approx(0.8)
    assert cells_of((14, 14), 4).bincount().tolist()[:4] == [16, 12, 16, 12]
    assert cells_of((2, 3), 4).tolist() == [0, 1, 2, 3, 4, 5]


def test_saco() -> None:
    # Salience 3 > 2 > 1 with drops 5, 1, 4: pairs (1,2) +1, (1,3) +2, (2,3) −1 of |1| + |2| + |1|.
    assert float(saco_of(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[5.0, 1.0, 4.0]]))) == pytest.approx(
        2 / 4
    )
    assert float(saco_of(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[3.0, 2.0, 1.0]]))) == 1
    assert math.isnan(float(saco_of(torch.ones(1, 3), torch.tensor([[3.0, 2.0, 1.0]]))))
    assert value("saco", four_patches([4, 2, 1, 0])) == 1
    assert value("saco", four_patches([0, 1, 2, 4])) == -1


def test_subsets() -> None:
    # With four patches every subset is one patch, so relevance and drop are ordered alike.
    assert value("mu-fidelity", four_patches([4, 2, 1, 0])) == pytest.approx(1)
    assert value("infidelity", four_patches([4, 2, 1, 0])) == pytest.approx(0, abs=1e-9)
    assert value("infidelity", four_patches([8, 4, 2, 0])) == pytest.approx(0, abs=1e-9), "the scale is free"
    assert value("infidelity", four_patches([0, 0, 0, 1])) == pytest.approx(1)


def test_linear_imputation() -> None:
    # One missing pixel amid straight neighbours 6 and diagonal ones 0: 4 · 6 / 6 + 4 · 0 / 12 = 4.
    picture = torch.tensor([[0.0, 6, 0], [6, 99, 6], [0, 6, 0]]).view(1, 1, 3, 3)
    keep = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    keep[..., 1, 1] = False
    assert float(linear_imputation(picture, keep)[0, 0, 1, 1]) == pytest.approx(4, abs=1e-3)
    # In the corner only what exists is averaged: (6/6 + 6/6 + 99/12) / (5/12).
    keep = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    keep[..., 0, 0] = False
    assert float(linear_imputation(picture, keep)[0, 0, 0, 0]) == pytest.approx(
        (2 + 99 / 12) / (5 / 12), abs=1e-2
    )
    assert torch.equal(linear_imputation(picture, torch.ones_like(keep)), picture)
    nothing = linear_imputation(picture, torch.zeros_like(keep))
    assert torch.allclose(nothing, picture.mean().expand_as(picture))


def test_road() -> None:
    assert value("road", four_patches([4, 2, 1, 0])) == pytest.approx(0, abs=0.05), (
        "a flat picture imputes to itself"
    )


def test_localisation() -> None:
    subject = four_patches([4, 2, 1, -1])
    assert value("mass", subject) == pytest.approx(6 / 7)
    assert value("rank-accuracy", subject) == 1
    assert value("rank-accuracy", four_patches([4, 0, 1, -1])) == 0.5
    assert value("pointing", subject) == 1
    assert value("pointing", four_patches([0, 0, 1, 0])) == 0
    assert value("auroc", subject) == 1
    assert value("auroc", four_patches([4, 0, 1, -1])) == pytest.approx(3 / 4)
    assert value("average-precision", four_patches([4, 0, 1, -1])) == pytest.approx((1 + 2 / 3) / 2)
    assert value("grid-pointing", subject) == pytest.approx(6 / 7)
    assert math.isnan(value("mass", four_patches([-1, -2, -3, -4]))), "no positive relevance: n/a"
    nothing = four_patches([4, 2, 1, -1])
    nothing.case.masks = torch.zeros(1, 2, 2, dtype=torch.bool)
    for name in ("mass", "rank-accuracy", "pointing", "auroc", "average-precision"):
        assert math.isnan(value(name, nothing)), "nothing to find: n/a"


def test_segmentation() -> None:
    # m̂ = (1, .6, .4, 0), mean .5: the two upper pixels, which is the mask.
    assert value("segmentation-accuracy", four_patches([4, 2, 1, -1])) == 1
    # m̂ = (1, .2, .4, 0), mean .4: only the first; 3 of 4 right, IoU 1/2 and 2/3.
    wrong = four_patches([4, 0, 1, -1])
    assert value("segmentation-accuracy", wrong) == pytest.approx(3 / 4)
    assert value("segmentation-miou", wrong) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert value("segmentation-accuracy-half", wrong) == pytest.approx(3 / 4)
    assert value("segmentation-miou-half", wrong) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert value("segmentation-map", four_patches([1, 1, 0, 0])) == 1
    assert float(accuracy_of(torch.tensor([3.0, 4, 2, 3, 1, 2]))) == 0.75
    assert float(mean_iou_of(torch.tensor([3.0, 4, 2, 3, 1, 2]))) == pytest.approx(7 / 12)
    histogram = torch.zeros(2 * BINS)
    histogram[900], histogram[500], histogram[BINS + 700] = 1, 1, 1
    assert float(pxap_of(histogram)) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert value("pxap", four_patches([4, 2, 1, -1])) == 1


def test_boxes() -> None:
    found = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]]])
    (boxes,) = boxes_above(found, [0.5, 2.0])
    above, nothing = ([tuple(box) for box in step.tolist() if any(box)] for step in boxes)
    assert sorted(above) == [(0, 0, 2, 2), (0, 3, 1, 4)], "diagonal neighbours belong together"
    assert nothing == []
    assert best_overlap(np.array([[0, 0, 2, 2]]), [(1, 0, 3, 2)]) == pytest.approx(1 / 3)
    assert best_overlap(boxes, [(1, 0, 3, 2)]).tolist() == [pytest.approx(1 / 3), 0]
    assert value("max-box-acc-v2", four_patches([4, 2, 1, -1])) == 1
    # Any threshold of this map gives the column, the corner or everything: IoU 1/3, 1/2, 1/2.
    assert value("max-box-acc-v2", four_patches([4, 0, 3, 0])) == pytest.approx(2 / 3)


def test_explaining_anew() -> None:
    subject = four_patches([4, 2, 1, 0])
    assert value("class-sensitivity", subject) == pytest.approx(0), "the map does not depend on the class"
    assert value("max-sensitivity", subject) == 0
    assert value("lipschitz", subject) == 0
    subject.explain = lambda images, classes: torch.tensor([0.0, 1, 2, 4]).view(1, 2, 2)
    assert value("class-sensitivity", subject) == pytest.approx(2)
    agnostic = four_patches([4, 2, 1, 0])
    agnostic.class_specific = False
    assert value("class-sensitivity", agnostic) == 0


def test_sanity() -> None:
    subject = four_patches([4, 2, 1, 0])
    other = torch.tensor([[[0.0, 1], [2, 4]]])
    subject.case.cascade = object()  # type: ignore[assignment]
    subject.cascade_maps = lambda images, classes: iter([subject.maps, other])
    subject.last_maps = lambda images, classes: torch.tensor([[[1.0, 1], [0, 0]]])
    assert value("mprt", subject) == pytest.approx((1 - 1) / 2)
    assert value("emprt", subject) == pytest.approx((math.log(2) - math.log(4)) / math.log(4))
    assert float(histogram_entropy(torch.tensor([[[0.0, 1], [2, 4]]]))) == pytest.approx(math.log(4))
    subject.cascade_maps = lambda images, classes: iter([other.expand(len(images), 2, 2)])
    assert value("smprt", subject) == pytest.approx(-1)


def test_adding_up() -> None:
    assert value("completeness", four_patches([4, 2, 1, 0])) == pytest.approx(0, abs=1e-5)
    assert value("completeness", four_patches([4, 2, 1, 2])) == pytest.approx(2, abs=1e-5)
    assert value("conservation", four_patches([4, 2, 1, 2])) == pytest.approx(2, abs=1e-5)
    part = four_patches([4, 2, 1, 0])
    part.total_of = lambda: torch.tensor([6.5])  # a prefix token with −0.5
    assert value("conservation", part) == pytest.approx(0.5, abs=1e-5)


def test_complexity() -> None:
    assert float(entropy(torch.ones(1, 8))) == pytest.approx(math.log(8))
    assert float(entropy(torch.tensor([[1.0, 0, 0, 0]]))) == 0
    assert float(gini(torch.ones(1, 8))) == pytest.approx(0)
    assert float(gini(torch.tensor([[1.0, 0, 0, 0]]))) == pytest.approx(3 / 4)
    assert math.isnan(float(entropy(torch.zeros(1, 4))))
    assert value("entropy", four_patches([1, 1, 1, 1])) == pytest.approx(math.log(4))
    assert value("gini", four_patches([1, 1, 1, 1])) == pytest.approx(0)


def test_flow_block() -> None:
    # Means over two pictures: 1, 9, 10 of a final 10; 90 % are reached in block 1, counted from 0.
    assert float(block_reaching_of(torch.tensor([2.0, 18, 20, 2]))) == 1
    assert math.isnan(float(block_reaching_of(torch.tensor([2.0, 18, -1, 2]))))


def test_ranks_and_areas() -> None:
    assert midranks(torch.tensor([3.0, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]
    assert float(spearman(torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 3, 2]))) == pytest.approx(0.5)
    assert math.isnan(float(spearman(torch.ones(3), torch.tensor([1.0, 3, 2]))))
    assert float(auroc(torch.tensor([1.0, 1, 0]), torch.tensor([True, False, False]))) == pytest.approx(0.75)
    assert float(
        average_precision(torch.tensor([1.0, 1, 0]), torch.tensor([True, False, False]))
    ) == pytest.approx(0.5)
    assert step_counts(196, 4) == [0, 49, 98, 147, 196]
    assert step_counts(3, 8) == [0, 1, 2, 3]
    assert float(area(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))) == 0.5
    assert float(mean_rise(torch.tensor([1.0, 1, 0]))) == 0.75


def test_order() -> None:
    order = removal_order(torch.tensor([[1.0, float("nan"), 3.0, 2.0]]), ["a"], 0)
    assert order.tolist() == [[2, 3, 0, 1]], "NaN is the least relevant"


def test_pictures_whose_prediction_flips_are_no_measure_of_stability() -> None:
    """Three pictures, the second at the very edge of its class: noise flips it, and it is left out whatever it gives.

    Class 0 is the brightness and class 1 is 1; noise moves the brightness by at most 0.02 (a hundredth of a hundredth
    of which is the second picture's lead), or by 0.1 times a normal number averaged over 12 values. Every noisy map is
    twice the map of the first picture, five times that of the second, and 1.5 times that of the third.
    """
    factors = torch.tensor([2.0, 5.0, 1.5])
    images = torch.tensor([3.0, 1.000001, -1.0]).view(3, 1, 1, 1).expand(3, 3, 2, 2).clone()

    def model(images: Tensor, keep: Tensor | None) -> Tensor:
        brightness = images.mean((1, 2, 3))
        return torch.stack([brightness, torch.ones_like(brightness)], dim=1)

    for order in ([0, 1, 2], [1, 2, 0]):
        chosen = images[order]
        runner = Perturber(
            model, chosen, torch.zeros(3, dtype=torch.long), Cells.even((2, 2), (2, 2)), Protocol()
        )
        case = Case(runner, [f"picture {i}" for i in order], class_count=2)
        maps = torch.tensor([4.0, 2, 1, 0]).view(1, 2, 2).expand(3, 2, 2)
        turned = maps.flip(1)
        scale = factors[order].view(3, 1, 1)
        subject = Subject(case, "hand", maps, explain=lambda i, c, scale=scale, maps=maps: scale * maps)
        found = get_metric("max-sensitivity").function(subject)
        assert found is not None
        expected = [1.0, math.nan, 0.5]
        assert found.tolist() == pytest.approx([expected[i] for i in order], nan_ok=True)
        subject = Subject(case, "hand", maps, explain=lambda i, c, turned=turned: turned)
        found = get_metric("lipschitz").function(subject)
        assert found is not None
        assert found.isnan().tolist() == [i == 1 for i in order]
