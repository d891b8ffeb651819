"""Head scores from slopes at two places, against gates written by hand on the model's own modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from vitscope import heads
from vitscope.heads.errors import HeadsError
from vitscope.heads.pruning.path_order import GROUPS, drawn_groups

X = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def bent_vit(classes: int) -> vs.Vit:
    """A tiny ViT with weights so large that its answers bend."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=48, num_classes=classes, embed_dim=48, depth=3, num_heads=3
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return vs.open_model(model, image_size=48)


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return bent_vit(7)


def gated_slopes(
    vit: vs.Vit, x: Tensor, gates: Tensor, means: Tensor | None, quantity: str, index: int | None = None
) -> Tensor:
    """d(quantity of a class) / d(gate), (B, L, H), with gates on the slices of each projection's input; the class is
    the clean prediction unless one is given."""
    gates = gates.clone().requires_grad_()
    blocks: Any = vit.model.blocks

    def gate(index: int) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            (given,) = args
            parts = given.unflatten(-1, (gates.shape[2], -1))  # (B, N, H, d)
            own = gates[:, index, None, :, None]
            instead = 0.0 if means is None else (1 - own) * means[index]
            return ((own * parts + instead).flatten(2),)

        return hook

    classes = vit.predict(x).argmax(1) if index is None else torch.tensor([index] * len(x))
    hooks = [block.attn.proj.register_forward_pre_hook(gate(i)) for i, block in enumerate(blocks)]
    try:
        logits = vit.model(x)
    finally:
        for hook in hooks:
            hook.remove()
    values = logits if quantity == "logit" else logits.log_softmax(-1)
    return torch.autograd.grad(values.gather(1, classes[:, None]).sum(), gates)[0]


@pytest.mark.parametrize("replacement", ["zero", "given"])
def test_path_scores_equal_gates_by_hand(vit: vs.Vit, replacement: str) -> None:
    L, H = len(vit.anatomy.blocks), vit.anatomy.heads
    width = vit.model.blocks[0].attn.head_dim  # type: ignore[union-attr, index]
    means = (
        None
        if replacement == "zero"
        else torch.randn(L, H, width, generator=torch.Generator().manual_seed(1))
    )
    table = heads.importance(
        vit, X, exact=False, path=True, replacement="zero" if means is None else means, batch_size=2
    )
    groups = drawn_groups(table.pictures, L, H)
    ones = torch.ones(len(X), L, H)
    for name, quantity in (("path_logit_drop", "logit"), ("path_loss_rise", "log_probability")):
        twin = gated_slopes(vit, X, ones, means, quantity) / 3
        for group in range(GROUPS):
            own = groups == group
            gates = torch.where(own, 0.75, 1.0)
            twin += own * gated_slopes(vit, X, gates, means, quantity) * 2 / 3
        np.testing.assert_allclose(table[name], twin.detach(), rtol=2e-3, atol=1e-5, err_msg=name)


def test_divergence_equals_its_formula_by_hand(vit: vs.Vit) -> None:
    L, H = len(vit.anatomy.blocks), vit.anatomy.heads
    table = heads.importance(vit, X, exact=False, path=True)
    logs = vit.predict(X).double().log_softmax(-1)
    for picture in range(len(X)):
        twin = torch.zeros(L, H, dtype=torch.float64)
        for index in logs[picture].argsort(descending=True)[:5].tolist():
            gates = torch.ones(1, L, H)
            slope = gated_slopes(vit, X[picture : picture + 1], gates, None, "log_probability", index)[0]
            twin += logs[picture, index].exp() * slope.double() ** 2
        wanted = twin / 8 / np.log(2)
        np.testing.assert_allclose(table["first_order_divergence"][picture], wanted, rtol=5e-3, atol=1e-9)


def test_for_a_small_change_the_divergence_is_the_exact_one() -> None:
    """Heads replaced by nearly what they give, on a model of so many classes as are counted."""
    vit = bent_vit(5)
    own = torch.stack([site.output[0].float() for site in vit.trace(X[:1], gradient=False).sites])
    nearly = own * 0.98  # (L, H, N, d)
    table = heads.importance(vit, X[:1], replacement=nearly, path=True, representation="none")
    exact, told = (table[name][0].ravel() for name in ("js_divergence", "first_order_divergence"))
    assert told == pytest.approx(exact, rel=0.1, abs=2e-7)
    assert exact.max() > 4e-6


def test_every_head_is_in_one_group_of_its_picture() -> None:
    groups = drawn_groups(("a.png", "b.png"), 4, 3)
    assert [[int((each == group).sum()) for group in range(GROUPS)] for each in groups] == [[4, 4, 4]] * 2
    assert not torch.equal(groups[0], groups[1])
    assert torch.equal(drawn_groups(("b.png",), 4, 3)[0], groups[1])


def test_on_a_trained_model_the_path_comes_closer_than_first_order() -> None:
    pictures = vs.worlds.world("shapes").sample(6, seed=1).images()
    table = heads.importance(vs.open_model("bundled/shapes"), pictures, path=True, representation="none")
    exact = table["logit_drop_top"].ravel()
    gaps = [np.abs(table[name].ravel() - exact).mean() for name in ("first_order_signed", "path_logit_drop")]
    assert gaps[1] < gaps[0]


def test_the_screen_goes_by_the_divergence(vit: vs.Vit) -> None:
    table = heads.importance(vit, X, path=True, screen=0.25, representation="none")
    confirmed = np.isfinite(table["js_divergence"][0])
    best = table["first_order_divergence"].mean(0)
    assert best[confirmed].min() >= best[~confirmed].max()


def test_a_path_needs_first_order(vit: vs.Vit) -> None:
    with pytest.raises(HeadsError, match="gradient=True for a screen or a path"):
        heads.importance(vit, X, path=True, gradient=False)


def test_the_path_costs_three_more_forwards(vit: vs.Vit) -> None:
    vit.anatomy  # noqa: B018  (the probe is not part of the price)
    runs: list[int] = []
    handle = vit.model.register_forward_hook(lambda module, args, output: runs.append(len(args[0])))
    try:
        table = heads.importance(vit, X, exact=False, path=True, batch_size=len(X))
    finally:
        handle.remove()
    assert runs == [len(X)] * 4
    assert table.metadata["full_forwards"] == 16.0 * len(X)
