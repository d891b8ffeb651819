"""timm's ViTs, small. The facts are read off timm's sources and the shapes by hand."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from tests.zoo.entry import Entry

REGISTERS = ("register_1", "register_2", "register_3", "register_4")


def _timm(name: str, **options: Any) -> nn.Module:
    small = {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 64, "num_classes": 10}
    model: nn.Module = timm.create_model(name, **{**small, **options})
    return model


def _volo() -> nn.Module:
    return timm.models.volo.VOLO(
        layers=(1, 1, 1, 1), embed_dims=(24, 48, 48, 48), num_heads=(2, 3, 3, 3), mlp_ratio=2, img_size=128,
        num_classes=10, outlook_attention=(True, False, False, False),
    )  # fmt: skip


def _pit() -> nn.Module:
    return timm.models.pit.PoolingVisionTransformer(
        img_size=64, patch_size=16, stride=8, stem_type="overlap", base_dims=(16, 16, 16), depth=(1, 1, 1),
        heads=(1, 2, 4), mlp_ratio=2, num_classes=10,
    )  # fmt: skip


TIMM: dict[str, Entry] = {
    "timm-vit": Entry(
        lambda: _timm("vit_tiny_patch16_224", dynamic_img_size=True), other_size=(96, 32), other_grid=(6, 2)
    ),
    "timm-vit-wide": Entry(
        lambda: _timm("vit_tiny_patch16_224", img_size=(48, 96)), size=(48, 96), grid=(3, 6)
    ),
    "timm-vit-average": Entry(
        lambda: _timm("vit_tiny_patch16_224", global_pool="avg", class_token=False),
        prefix=(), pooling="mean",
    ),
    "timm-vit-average-with-class": Entry(
        lambda: _timm("vit_tiny_patch16_224", global_pool="avg"), pooling="mean"
    ),
    "timm-vit-parallel": Entry(lambda: _timm("vit_small_patch16_18x2_224"), refused="side by side"),
    "timm-vit-scaling": Entry(
        lambda: _timm("vit_tiny_patch16_224", block_fn=timm.models.vision_transformer.ParallelScalingBlock)
    ),
    "timm-vit-post-norm": Entry(
        lambda: _timm("vit_tiny_patch16_224", block_fn=timm.models.vision_transformer.ResPostBlock)
    ),
    "timm-clip": Entry(lambda: _timm("vit_base_patch16_clip_224")),
    "timm-hybrid": Entry(lambda: _timm("vit_tiny_r_s16_p8_224"), grid=(2, 2)),
    "timm-deit": Entry(lambda: _timm("deit_tiny_patch16_224")),
    "timm-deit-distilled": Entry(
        lambda: _timm("deit_tiny_distilled_patch16_224"),
        prefix=("class", "distillation"), pooling="class+distillation",
    ),
    "timm-deit3": Entry(lambda: _timm("deit3_small_patch16_224")),
    "timm-beit": Entry(lambda: _timm("beit_base_patch16_224"), pooling="mean"),
    "timm-eva02": Entry(lambda: _timm("eva02_tiny_patch14_224", img_size=56), size=(56, 56), pooling="mean"),
    "timm-dinov2-registers": Entry(
        lambda: _timm("vit_small_patch14_reg4_dinov2", img_size=56, num_classes=0),
        size=(56, 56), prefix=("class", *REGISTERS), classes=None,
    ),
    "timm-dinov3": Entry(
        lambda: _timm("vit_small_patch16_dinov3", num_classes=0),
        prefix=("class", *REGISTERS), classes=None, pooling="mean",
        other_size=(96, 32), other_grid=(6, 2),
    ),
    "timm-siglip": Entry(
        lambda: _timm("vit_base_patch16_siglip_224", num_classes=0), prefix=(), pooling="attention", classes=None
    ),
    "timm-cait": Entry(
        lambda: _timm("cait_xxs24_224"), blocks=4, kinds=("self", "self", "class", "class"), fused=False
    ),
    "timm-xcit": Entry(
        lambda: _timm("xcit_nano_12_p16_224", num_heads=4), blocks=4, heads=4,
        kinds=("cross-covariance", "cross-covariance", "class", "class"), fused=False,
        row_refused="cross-covariance", convolves=True,
    ),
    "timm-pit": Entry(
        _pit, grid=(2, 2), blocks=3, heads=4, width=64, kinds=("self", "self", "self"),
        refused="shrinks from stage to stage",
        convolves=True,
    ),
    "timm-relpos": Entry(
        lambda: _timm("vit_relpos_small_patch16_224"), prefix=(), pooling="mean"
    ),
    "timm-relpos-class": Entry(
        lambda: _timm("vit_relpos_base_patch16_clsgap_224"), pooling="mean"
    ),
    "timm-volo": Entry(
        _volo, size=(128, 128), grid=(8, 8), blocks=6, kinds=("window", "self", "self", "self", "class", "class"),
        refused="window", fused=False, convolves=True,
    ),
    "timm-convit": Entry(
        lambda: _timm("convit_tiny", depth=2, local_up_to_layer=1, embed_dim=16), fused=False
    ),
    "timm-pe": Entry(
        lambda: _timm("vit_pe_core_tiny_patch16_384", num_classes=0), pooling="attention", classes=None
    ),
}  # fmt: skip
