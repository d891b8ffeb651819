"""Token i is patch i only where that was seen: shuffled, dropped, turned and shifted tokens are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import ViTMAEConfig, ViTMAEModel

import vitscope as vs
from vitscope.errors import MethodError

SIDE = 4


class Reordered(nn.Module):
    """A ViT whose patch tokens are put in another order before the blocks."""

    def __init__(self, order: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.vit = timm.models.vision_transformer.VisionTransformer(
            img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5
        )
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        v = self.vit
        tokens = v._pos_embed(v.patch_embed(x))
        tokens = torch.cat([tokens[:, :1], self.order(tokens[:, 1:])], 1)
        return v.forward_head(v.norm(v.blocks(tokens)))


def grid(tokens: Tensor) -> Tensor:
    return tokens.unflatten(1, (SIDE, SIDE))


ORDERS = {
    "mirrored": lambda t: grid(t).flip(2).flatten(1, 2),
    "upside down": lambda t: grid(t).flip(1).flatten(1, 2),
    "transposed": lambda t: grid(t).transpose(1, 2).flatten(1, 2),
    "shifted by one": lambda t: t.roll(1, 1),
    "turned": lambda t: torch.rot90(grid(t), 1, (1, 2)).flatten(1, 2),
    "a fixed draw": lambda t: t[:, torch.randperm(16, generator=torch.Generator().manual_seed(3))],
}


def opened(order: Callable[[Tensor], Tensor]) -> vs.Vit:
    return vs.open_model(Reordered(order).eval(), image_size=32, classes=5)


def test_tokens_in_the_order_of_the_patches_are_accepted():
    assert opened(lambda t: t).anatomy.misplaced is None


@pytest.mark.parametrize("name", ORDERS)
def test_another_order_is_refused(name):
    with pytest.raises(MethodError, match="not in the order of the patches"):
        vs.explain(opened(ORDERS[name]), torch.randn(1, 3, 32, 32), "raw-attention")


def test_an_order_that_is_drawn_anew_is_refused():
    with pytest.raises(MethodError, match="another order each time"):
        vs.explain(opened(lambda t: t[:, torch.randperm(16)]), torch.randn(1, 3, 32, 32), "gae")


def masked_autoencoder() -> nn.Module:
    torch.manual_seed(0)
    config = ViTMAEConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=32, patch_size=8,
        attn_implementation="eager",
    )  # fmt: skip
    model = ViTMAEModel(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def test_a_masked_autoencoder_is_refused_and_the_remedy_works():
    model, picture = (
        masked_autoencoder(),
        torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)),
    )
    with pytest.raises(MethodError, match=r"set its model\.config\.mask_ratio = 0"):
        vs.explain(vs.open_model(model), picture, "raw-attention")
    model.config.mask_ratio = 0.0
    first, second = (vs.explain(vs.open_model(model), picture, "raw-attention") for _ in range(2))
    assert torch.equal(first.maps, second.maps)
    assert any("masked autoencoder" in note for note in first.metadata["notes"])
    # the model's own attention at any pass, put back by what the model says of its shuffling
    with torch.no_grad():
        output = model(picture, output_attentions=True)
    shuffled = output.attentions[-1].mean(1)[:, 0, 1:]
    restored = shuffled.gather(1, output.ids_restore)
    torch.testing.assert_close(first.maps.flatten(1), restored, rtol=1e-4, atol=1e-6)


def test_noise_of_the_callers_own_is_kept():
    model, picture = masked_autoencoder(), torch.randn(1, 3, 32, 32)
    model.config.mask_ratio = 0.0
    turned = {"pixel_values": picture, "noise": torch.arange(16.0).flip(0)[None]}
    with pytest.raises(MethodError, match="not in the order of the patches"):
        vs.explain(vs.open_model(model), turned, "raw-attention")


def test_methods_that_work_on_pixels_do_not_need_the_order():
    found = vs.explain(opened(ORDERS["mirrored"]), torch.randn(1, 3, 32, 32), "saliency", target=1)
    assert found.maps.shape == (1, 4, 4)


def test_the_check_leaves_the_callers_random_state_alone():
    vit = opened(lambda t: t[:, torch.randperm(16)])
    before = torch.random.get_rng_state()
    _ = vit.anatomy
    assert torch.equal(before, torch.random.get_rng_state())
