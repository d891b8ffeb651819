"""Outputs of any form, and which probability a logit stands for."""

from __future__ import annotations

import math
from collections import namedtuple
from types import SimpleNamespace

import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification, YolosConfig, YolosForObjectDetection

import vitscope as vs
from vitscope.errors import ModelError, TargetError
from vitscope.tracing.calls.outputs import at, choose, describe, leaves, parse_path, scores_of

Pair = namedtuple("Pair", "age head")


def test_every_tensor_of_a_nested_output_has_its_way():
    head, info = Pair(torch.ones(2), [torch.ones(2, 3), None]), SimpleNamespace(map=torch.ones(2, 1, 4, 4))
    output = {"head": head, "info": info}
    assert [path for path, _ in leaves(output)] == [("head", "age"), ("head", "head", 0), ("info", "map")]
    assert tuple(at(output, ("head", "head", 0)).shape) == (2, 3)
    with pytest.raises(TargetError, match=r"no part 'head.x'; it has head.age, head.head.0, info.map"):
        at(output, ("head", "x"))


def test_paths_are_written_with_dots():
    assert parse_path("head.cls") == ("head", "cls")
    assert parse_path("1") == parse_path(1) == (1,)
    assert describe(("head", "cls", 0)) == "head.cls.0"
    for bad in ("", True, None):
        with pytest.raises(ModelError, match="output= takes"):
            parse_path(bad)


@pytest.mark.parametrize(
    ("output", "classes", "path"),
    [
        (torch.zeros(2, 5), None, ()),
        ({"aux": torch.zeros(2, 3), "logits": torch.zeros(2, 5)}, None, ("logits",)),
        ((torch.zeros(2, 48), torch.zeros(2, 5)), 5, (1,)),
        ((torch.zeros(2, 48), torch.zeros(2, 5)), None, (0,)),
        ({"deep": {"age": torch.zeros(2)}}, None, ("deep", "age")),
        ({"logits": torch.zeros(2, 7, 5)}, None, None),  # scores of seven queries
        ({"last_hidden_state": torch.zeros(2, 7, 5)}, None, ("last_hidden_state",)),
        ({"text": "none"}, None, None),
        (torch.zeros(3, 5), None, None),  # no row for each of two pictures
    ],
)
def test_which_tensor_the_scores_are(output, classes, path):
    assert choose(output, 2, classes, None).path == path


def test_of_several_outputs_the_choice_is_noted_and_can_be_made():
    both = (torch.zeros(2, 48), torch.zeros(2, 5))
    assert "of several outputs (0, 1) '0' is taken" in choose(both, 2, None, None).notes[0]
    assert choose(both, 2, None, (1,)).notes == ()
    with pytest.raises(ModelError, match=r"is no tensor; name one of: a\.0, a\.1"):
        choose({"a": both}, 2, None, ("a",))


def test_scores_by_form():
    assert scores_of(torch.tensor([1.0, 2.0]), (), 2).tolist() == [[1.0], [2.0]]
    assert scores_of(torch.arange(12.0).view(2, 3, 2), (), 2).tolist() == [[0, 1], [6, 7]]
    assert scores_of(torch.arange(8.0).view(2, 1, 2, 2), (), 2).tolist() == [[1.5], [5.5]]
    assert scores_of({"x": torch.ones(2)}, None, 2).shape == (2, 0)


# ---- whole models ------------------------------------------------------------------------------------------------
class Wrap(nn.Module):
    def __init__(self, inner: nn.Module, form) -> None:
        super().__init__()
        self.inner, self.form = inner, form

    def forward(self, x: Tensor):
        return self.form(self.inner(x))


@pytest.fixture(scope="module")
def plain() -> nn.Module:
    torch.manual_seed(0)
    return timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=16, embed_dim=24, depth=2, num_heads=2, num_classes=3
    ).eval()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


