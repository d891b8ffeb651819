"""What lies on each token outside of the grid, and how many passes a method needs with its options."""

from __future__ import annotations

import pytest
import torch

import vitscope as vs
from tests.zoo import open_zoo, pictures
from vitscope.app.answers.maps import map_answer
from vitscope.methods.method_info import MethodInfo
from vitscope.reports import words

PREFIX = {
    "timm-deit": ["class token"],
    "timm-deit-distilled": ["class token", "distillation token"],
    "timm-dinov2-registers": ["class token", "register 1", "register 2", "register 3", "register 4"],
    "timm-vit-average": [],
}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *(
            (name, method)
            for name in PREFIX
            for method in ("rollout", "dart", "saliency")
            if "dino" not in name
        ),
        ("timm-dinov2-registers", "rollout"),  # without classes
    ],
)
def test_each_prefix_token_is_told_apart(name: str, method: str) -> None:
    vit = open_zoo(name)
    found = vs.explain(vit, pictures(name, 2), method, target="top1" if vit.anatomy.classes else None)
    tokens = found.metadata.get("prefix_values")
    shares = words.prefix_shares(found, 1)
    if method == "saliency" or not PREFIX[name]:  # pixels have no tokens
        assert tokens is None and (shares is None or PREFIX[name])
        return
    assert list(shares or {}) == PREFIX[name]
    on_patches = found.maps[1].abs().sum()
    outside = torch.tensor(tokens[1]).abs()
    whole = float(on_patches + outside.sum())
    assert list(shares.values()) == pytest.approx((outside / whole).tolist(), rel=1e-4, abs=1e-7)
    one, known = map_answer(found[1:2])
    assert [each["value"] for each in known["prefix"]] == tokens[1]
    if found.flow is not None:
        flow = found.metadata["prefix_flow"][1]
        assert [each["flow"] for each in known["prefix"]] == [
            list(values) for values in zip(*flow, strict=True)
        ]
        assert len(flow) == len(one["flow"])


def test_explanations_of_several_batches_keep_what_belongs_to_each() -> None:
    vit, images = open_zoo("timm-deit-distilled"), pictures("timm-deit-distilled", 3)
    whole = vs.explain(vit, images, "rollout", batch_size=2)
    assert len(whole.metadata["prefix_values"]) == 3
    assert whole[2:3].metadata["prefix_values"] == whole.metadata["prefix_values"][2:]


def passes(method: str, **options: object) -> tuple[float, float]:
    return vs.methods.get_method(method).passes(vs.open_model("bundled/shapes").anatomy, options)


def test_passes_grow_with_the_options() -> None:
    assert passes("rise") == (400, 0) and passes("rise", masks=100_000) == (100_000, 0)
    assert passes("integrated-gradients", steps=5) == (5, 5)
    assert passes("smoothgrad", samples=100) == (100, 100)
    assert passes("kernel-shap", samples=20) == (20, 0)
    assert passes("leave-one-out") == passes("occlusion") == (144, 0), "one for each of the 144 patches"
    assert passes("rollout") == (1, 0)


@pytest.mark.parametrize(
    "info", [each for each in vs.methods() if each.passes_by], ids=lambda each: each.name
)
def test_what_passes_grow_with_is_there(info: MethodInfo) -> None:
    name, at = info.passes_by
    assert name == "patches" or name in info.declared
    assert at > 0 and info.options.get(name) in (None, at), (
        "the passes that are declared are those of the default"
    )
