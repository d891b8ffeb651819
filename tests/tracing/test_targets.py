"""Every form of target, and every way to get one wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.zoo import inputs, open_zoo, pictures
from vitscope.errors import TargetError
from vitscope.tracing import ClassIndex, Custom, LogitDifference, TopK, parse_target

X = pictures("timm-vit", batch=3)


def logits() -> Tensor:
    return open_zoo("timm-vit").forward(X)


def ranked(k: int) -> list[int]:
    return [sorted(range(10), key=lambda c: -row[c])[k - 1] for row in logits().tolist()]


FORMS: list[tuple[Any, str, Any]] = [
    (None, "top1", 1),
    ("top1", "top1", 1),
    ("top-3", "top3", 3),
    ("logit", "top1", 1),
    (7, "class:7", [7, 7, 7]),
    (np.int64(7), "class:7", [7, 7, 7]),
    ("7", "class:7", [7, 7, 7]),
    ("class:7", "class:7", [7, 7, 7]),
    ([1, 2, 3], "class:1,2,3", [1, 2, 3]),
    ((1, 2, 3), "class:1,2,3", [1, 2, 3]),
    ("1,2,3", "class:1,2,3", [1, 2, 3]),
    (torch.tensor([1, 2, 3]), "class:1,2,3", [1, 2, 3]),
    (np.array([1, 2, 3]), "class:1,2,3", [1, 2, 3]),
    (ClassIndex(4), "class:4", [4, 4, 4]),
    (TopK(2), "top2", 2),
]


@pytest.mark.parametrize(("form", "text", "wanted"), FORMS)
@pytest.mark.parametrize("quantity", ["logit", "probability", "log_probability"])
def test_classes_and_quantities(form: Any, text: str, wanted: Any, quantity: str) -> None:
    if quantity != "logit":
        if not isinstance(form, str) or form == "logit":
            pytest.skip("the quantity is a suffix of texts")
        form, text = f"{form}:{quantity}", f"{text}:{quantity}"
    classes = ranked(wanted) if isinstance(wanted, int) else wanted
    trace = open_zoo("timm-vit").trace(X, form)
    assert trace.classes is not None and trace.classes.tolist() == classes
    rows = logits()
    expected = {
        "logit": rows,
        "probability": rows.exp() / rows.exp().sum(1, keepdim=True),
        "log_probability": (rows.exp() / rows.exp().sum(1, keepdim=True)).log(),
    }[quantity]
    torch.testing.assert_close(trace.scores, torch.stack([expected[i, c] for i, c in enumerate(classes)]))
    assert trace.target is not None and trace.target.describe() == text
    assert parse_target(text).describe() == text


def test_the_quantity_alone_means_the_prediction() -> None:
    assert parse_target("probability") == TopK(1, "probability")
    assert parse_target("log_probability") == TopK(1, "log_probability")


@pytest.mark.parametrize(
    ("form", "a", "b"),
    [("difference:3,5", 3, 5), ("difference:top1,top2", 0, 0), (LogitDifference(2), 2, None)],
)
def test_difference_of_two_classes(form: Any, a: int, b: int | None) -> None:
    trace, rows = open_zoo("timm-vit").trace(X, form), logits()
    first, second = ranked(1), ranked(2)
    for i in range(3):
        left = first[i] if form == "difference:top1,top2" else a
        right = b
        if form == "difference:top1,top2":
            right = second[i]
        elif b is None:
            right = second[i] if first[i] == left else first[i]
        assert right is not None
        assert trace.scores[i].item() == pytest.approx((rows[i, left] - rows[i, right]).item(), abs=1e-5)


def test_callables_see_the_raw_output() -> None:
    vit = open_zoo("hf-vit-sdpa")
    seen: list[str] = []

    def margin(output: Any) -> Tensor:
        seen.append(type(output).__name__)
        top = output.logits.topk(2).values
        return top[:, 0] - top[:, 1]

    trace = vit.trace(inputs("hf-vit-sdpa"), margin)
    assert seen == ["ImageClassifierOutput"] and trace.classes is None
    assert trace.target is not None and trace.target.describe() == "margin"
    top = trace.logits.topk(2).values
    torch.testing.assert_close(trace.scores, top[:, 0] - top[:, 1])
    named = Custom(margin, "the margin")
    assert vit.trace(inputs("hf-vit-sdpa"), named).target is named


WRONG: list[tuple[Any, str]] = [
    (10, r"class 10 does not exist, the model has 10 classes \(0 to 9\)"),
    (-1, "class -1 does not exist"),
    ("class:99", "class 99 does not exist"),
    ("difference:3,40", "class 40 does not exist"),
    ([1, 2], r"one class or 3 classes \(one per picture\), got 2"),
    ("top11", "the model has 10 classes"),
    ("top0", "k as a whole number from 1"),
    ("cat", r"'cat'"),
    (True, "got a boolean"),
    (torch.tensor([1.0, 2.0, 3.0]), "integer class indices"),
    (["a", "b", "c"], "has no class names to find .a. in.*other targets are top1"),
    (3.5, "got float"),
    (lambda output: output, r"one number per picture \(3,\), got \(3, 10\)"),
    (lambda output: 1.0, "got float"),
]


@pytest.mark.parametrize(("target", "message"), WRONG)
def test_errors_are_one_line_with_a_cause(target: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message) as error:
        open_zoo("timm-vit").trace(X, target)
    assert "\n" not in str(error.value)


def test_quantities_are_checked() -> None:
    with pytest.raises(TargetError, match="expected quantity as 'logit', 'log_probability' or 'probability'"):
        TopK(1, "loss")
    with pytest.raises(TargetError, match="expected quantity as 'logit', 'log_probability' or 'probability'"):
        ClassIndex(1, "loss")


@pytest.mark.parametrize("target", [None, 3, "top2", LogitDifference(1, 2)])
@pytest.mark.parametrize("name", ["timm-dinov3", "open-clip", "hf-clip-full-sdpa"])
def test_a_model_without_classifier_needs_another_target(name: str, target: Any) -> None:
    vit = open_zoo(name)
    with pytest.raises(TargetError, match=r"has no classifier.*pass target=") as error:
        vit.trace(inputs(name), target)
    assert "\n" not in str(error.value)
    assert vit.trace(inputs(name), gradient=False).sites[0].attention().shape[1] == 3
    assert vit.trace(inputs(name), lambda output: output.sum(1)).has_gradient


def test_output_that_is_no_tensor_is_refused_with_the_way_out() -> None:
    import vitscope as vs

    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = open_zoo("hand-fused").model

        def forward(self, x: Tensor) -> Any:
            return {"answer": self.inner(x).tolist()}

    vit = vs.open_model(Odd(), image_size=64)
    assert any("pass target=callable" in note for note in vit.anatomy.notes)
    with pytest.raises(TargetError, match="no scores per picture; pass target=callable") as error:
        vit.trace(X, 3)
    assert "\n" not in str(error.value)
