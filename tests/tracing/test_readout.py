"""The row of a map belongs to what the target reads: patch tokens, hidden states, pooled features, masked means."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import BeitConfig, BeitForImageClassification

import vitscope as vs
from vitscope.errors import MethodError


class WithTokens(timm.models.vision_transformer.VisionTransformer):
    """Returns its tokens after every block beside the logits."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self._pos_embed(self.patch_embed(x))
        states = [x]
        for block in self.blocks:
            x = block(x)
            states.append(x)
        tokens = self.norm(x)
        return {
            "logits": self.forward_head(tokens),
            "tokens": tokens,
            **{f"state{i}": s for i, s in enumerate(states)},
        }


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    made = WithTokens(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=5).eval()
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def attention_and_gradient(
    model: nn.Module, pictures: Tensor, target: Callable[[dict[str, Tensor]], Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """A and G of every block (B, H, N, N), from the model's own eager attention and autograd."""
    held: list[Tensor] = []
    handles = []
    for block in model.blocks:
        block.attn.fused_attn = False

        def keep(module: nn.Module, args: object, output: Tensor) -> None:
            output.retain_grad()
            held.append(output)

        handles.append(block.attn.attn_drop.register_forward_hook(keep))
    target(model(pictures)).sum().backward()
    for block, handle in zip(model.blocks, handles, strict=True):
        block.attn.fused_attn = True
        handle.remove()
    model.zero_grad()
    zero = [torch.zeros_like(a) if a.grad is None else a.grad for a in held]
    return [(a.detach(), g) for a, g in zip(held, zero, strict=True)]


def gae(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    R = torch.eye(17).expand(2, 17, 17)
    for A, G in pairs:
        R = R + (A * G).clamp(min=0).mean(1) @ R
    return R


def rollout(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    R = torch.eye(17).expand(2, 17, 17)
    for A, _ in pairs:
        M = A.mean(1) + torch.eye(17)
        R = (M / M.sum(-1, keepdim=True)) @ R
    return R


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.flatten(1), expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_a_patch_token_is_its_own_row(model, pictures):
    def target(out):
        return out["tokens"][:, 7].square().sum(-1)

    pairs = attention_and_gradient(model, pictures, target)
    found = vs.explain(vs.open_model(model), pictures, ["gae", "rollout", "raw-attention"], target=target)
    close(found["gae"].maps, gae(pairs)[:, 7, 1:])
    close(found["rollout"].maps, rollout(pairs)[:, 7, 1:])
    close(found["raw-attention"].maps, pairs[-1][0].mean(1)[:, 7, 1:])
    assert "the score reads the patch in row 1, column 2" in found["gae"].metadata["notes"]


def test_each_picture_may_read_another_token(model, pictures):
    def target(out):
        picked = torch.tensor([3, 11])[: len(out["tokens"])]
        return out["tokens"][torch.arange(len(picked)), picked].sum(-1)

    pairs = attention_and_gradient(model, pictures, target)
    found = vs.explain(vs.open_model(model), pictures, "gae", target=target).maps
    close(found, torch.stack([gae(pairs)[0, 3, 1:], gae(pairs)[1, 11, 1:]]))


def test_a_hidden_state_ends_the_chain_at_its_block(model, pictures):
    def target(out):
        return out["state2"][:, 5].sum(-1)  # after block 1

    pairs = attention_and_gradient(model, pictures, target)[:2]
    found = vs.explain(vs.open_model(model), pictures, ["gae", "rollout", "raw-attention"], target=target)
    close(found["gae"].maps, gae(pairs)[:, 5, 1:])
    close(found["rollout"].maps, rollout(pairs)[:, 5, 1:])
    close(found["raw-attention"].maps, pairs[1][0].mean(1)[:, 5, 1:])
    assert "after block 1" in " ".join(found["gae"].metadata["notes"])


def test_a_mean_over_the_patches_is_not_the_class_token(model, pictures):
    def target(out):
        return out["state3"][:, 1:].mean((1, 2))

    pairs = attention_and_gradient(model, pictures, target)
    close(
        vs.explain(vs.open_model(model), pictures, "rollout", target=target).maps,
        rollout(pairs)[:, 1:, 1:].mean(1),
    )


def test_a_score_that_reads_two_blocks_has_no_one_row(model, pictures):
    def target(out):
        return out["state1"][:, 4].sum(-1) + out["tokens"][:, 4].sum(-1)

    with pytest.raises(MethodError, match=r"after several blocks \(0, 2\)"):
        vs.explain(vs.open_model(model), pictures, "gae", target=target)


def test_classes_read_what_the_classifier_reads(model, pictures):
    pairs = attention_and_gradient(model, pictures, lambda out: out["logits"][:, 1])
    found = vs.explain(vs.open_model(model), pictures, "gae", target=1)
    close(found.maps, gae(pairs)[:, 0, 1:])
    assert not [note for note in found.metadata["notes"] if "reads" in note]


def test_a_class_token_that_nobody_reads_gives_no_row():
    torch.manual_seed(0)
    config = BeitConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=32, patch_size=8,
        num_labels=3, use_mean_pooling=True, attn_implementation="eager",
    )  # fmt: skip
    beit = BeitForImageClassification(config).eval()
    for parameter in beit.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    picture = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        attention = beit(picture, output_attentions=True).attentions[-1]
    found = vs.explain(vs.open_model(beit), picture, "raw-attention").maps
    torch.testing.assert_close(found.flatten(1), attention.mean(1)[:, 1:, 1:].mean(1), rtol=1e-4, atol=1e-6)


class MaskedMean(nn.Module):
    """The mean over the patches that a picture has; the others are padding and masked in every attention."""

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, pixel_values: Tensor, mask: Tensor) -> Tensor:
        v = self.vit
        x = v.pos_drop(v.patch_embed(pixel_values) + v.pos_embed[:, 1:])
        bias = torch.zeros(len(x), 1, 1, 16).masked_fill(~mask[:, None, None].bool(), float("-inf"))
        for block in v.blocks:
            x = block(x, attn_mask=bias)
        weights = mask[:, :, None].float()
        return v.head((v.norm(x) * weights).sum(1) / weights.sum(1))


def test_padding_belongs_to_each_picture():
    """The mean over each picture's own patches: both pictures in one call, in both orders, against each alone."""
    torch.manual_seed(0)
    vit = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5
    )
    for parameter in vit.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    opened = vs.open_model(MaskedMean(vit).eval(), image_size=32, classes=5)
    pictures = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 16, dtype=torch.long)
    mask[0, 12:], mask[1, 4:] = 0, 0

    def maps(rows: list[int], method: str) -> Tensor:
        return vs.explain(opened, {"pixel_values": pictures[rows], "mask": mask[rows]}, method, target=1).maps

    for method in ("rollout", "gae", "raw-attention"):
        both = maps([0, 1], method)
        assert both.shape == (2, 4, 4)
        torch.testing.assert_close(
            both, torch.cat([maps([0], method), maps([1], method)]), rtol=1e-4, atol=1e-6
        )
        torch.testing.assert_close(both.flip(0), maps([1, 0], method), rtol=1e-4, atol=1e-6)
        assert float(both[0].flatten()[12:].abs().sum()) == 0  # nobody attends to padding
        assert float(both[1].flatten()[4:].abs().sum()) == 0
