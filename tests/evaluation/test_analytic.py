"""Metrics on a ViT whose attribution and whose answer to every removal are known in closed form.

The model is that of the methods' tests: logit_c is the mean of colour c over all N tokens, the class token being 0.
So without the patches S it is (sum of the rest) / N when their pixels are zero, / (N - |S|) when their keys are masked.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import vitscope as vs

from ..methods.test_analytic import GRID, AnalyticViT, N, P

C = 1


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return vs.open_model(AnalyticViT().eval(), image_size=(16, 20), blocks=["block"])


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """Colour amounts per patch, (3, 20, 3)."""
    return torch.rand(3, P, 3, generator=torch.Generator().manual_seed(8)).double().numpy()


@pytest.fixture(scope="module")
def images(colours: np.ndarray) -> torch.Tensor:
    grid = torch.tensor(colours).float().transpose(1, 2).reshape(3, 3, *GRID)
    return grid.repeat_interleave(4, 2).repeat_interleave(4, 3)


def scored(
    vit: Any, images: torch.Tensor, metrics: list[str], **settings: Any
) -> dict[tuple[str, str], list[float]]:
    """{(method, metric): value per picture} of the exact method, its opposite and the controls."""
    more = {name: settings.pop(name) for name in ("masks", "methods") if name in settings}
    protocol = vs.Protocol(**{"target": C, "steps": P, "random_draws": 2, **settings})
    board = vs.evaluate(
        vit, images, None, protocol=protocol, metrics=metrics, **{"methods": ["daam"], **more}
    )
    return {
        (str(place[0]), str(place[1])): part["value"].tolist()
        for place, part in board.per_image().groupby(["method", "metric"], sort=False)
    }


def trapezoid(values: list[float]) -> float:
    return sum((a + b) / 2 for a, b in pairwise(values)) / (len(values) - 1)


@pytest.mark.parametrize("removal", ["zero", "mask", "drop"])
def test_removal_curves_have_their_closed_form(vit, images, colours, removal):
    found = scored(vit, images, ["mif", "lif", "srg", "mrg", "lrg"], removal=removal)
    for i in range(3):
        x = sorted(colours[i, :, C], reverse=True)
        size = (lambda k: N) if removal == "zero" else (lambda k: N - k)
        most = [sum(x[k:]) / size(k) for k in range(P + 1)]
        least = [sum(x[: P - k]) / size(k) for k in range(P + 1)]
        assert found["daam", "mif"][i] == pytest.approx(trapezoid(most), abs=1e-5)
        assert found["daam", "lif"][i] == pytest.approx(trapezoid(least), abs=1e-5)
        gain = trapezoid(least) - trapezoid(most)
        assert found["daam", "srg"][i] == pytest.approx(gain, abs=1e-5)
        assert found["inverse of daam", "srg"][i] == pytest.approx(-gain, abs=1e-5)
        assert found["daam", "mrg"][i] + found["daam", "lrg"][i] == pytest.approx(gain, abs=1e-5)
        for name in ("raw-attention", "random", "uniform", "centre-gaussian", "edges"):
            assert found[name, "srg"][i] < gain, "the exact map is beaten by nothing"


def test_deletion_and_insertion_by_patches(vit, images, colours):
    """Probabilities from the three closed logits while patches go to zero, and while they come back from zero."""
    found = scored(vit, images, ["deletion-patch"], removal="zero")
    for i in range(3):
        order = np.argsort(-colours[i, :, C])
        curve = []
        for k in range(P + 1):
            logits = colours[i][order[k:]].sum(0) / N
            curve.append(float(np.exp(logits[C]) / np.exp(logits).sum()))
        assert found["daam", "deletion-patch"][i] == pytest.approx(trapezoid(curve), abs=1e-6)
        assert curve[-1] == pytest.approx(1 / 3), "nothing left says nothing of the class"


def test_single_removals_and_groups_are_ranked_perfectly(vit, images):
    found = scored(vit, images, ["leave-one-out", "saco", "mu-fidelity"], removal="zero")
    for metric in ("leave-one-out", "saco"):
        assert found["daam", metric] == pytest.approx([1, 1, 1])
        assert found["inverse of daam", metric] == pytest.approx([-1, -1, -1])
    assert min(found["daam", "mu-fidelity"]) > 0.999
    assert np.isnan(found["uniform", "leave-one-out"]).all(), "a constant map has no rank correlation"
    # Where keys are masked the rest is averaged over fewer: the order of single removals is the same.
    assert scored(vit, images, ["leave-one-out"], removal="mask")["daam", "leave-one-out"] == pytest.approx(
        [1, 1, 1]
    )


def test_maps_that_add_up(vit, images):
    """Input × gradient of a linear model is exact: its sum is the score, and so is every subset's share."""
    found = scored(
        vit,
        images,
        ["completeness", "conservation", "infidelity"],
        removal="zero",
        methods=["input-x-gradient"],
    )
    for metric in ("completeness", "conservation", "infidelity"):
        assert found["input-x-gradient", metric] == pytest.approx([0, 0, 0], abs=1e-5)


def test_localisation_is_the_share_of_the_patch(vit, images, colours):
    """The mask is one patch: its mass is its share of the colour, and it wins when it is the most coloured one."""
    chosen = [int(colours[i, :, C].argmax()) if i else 3 for i in range(3)]
    masks = torch.zeros(3, P, dtype=torch.bool)
    masks[range(3), chosen] = True
    masks = masks.view(3, *GRID).repeat_interleave(4, 1).repeat_interleave(4, 2)
    found = scored(
        vit, images, ["mass", "pointing", "rank-accuracy", "auroc"], masks=masks, upsampling="nearest"
    )
    for i, patch in enumerate(chosen):
        x = colours[i, :, C]
        assert found["daam", "mass"][i] == pytest.approx(x[patch] / x.sum(), abs=1e-6)
        assert found["daam", "auroc"][i] == pytest.approx((x < x[patch]).sum() / (P - 1), abs=1e-9)
        assert found["daam", "pointing"][i] == found["daam", "rank-accuracy"][i] == float(patch == x.argmax())
        assert found["uniform", "mass"][i] == pytest.approx(1 / P)


def test_class_sensitivity_of_known_colours(vit, images, colours):
    """1 − Spearman between the colours of the class and of the one that was drawn for the picture."""
    from scipy import stats

    found = scored(vit, images, ["class-sensitivity"])
    for i in range(3):
        others = [1 - stats.spearmanr(colours[i, :, C], colours[i, :, c]).statistic for c in (0, 2)]
        assert min(abs(found["daam", "class-sensitivity"][i] - other) for other in others) < 1e-6
    assert found["raw-attention", "class-sensitivity"] != found["daam", "class-sensitivity"]