FORMS = {
    "a key of its own": (lambda y: {"age": y}, lambda o: o["age"][:, 1]),
    "nested": (lambda y: {"head": {"cls": y}, "other": y.sum()}, lambda o: o["head"]["cls"][:, 1]),
    "one number per picture": (lambda y: y[:, 1], lambda o: o),
    "an object": (lambda y: SimpleNamespace(score=y[:, 1]), lambda o: o.score),
    "a named tuple": (lambda y: Pair(y[:, 1], None), lambda o: o.age),
    "a depth map": (lambda y: y[:, 1, None, None, None].expand(-1, 1, 4, 4), lambda o: o.mean((1, 2, 3))),
    "several outputs": (lambda y: (y * 2, [y]), lambda o: o[1][0][:, 1]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_callable_reads_any_output(plain, pictures, form):
    made, target = FORMS[form]
    expected = vs.explain(vs.open_model(plain), pictures, "gae", target=1).maps
    opened = vs.open_model(Wrap(plain, made), image_size=32)
    torch.testing.assert_close(
        vs.explain(opened, pictures, "gae", target=target).maps, expected, rtol=1e-4, atol=1e-7
    )
    vs.explain(opened, pictures, ["rollout", "saliency"], target=target)


def test_a_part_of_the_output_is_opened_by_name(plain, pictures):
    expected = vs.explain(vs.open_model(plain), pictures, "gae", target=1)
    for form, name in ((lambda y: {"aux": y * 0, "head": {"cls": y}}, "head.cls"), (lambda y: (y * 0, y), 1)):
        opened = vs.open_model(Wrap(plain, form), image_size=32, output=name, classes=3)
        found = vs.explain(opened, pictures, "gae", target=1)
        torch.testing.assert_close(found.maps, expected.maps)
        torch.testing.assert_close(found.logits, expected.logits)


def test_scores_of_queries_are_no_scores_of_the_picture():
    config = YolosConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=[32, 32],
        patch_size=8, num_detection_tokens=5, num_labels=3,
    )  # fmt: skip
    vit = vs.open_model(YolosForObjectDetection(config).eval())
    with pytest.raises(
        TargetError, match="each of 5 queries or tokens, none for the picture; pass target=callable"
    ):
        vs.explain(vit, torch.randn(1, 3, 32, 32), "saliency")
    found = vs.explain(vit, torch.randn(1, 3, 32, 32), "saliency", target=lambda o: o.logits[:, 2, 1])
    assert len(found) == 1


# ---- probabilities -----------------------------------------------------------------------------------------------
def classifier(**options) -> nn.Module:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=32, patch_size=16,
        **options,
    )  # fmt: skip
    return ViTForImageClassification(config).eval()


@pytest.mark.parametrize(
    ("options", "asked", "expected"),
    [
        ({"num_labels": 3}, None, "softmax"),
        ({"num_labels": 3}, "sigmoid", "sigmoid"),
        ({"num_labels": 1}, None, "sigmoid"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, None, "sigmoid"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, "softmax", "softmax"),
    ],
)
def test_what_a_probability_is(options, asked, expected, pictures):
    model = classifier(**options)
    vit = vs.open_model(model, probability=asked)
    assert vit.anatomy.probability == expected
    with torch.no_grad():
        logits = model(pictures).logits
    by_hand = [1 / (1 + math.exp(-z)) if expected == "sigmoid" else None for z in logits[:, 0].tolist()]
    truth = torch.tensor(by_hand) if expected == "sigmoid" else logits.exp()[:, 0] / logits.exp().sum(1)
    found = vs.explain(vit, pictures, "gae", target="class:0:probability")
    torch.testing.assert_close(found.scores, truth, rtol=1e-5, atol=1e-6)
    logs = vs.explain(vit, pictures, "gae", target="class:0:log_probability")
    torch.testing.assert_close(logs.scores, truth.log(), rtol=1e-4, atol=1e-5)
    assert float(found.maps.abs().max()) > 0


def test_another_word_for_a_probability_is_refused(plain):
    with pytest.raises(ModelError, match=r"probability as .softmax., .sigmoid. or None"):
        vs.open_model(plain, probability="logistic")
