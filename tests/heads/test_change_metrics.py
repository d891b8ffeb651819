"""Every change metric against a slow literal version of its formula."""

from __future__ import annotations

import math

import pytest
import torch

from vitscope.heads import METRICS, HeadsError
from vitscope.heads.pruning.change_metrics import class_changes, output_changes, patch_changes


def literal(z: list[float], c: list[float], t: int) -> dict[str, float]:
    """One picture: full logits z, changed logits c, label t."""
    p = [math.exp(a) / sum(math.exp(b) for b in z) for a in z]
    q = [math.exp(a) / sum(math.exp(b) for b in c) for a in c]
    m = [(a + b) / 2 for a, b in zip(p, q, strict=False)]
    y, y2 = z.index(max(z)), c.index(max(c))
    kl = lambda a, b: sum(s * math.log2(s / r) for s, r in zip(a, b, strict=False) if s > 0)  # noqa: E731
    return {
        "probability_drop_label": p[t] - q[t],
        "probability_drop_top": p[y] - q[y],
        "logit_drop_label": z[t] - c[t],
        "logit_drop_top": z[y] - c[y],
        "loss_rise_label": -math.log(q[t]) + math.log(p[t]),
        "loss_rise_top": -math.log(q[y]) + math.log(p[y]),
        "js_divergence": 0.5 * kl(p, m) + 0.5 * kl(q, m),
        "kl_divergence": kl(p, q),
        "flip": float(y != y2),
        "accuracy_drop": float(y == t) - float(y2 == t),
    }


def test_output_metrics_equal_their_formulas() -> None:
    generator = torch.Generator().manual_seed(3)
    z, c = 3 * torch.randn(40, 7, generator=generator), 3 * torch.randn(40, 7, generator=generator)
    labels = torch.randint(0, 7, (40,), generator=generator)
    found = output_changes(z, c, labels)
    assert set(found) == {name for name, info in METRICS.items() if info.family == "output"}
    for i in range(40):
        for name, value in literal(z[i].tolist(), c[i].tolist(), int(labels[i])).items():
            assert float(found[name][i]) == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert "loss_rise_label" not in output_changes(z, c)


def test_bounds_and_extremes() -> None:
    far = output_changes(torch.tensor([[90.0, -90.0]]), torch.tensor([[-90.0, 90.0]]))
    assert float(far["js_divergence"]) == pytest.approx(1) and float(far["flip"]) == 1
    assert math.isfinite(float(far["kl_divergence"])) and float(far["kl_divergence"]) > 100
    same = torch.randn(5, 4)
    assert all(bool((value.abs() < 1e-12).all()) for value in output_changes(same, same).values())


def test_token_metrics_equal_their_formulas() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 5, 6, generator=generator), torch.randn(2, 5, 6, generator=generator)

    def cosine(x: list[float], y: list[float]) -> float:
        dot = sum(i * j for i, j in zip(x, y, strict=True))
        return 1 - dot / math.sqrt(sum(i * i for i in x)) / math.sqrt(sum(j * j for j in y))

    def length(x: list[float], y: list[float]) -> float:
        return math.sqrt(sum((i - j) ** 2 for i, j in zip(x, y, strict=True)))

    found = {**class_changes(a[:, 0], b[:, 0], "block"), **patch_changes(a[:, 1:], b[:, 1:], "last")}
    for i in range(2):
        x, y = a[i].tolist(), b[i].tolist()
        assert float(found["class_cosine_block"][i]) == pytest.approx(cosine(x[0], y[0]), rel=1e-4)
        assert float(found["class_l2_block"][i]) == pytest.approx(length(x[0], y[0]), rel=1e-4)
        assert float(found["patch_cosine_last"][i]) == pytest.approx(
            sum(cosine(x[n], y[n]) for n in range(1, 5)) / 4, rel=1e-4
        )
        assert float(found["patch_l2_last"][i]) == pytest.approx(
            sum(length(x[n], y[n]) for n in range(1, 5)) / 4, rel=1e-4
        )
    still = class_changes(torch.zeros(1, 6), torch.zeros(1, 6), "last")
    assert float(still["class_cosine_last"]) == 0


def test_wrong_shapes_are_refused_in_one_line() -> None:
    with pytest.raises(HeadsError, match="equal shape"):
        output_changes(torch.zeros(2, 3), torch.zeros(3, 3))
