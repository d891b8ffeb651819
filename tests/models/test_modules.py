"""Models in hand: unwrapped, asked what they know, never changed. And open_clip's towers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from torch import nn

from vitscope.errors import ModelError
from vitscope.models import load_model, to_batch


def small(**options: Any) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(**{"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3,
                                "num_classes": 5, **options})  # fmt: skip


def refused(*arguments: Any, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_any_module_is_taken_as_it_is() -> None:
    module = small().train()
    module.blocks[0].eval()
    flags = [part.training for part in module.modules()]
    loaded = load_model(module)
    assert loaded.module is module and [part.training for part in module.modules()] == flags
    assert (loaded.image_size, loaded.output, loaded.family) == ((32, 32), "logits", "VisionTransformer")
    assert loaded.preprocessor is None and loaded.class_names is None
    assert loaded.source == "timm.models.vision_transformer.VisionTransformer"
    with pytest.raises(ModelError, match="preprocess="):
        to_batch(Image.new("RGB", (32, 32)), loaded.preprocessor)
    told = load_model(module, preprocess="half", class_names=list("abcde"), image_size=64)
    assert told.preprocessor is not None and told.preprocessor.size == told.image_size == (64, 64)
    assert told.class_names == list("abcde")
    assert "5 classes but 1" in refused(module, class_names=["a"])


def test_timm_modules_bring_their_preparation() -> None:
    module = timm.create_model("vit_tiny_patch16_224", img_size=64)
    loaded = load_model(module)
    assert loaded.preprocessor is not None and loaded.preprocessor.size == loaded.image_size == (64, 64)
    assert loaded.preprocessor.mean == tuple(module.pretrained_cfg["mean"])
    assert loaded.family == "vit"


def test_wrappers_come_off() -> None:
    module = small()
    for wrapped in (torch.compile(module), nn.DataParallel(module), nn.DataParallel(torch.compile(module))):
        assert load_model(wrapped).module is module


def test_what_cannot_be_seen_into_is_refused() -> None:
    scripted = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    assert "TorchScript" in refused(scripted)
    assert "its part '1' is a TorchScript" in refused(nn.Sequential(nn.ReLU(), scripted))


def test_compiled_parts_may_stay() -> None:
    inner = small()
    inner.blocks[1] = torch.compile(inner.blocks[1])
    in_place = small()
    in_place.compile()
    for module in (inner, in_place):
        assert load_model(module).module is module


def test_no_models_at_all() -> None:
    for value in (None, 3, [small()], small):
        assert "nn.Module" in refused(value)
    assert "already built takes no depth" in refused(small(), depth=3)
    assert "pretrained" in refused(small(), pretrained=True)


def test_weights_go_into_a_module() -> None:
    module, donor = small(), small()
    load_model(module, weights=donor.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), donor.parameters(), strict=True))
    assert "of another shape" in refused(module, weights=small(embed_dim=48).state_dict())


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    config = {
        "model_cfg": {
            "embed_dim": 20,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
            "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
        },
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "interpolation": "bilinear"},
    }
    folder = tmp_path / "clip"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def test_open_clip(clip_folder: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    level = logging.getLogger().level
    loaded = load_model(f"open_clip/{clip_folder}", pretrained=False)
    assert logging.getLogger().level == level
    assert (loaded.output, loaded.image_size, loaded.weights) == ("embedding", (32, 32), "random")
    tower = loaded.extras["text"]
    whole = tower.module
    pixels = torch.randn(2, 3, 32, 32)
    sentences = ["a photo of a dog", "a cat"]
    tokens = open_clip.get_tokenizer(f"local-dir:{clip_folder}")(sentences)
    with torch.no_grad():
        wanted, _ = whole.get_logits(pixels, tokens)
        pictures = nn.functional.normalize(loaded.module(pixels), dim=-1)
        got = tower.logit_scale * pictures @ tower.encode(sentences).T + tower.logit_bias
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    _, _, transform = open_clip.create_model_and_transforms(
        f"local-dir:{clip_folder}", load_weights=False, pretrained_text=False
    )
    picture = Image.effect_noise((50, 41), 60).convert("RGB")
    torch.testing.assert_close(loaded.preprocessor(picture), transform(picture), atol=2e-6, rtol=0)


def test_open_clip_weights_of_the_whole_or_of_the_tower(clip_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    name = f"open_clip/{clip_folder}"
    donor = load_model(name, pretrained=False)
    whole, tower = donor.extras["text"].module, donor.module
    for state in (whole.state_dict(), tower.state_dict()):
        torch.save(state, tmp_path / "w.pt")
        loaded = load_model(name, weights=tmp_path / "w.pt")
        pairs = zip(loaded.module.parameters(), tower.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) and loaded.weights == str(tmp_path / "w.pt")
    # Saved where open_clip looks for them, they are found by the folder's name alone.
    torch.save(whole.state_dict(), clip_folder / "open_clip_pytorch_model.bin")
    assert load_model(name).weights == "pretrained"
    larger = load_model(name, weights=clip_folder / "open_clip_pytorch_model.bin", image_size=48)
    assert larger.image_size == larger.preprocessor.size == (48, 48)
    assert larger.module(torch.zeros(1, 3, 48, 48)).shape == (1, 20)


def test_open_clip_refusals(clip_folder: Path) -> None:
    pytest.importorskip("open_clip")
    assert "pretrained=False" in refused(f"open_clip/{clip_folder}")
    message = refused("open_clip/ViT-B-32")
    assert "needs the tag" in message and "openai" in message and "@TAG" in message
    assert "has no weights 'laion9b'" in refused("open_clip/ViT-B-32@laion9b")
    assert "open_clip/ViT-B-32" in refused("open_clip/ViT-B32")
