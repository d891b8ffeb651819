"""``class:NAME``: the same words in Python and in the shell, whatever a name holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import vitscope as vs
from vitscope.cli.shared.session import resolve_target
from vitscope.errors import EvaluationError, TargetError
from vitscope.tracing import ClassIndex, LogitDifference

NAMES = ["cat", "golden retriever", "Finding: effusion", "tench, Tinca tinca", "lung: probability", "lung",
         "traffic_light", "Cat", "crane", "crane"]  # fmt: skip


def vit(names: list[str] | None = NAMES) -> vs.Vit:
    torch.manual_seed(0)
    module = VisionTransformer(img_size=32, patch_size=16, embed_dim=24, depth=1, num_heads=2, num_classes=10)
    return vs.open_model(module.eval(), class_names=names)


@pytest.mark.parametrize(
    ("text", "index", "quantity"),
    [
        ("class:golden retriever", 1, "logit"),
        ("class: Golden_Retriever ", 1, "logit"),
        ("class:cat", 0, "logit"),  # exactly so wins over but for the case
        ("class:Cat", 7, "logit"),
        ("class:Finding: effusion", 2, "logit"),
        ("class:finding: effusion:probability", 2, "probability"),
        ("class:tench", 3, "logit"),
        ("class:Tinca tinca:log_probability", 3, "log_probability"),
        ("class:tench, Tinca tinca", 3, "logit"),
        ("class:lung: probability", 4, "logit"),
        ("class:lung:probability", 5, "probability"),
        ("class:lung", 5, "logit"),
        ("class:traffic light", 6, "logit"),
        ("golden retriever", 1, "logit"),
        ("Tench:probability", 3, "probability"),
        ("Finding: effusion", 2, "logit"),
        ("class:9", 9, "logit"),
        ("class:9:probability", 9, "probability"),
    ],
)
def test_a_name_is_the_class_of_that_name_in_python_and_in_the_shell(
    text: str, index: int, quantity: Any
) -> None:
    model, pictures = vit(), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    trace = model.trace(pictures, text)
    assert trace.classes is not None and trace.classes.tolist() == [index, index]
    rows = model.predict(pictures)
    wanted = {"logit": rows, "probability": rows.softmax(1), "log_probability": rows.log_softmax(1)}[quantity]
    torch.testing.assert_close(trace.scores, wanted[:, index])
    assert resolve_target(text, NAMES) == ClassIndex(index, quantity)


def test_a_list_names_a_class_for_each_picture() -> None:
    pictures = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    names = ["class:lung", "class:golden retriever", "class:Finding: effusion"]
    named = vs.explain(vit(), pictures, "gae", target=names)
    assert named.classes is not None and named.classes.tolist() == [5, 1, 2]
    numbered = vs.explain(vit(), pictures, "gae", target=[5, 1, 2])
    torch.testing.assert_close(torch.as_tensor(named.maps), torch.as_tensor(numbered.maps))


def test_an_explanation_knows_the_class_by_its_number() -> None:
    found = vs.explain(vit(), torch.zeros(1, 3, 32, 32), "gae", target="class:Finding: effusion")
    assert found.target == "class:2"


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("class:golden retreiver", NAMES, "no class is called 'golden retreiver'; nearest: golden retriever"),
        (
            "class:findings: effusion:probability",
            NAMES,
            "called 'findings: effusion'; nearest: Finding: effusion",
        ),
        ("class:crane", NAMES, r"2 classes are called 'crane'; give the number of one: \[8, 9\]"),
        ("class:lung", None, "no class names to find 'lung' in; give the class number"),
        ("lunk", NAMES, "no class is called 'lunk'; nearest: lung.*other targets are top1.*difference:3,5"),
        (
            "topp1",
            NAMES,
            "'topp1' is not understood, did you mean top1.*a class of that name is class:topp1.*forms",
        ),
        ("differnce:cat,lung", NAMES, "not understood, did you mean difference:"),
        ("difference:cat,lunk", NAMES, "no class is called 'lunk'; nearest: lung"),
        ("difference:cat", NAMES, "not understood"),
        ("class:", NAMES, "not understood"),
    ],
)
def test_what_names_no_class_is_told_alike(text: str, names: list[str] | None, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        vs.explain(vit(names), torch.zeros(1, 3, 32, 32), "gae", target=text)
    with pytest.raises(TargetError, match=words):
        resolve_target(text, names)


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        ("difference:cat,golden retriever", 0, 1),
        ("difference: lung , 3", 5, 3),
        ("difference:tench, Tinca tinca,lung", 3, 5),
        ("difference:lung,tench, Tinca tinca", 5, 3),
        ("difference:9,Finding: effusion", 9, 2),
    ],
)
def test_a_difference_of_named_classes(text: str, a: int, b: int) -> None:
    model, pictures = vit(), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    trace = model.trace(pictures, text)
    rows = model.predict(pictures)
    torch.testing.assert_close(trace.scores, rows[:, a] - rows[:, b])
    assert resolve_target(text, NAMES) == LogitDifference(a, b)


def test_an_evaluation_takes_the_name_of_a_class() -> None:
    model, pictures = vit(), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def score(target: str | int) -> float:
        asked = vs.Protocol(target=target, removal="drop", steps=2, random_draws=1)
        board = vs.evaluate(model, pictures, methods=["rollout"], protocol=asked, controls=())
        assert board.protocol.target == 3
        return board.interval("rollout", "srg").value

    assert score("tench") == score("class:tench") == score(3)
    for wrong in ("top2", "difference:cat,lung", "tench:probability"):
        with pytest.raises(EvaluationError, match="top1, label, a class number or a class's name"):
            score(wrong)
