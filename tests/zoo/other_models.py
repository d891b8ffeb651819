"""torchvision, open_clip, hand-written models, and those whose attention has no token rows."""

from __future__ import annotations

import timm
import torchvision
from torch import nn

from tests.zoo.entry import Entry
from tests.zoo.handwritten import (
    EncoderVit,
    FunctionalVit,
    HandVit,
    InPlaceVit,
    SharedVit,
    TokensToTokens,
    WeightsVit,
)


def _maxvit() -> nn.Module:
    from timm.models.maxxvit import MaxxVit, MaxxVitCfg, MaxxVitTransformerCfg

    attention = MaxxVitTransformerCfg(dim_head=8, window_size=(4, 4), grid_size=(4, 4))
    config = MaxxVitCfg((16, 16), (1, 1), ("M", "M"), stem_width=8, transformer_cfg=attention)
    return MaxxVit(config, img_size=64, num_classes=10)


def _open_clip(**options: object) -> nn.Module:
    import open_clip

    tower: nn.Module = open_clip.model.VisionTransformer(
        image_size=64, patch_size=16, width=48, layers=2, heads=3, mlp_ratio=2, output_dim=20, **options
    )
    return tower


OTHERS: dict[str, Entry] = {
    "torchvision-vit": Entry(lambda: torchvision.models.VisionTransformer(64, 16, 2, 3, 48, 96, num_classes=10)),
    "open-clip": Entry(_open_clip, classes=None),
    "open-clip-pooler": Entry(
        lambda: _open_clip(attentional_pool=True, attn_pooler_queries=8, attn_pooler_heads=2), classes=None,
        pooling="attention",
    ),
    "encoder-pre-norm": Entry(lambda: EncoderVit(True)),
    "encoder-post-norm": Entry(lambda: EncoderVit(False), post_norm=True),
    "encoder-tokens-first": Entry(lambda: EncoderVit(True, batch_first=False)),
    "multihead-weights": Entry(lambda: WeightsVit(True)),
    "multihead-weights-tokens-first": Entry(lambda: WeightsVit(False)),
    "hand-average": Entry(lambda: HandVit(class_token=False), prefix=(), pooling="mean", fused=False),
    "hand-linear-patches": Entry(lambda: HandVit(linear=True), fused=False),
    "hand-tokens-to-tokens": Entry(
        TokensToTokens, size=(32, 32), fused=False, blocks=2,
    ),
    "hand-functional": Entry(lambda: FunctionalVit(False)),
    "hand-functional-norm-outside": Entry(lambda: FunctionalVit(True)),
    "hand-shared": Entry(SharedVit, blocks=3, kinds=("self", "self", "self")),
    "hand-in-place": Entry(InPlaceVit),
    **{
        f"hand-{product.replace('_', '-')}": Entry(lambda p=product: HandVit(p), fused=fused)
        for product, fused in {
            "matmul": False, "bmm": False, "einsum": False, "einsum_reversed": False, "einsum_ellipsis": False,
            "transposed": False, "columns": False, "by_hand": False, "fused": True, "fused_folded": True,
            "causal": True, "grouped": True,
        }.items()
    },
}  # fmt: skip

REFUSED: dict[str, Entry] = {
    "swin": Entry(
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224", depths=(2, 2), embed_dim=24, num_heads=(2, 4), img_size=56, num_classes=10
        ),
        size=(56, 56), grid=(7, 7), prefix=(), blocks=4, heads=4, kinds=("window", "window", "self", "self"),
        fused=False, pooling="mean", refused="window",
    ),
    "twins-pcpvt": Entry(
        lambda: timm.create_model(
            "twins_pcpvt_small", img_size=64, depths=(1, 1, 1, 1), embed_dims=(16, 16, 32, 48), num_heads=(1, 1, 2, 3),
            num_classes=10,
        ),
        grid=(2, 2), prefix=(), blocks=4, kinds=("reduced", "reduced", "reduced", "self"), pooling="mean",
        refused="reduced",
    ),
    "pvt-v2": Entry(
        lambda: timm.models.pvt_v2.PyramidVisionTransformerV2(
            depths=(1, 1, 1, 1), embed_dims=(16, 16, 32, 48), num_heads=(1, 1, 2, 3), num_classes=10
        ),
        grid=(2, 2), prefix=(), blocks=4, kinds=("reduced", "reduced", "reduced", "self"), pooling="mean",
        refused="reduced",
    ),
    "maxvit": Entry(
        _maxvit, grid=None, prefix=(), blocks=4, heads=2, width=16, kinds=("window",) * 4, pooling="none",
        refused="window",
    ),
    "mobilevit": Entry(
        lambda: timm.create_model("mobilevit_xxs", num_classes=10), size=(128, 128), grid=None, prefix=(), blocks=9,
        heads=4, width=96, kinds=("window",) * 9, pooling="none", refused="window",
    ),
    "resnet": Entry(
        lambda: timm.models.resnet.ResNet(
            timm.models.resnet.BasicBlock, (1, 1, 1, 1), num_classes=10, channels=(8, 16, 16, 16)
        ),
        grid=None, prefix=(), blocks=0, heads=0, width=0, kinds=(), pooling="none", refused="no attention was seen",
    ),
    "convnext": Entry(
        lambda: timm.models.convnext.ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 16, 16), num_classes=10),
        grid=None, prefix=(), blocks=0, heads=0, width=0, kinds=(), pooling="none", refused="no attention was seen",
    ),
}  # fmt: skip
