"""CLIP, SigLIP and BLIP given whole: the tower that reads the pictures is explained, or the message's remedy works."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import vitscope as vs
from vitscope.errors import MethodError, ModelError
from vitscope.models.sources.hf import PictureTower

TEXTS = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 50,
    "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2, "pad_token_id": 0,
    "encoder_hidden_size": 24,
}  # fmt: skip
PICTURES = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([[1, 5, 6, 2], [1, 7, 8, 2]])


def whole(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    build = getattr(transformers, kind)
    model = build(build.config_class(text_config=TEXTS, vision_config=PICTURES, **options)).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


KINDS = {"CLIPModel": {"projection_dim": 16}, "SiglipModel": {}, "BlipModel": {"projection_dim": 16}}


class ZeroShot(nn.Module):
    """A classifier of fixed texts, as zero-shot code writes it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        scores: Tensor = self.model(pixel_values=pixel_values, input_ids=IDS).logits_per_image
        return scores


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["rollout", "gae"])
def test_the_tower_that_reads_the_pictures_is_explained_as_it_is_alone(kind: str, method: str) -> None:
    model = whole(kind, **KINDS[kind])
    with torch.no_grad():
        both = model(pixel_values=X, input_ids=IDS)
    text, scale = both.text_embeds[0] / both.text_embeds[0].norm(), model.logit_scale.exp().item()

    def likeness(feature: Tensor) -> Tensor:
        return scale * (feature / feature.norm(dim=-1, keepdim=True)) @ text

    alone = vs.explain(vs.open_model(PictureTower(model)), X, method, target=likeness)
    given = {"pixel_values": X, "input_ids": IDS}
    found = vs.explain(vs.open_model(model), given, method, target=lambda o: o.logits_per_image[:, 0])
    fixed = vs.explain(vs.open_model(ZeroShot(model)), X, method, target=lambda o: o[:, 0])
    for each in (found, fixed):
        torch.testing.assert_close(
            torch.as_tensor(each.maps), torch.as_tensor(alone.maps), rtol=1e-4, atol=1e-6
        )
        notes = each.metadata["notes"]
        assert any("text_model" in note and "reads no picture and is left out" in note for note in notes)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_alone_are_told_what_is_missing_and_the_tower_named_works(kind: str) -> None:
    model = whole(kind, **KINDS[kind])
    for ask in (lambda: vs.explain(vs.open_model(model), X, "rollout"), lambda: vs.open_model(model).anatomy):
        with pytest.raises(ModelError, match="pictures and texts together") as caught:
            ask()
    named = re.search(r"open_model\(model\.([\w.]+)\)", str(caught.value))
    assert named is not None
    tower = model.get_submodule(named[1])
    remedied = vs.explain(vs.open_model(tower), X, "rollout", target=lambda o: o.pooler_output.sum(1))
    alone = vs.explain(
        vs.open_model(PictureTower(model)), X, "rollout", target=lambda feature: feature.sum(1)
    )
    torch.testing.assert_close(
        torch.as_tensor(remedied.maps), torch.as_tensor(alone.maps), rtol=1e-4, atol=1e-6
    )


def test_texts_that_read_the_pictures_join_the_chains_and_blocks_name_the_tower() -> None:
    model = whole("BlipForImageTextRetrieval", projection_dim=16, image_text_hidden_size=16)
    given = {"pixel_values": X, "input_ids": IDS}
    ask = {"target": lambda o: o.itm_score[:, 0]}
    with pytest.raises(
        MethodError, match=r"join later \(vision_model\.encoder\.layers\.0 to .*blocks="
    ) as caught:
        vs.explain(vs.open_model(model), given, "rollout", **ask)
    first, last = re.findall(r"vision_model\.encoder\.layers\.(\d)", str(caught.value))
    blocks = [f"vision_model.encoder.layers.{i}" for i in range(int(first), int(last) + 1)]
    named = vs.open_model(model, blocks=blocks)
    trace = named.trace(given, **ask)
    assert [block.path for block in named.probe_for(given).anatomy.blocks] == blocks
    attentions = [trace.sites[block.sites[0]].attention() for block in named.probe_for(given).anatomy.blocks]
    alone = vs.open_model(model.vision_model).trace(X, lambda o: o.pooler_output.sum(1))
    for site, attention in zip(alone.sites, attentions, strict=True):
        torch.testing.assert_close(site.attention(), attention)


def test_as_many_texts_as_pictures() -> None:
    model = whole("BlipForImageTextRetrieval", projection_dim=16, image_text_hidden_size=16)
    three = torch.cat([IDS, IDS[:1]])
    with pytest.raises(ModelError, match="give as many of each"):
        vs.explain(
            vs.open_model(model), {"pixel_values": X, "input_ids": three}, "gae", target=lambda o: o[0][:, 0]
        )
