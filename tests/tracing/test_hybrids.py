"""Hybrids: streams that lie as (B, D, h, w), and inner blocks whose first axis is no batch."""

from __future__ import annotations

import pytest
import timm
import torch

import vitscope as vs
from vitscope.errors import MethodError
from vitscope.tracing import Capture


def model_of(name: str, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=5, **options).eval()


@pytest.mark.parametrize(("name", "size"), [("edgenext_xx_small", 128), ("fastvit_sa12", 64)])
def test_tokens_of_a_feature_map_are_its_places(name, size):
    """Input times gradient per token at the last attention block, against autograd on the feature map itself."""
    model, picture = model_of(name), torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    vit = vs.open_model(model, image_size=size)
    block = vit.anatomy.blocks[-1]
    held = {}
    hook = model.get_submodule(block.path).register_forward_pre_hook(
        lambda module, args: held.update(map=args[0].detach().requires_grad_()) or (held["map"],)
    )
    model(picture)[0, 1].backward()
    hook.remove()
    entering = held["map"]  # (1, D, h, w)
    assert block.form == "channels-first"
    assert block.width == entering.shape[1]
    by_place = (entering * entering.grad).sum(1).flatten(1)
    trace = vit.trace(picture, 1, capture=Capture(streams=True))
    found = (trace.block_inputs[-1] * trace.block_input_gradients[-1]).sum(-1)
    torch.testing.assert_close(found, by_place, rtol=1e-3, atol=1e-6)


def test_methods_over_rows_are_refused_where_channels_attend():
    vit = vs.open_model(model_of("edgenext_xx_small"), image_size=128)
    with pytest.raises(MethodError, match="across channels"):
        vs.explain(vit, torch.randn(1, 3, 128, 128), "attcat", target=1)


def test_inner_blocks_over_pixels_do_not_multiply_the_pictures():
    model = model_of("tnt_s_patch16_224", img_size=64, depth=2)
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    vit = vs.open_model(model, image_size=64)
    found = vs.explain(vit, pictures, "daam", target=1)
    assert tuple(found.maps.shape) == (2, 4, 4)
    alone = vs.explain(vit, pictures[1:], "daam", target=1)
    torch.testing.assert_close(found.maps[1:], alone.maps, rtol=1e-4, atol=1e-6)
