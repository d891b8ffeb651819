"""transformers models from local folders: what is opened, with which head, at which size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vitscope.errors import ModelError
from vitscope.models import LoadedModel, load_model, to_batch

transformers = pytest.importorskip("transformers")

SMALL: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 60,
    "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
SQUARE = {"height": 32, "width": 32}


def saved(model: Any, folder: Path, processor: Any = None) -> str:
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return f"hf/{folder}"


def run(loaded: LoadedModel) -> Any:
    with torch.no_grad():
        return loaded.module(torch.zeros(1, 3, *loaded.image_size))


def refused(*arguments: Any, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def vit(tmp_path: Path) -> tuple[Any, str]:
    config = transformers.ViTConfig(**SMALL, num_labels=3, id2label={0: "cat", 1: "dog", 2: "cow"})
    model = transformers.ViTForImageClassification(config).eval()
    return model, saved(model, tmp_path / "vit", transformers.ViTImageProcessor(size=SQUARE))


def test_classifier(vit: tuple[Any, str]) -> None:
    model, name = vit
    verbosity = transformers.utils.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    loaded = load_model(name)
    assert (
        transformers.utils.logging.get_verbosity(),
        transformers.utils.logging.is_progress_bar_enabled(),
    ) == (verbosity, bars)
    assert type(loaded.module) is type(model) and not loaded.module.training
    assert (loaded.family, loaded.output, loaded.image_size, loaded.weights) == (
        "vit",
        "logits",
        (32, 32),
        "pretrained",
    )
    assert loaded.class_names == ["cat", "dog", "cow"] and loaded.notes == []
    assert loaded.module.config._attn_implementation == "sdpa"
    picture = Image.new("RGB", (50, 40), (200, 30, 90))
    batch = to_batch(picture, loaded.preprocessor)
    processor = transformers.AutoImageProcessor.from_pretrained(name.removeprefix("hf/"))
    torch.testing.assert_close(
        batch, processor(images=picture, return_tensors="pt")["pixel_values"], atol=1e-5, rtol=0
    )
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(batch).logits, model(batch).logits)


def test_eager_attention_and_kernels_that_hide_it(vit: tuple[Any, str]) -> None:
    assert load_model(vit[1], attn_implementation="eager").module.config._attn_implementation == "eager"
    assert "'sdpa' or 'eager'" in refused(vit[1], attn_implementation="flash_attention_2")


def test_half_precision_on_disk_is_float32_in_memory(vit: tuple[Any, str], tmp_path: Path) -> None:
    name = saved(vit[0].half(), tmp_path / "half", transformers.ViTImageProcessor(size=SQUARE))
    assert {value.dtype for value in load_model(name).module.state_dict().values()} == {torch.float32}


def test_other_sizes(vit: tuple[Any, str], tmp_path: Path) -> None:
    model, name = vit
    loaded = load_model(name, image_size=(48, 64))
    assert loaded.preprocessor.size == loaded.image_size == (48, 64)
    pixels = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        wanted = model(pixels, interpolate_pos_encoding=True).logits
        torch.testing.assert_close(loaded.module(pixels).logits, wanted)
    assert loaded.class_names == ["cat", "dog", "cow"]
    # DINOv2 is trained at one size and published with pictures of another.
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 48}, crop_size={"height": 40, "width": 40}
    )
    dino = saved(transformers.Dinov2Model(transformers.Dinov2Config(**SMALL)), tmp_path / "dino", processor)
    assert load_model(dino).image_size == (40, 40)
    assert run(load_model(dino, image_size=64)).last_hidden_state.shape == (1, 65, 24)
    swin = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=12, depths=[1], num_heads=[2], window_size=4
    )
    fixed = saved(transformers.SwinForImageClassification(swin), tmp_path / "swin")
    assert load_model(fixed).image_size == (32, 32)


def test_random_weights_and_weights_from_a_file(vit: tuple[Any, str], tmp_path: Path) -> None:
    model, name = vit
    random = load_model(name, pretrained=False)
    assert random.weights == "random" and random.class_names is None
    torch.save({"state_dict": model.state_dict()}, tmp_path / "w.pth")
    given = load_model(name, weights=tmp_path / "w.pth")
    assert given.class_names == ["cat", "dog", "cow"]
    assert all(torch.equal(a, b) for a, b in zip(given.module.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("model", "config", "output"),
    [
        ("DeiTForImageClassification", "DeiTConfig", "logits"),
        ("DeiTForImageClassificationWithTeacher", "DeiTConfig", "logits"),
        ("BeitForImageClassification", "BeitConfig", "logits"),
        ("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", "logits"),
        ("ViTModel", "ViTConfig", "embedding"),
        ("CLIPVisionModel", "CLIPVisionConfig", "embedding"),
        ("SiglipVisionModel", "SiglipVisionConfig", "embedding"),
        ("DINOv3ViTModel", "DINOv3ViTConfig", "embedding"),
    ],
)
def test_many_architectures(model: str, config: str, output: str, tmp_path: Path) -> None:
    made = getattr(transformers, model)(getattr(transformers, config)(**SMALL)).eval()
    loaded = load_model(saved(made, tmp_path / "m"))
    assert loaded.output == output and loaded.class_names is None and loaded.preprocessor is None
    assert any("preprocessor_config.json" in note for note in loaded.notes)
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(pixels)[0], made(pixels)[0])


def test_encoders_published_without_a_pooler(tmp_path: Path) -> None:
    made = transformers.ViTModel(transformers.ViTConfig(**SMALL), add_pooling_layer=False)
    loaded = load_model(saved(made, tmp_path / "m"))
    assert loaded.module.pooler is None and "no pooler" in loaded.notes[0]


def test_masked_autoencoders_become_plain_vits(tmp_path: Path) -> None:
    config = transformers.ViTMAEConfig(
        **SMALL, mask_ratio=0.0, decoder_hidden_size=24, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )  # fmt: skip
    made = transformers.ViTMAEForPreTraining(config).eval()
    loaded = load_model(saved(made, tmp_path / "mae"))
    assert type(loaded.module).__name__ == "ViTModel"
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        # Its own encoder shuffles the patches, which the class token cannot notice.
        wanted = made.vit(pixels).last_hidden_state[:, 0]
        torch.testing.assert_close(
            loaded.module(pixels).last_hidden_state[:, 0], wanted, atol=1e-5, rtol=1e-4
        )


def tokenizer_files(folder: Path) -> None:
    """A word-level tokenizer of a dozen words, saved as transformers does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {
        word: index
        for index, word in enumerate(["[PAD]", "[BOS]", "[EOS]", "[UNK]", "a", "photo", "of", "dog", "cat"])
    }
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 1), ("[EOS]", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]", eos_token="[EOS]"
    ).save_pretrained(folder)


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_contrastive_models_keep_their_text_side(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    extra = {"projection_dim": 20} if kind == "CLIP" else {}
    config = getattr(transformers, f"{kind}Config")(
        text_config=dict(TEXT), vision_config=dict(SMALL), **extra
    )
    made = getattr(transformers, f"{kind}Model")(config).eval()
    folder = tmp_path / "m"
    name = saved(made, folder)
    with pytest.raises(ModelError, match="tokenizer files"):
        load_model(name).extras["text"].encode(["a dog"])
    tokenizer_files(folder)
    loaded = load_model(name)
    assert (loaded.output, loaded.family, loaded.class_names) == ("embedding", kind.lower(), None)
    tower = loaded.extras["text"]
    sentences = ["a photo of a dog", "cat"]
    vectors = tower.encode(sentences)
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(2), atol=1e-5)
    # The model's own scores of two pictures and two sentences.
    pixels = torch.randn(2, 3, 32, 32)
    padding = "max_length" if kind == "Siglip" else True
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(sentences, padding=padding, max_length=16, truncation=True, return_tensors="pt")
    inputs = {key: value for key, value in tokens.items() if key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        wanted = made(pixel_values=pixels, **inputs).logits_per_image
        pictures = torch.nn.functional.normalize(loaded.module(pixels), dim=-1)
        got = tower.logit_scale * pictures @ vectors.T + tower.logit_bias
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
        assert run(load_model(name, image_size=48)).shape == pictures[:1].shape


def test_a_classifier_on_a_contrastive_model(tmp_path: Path) -> None:
    config = transformers.CLIPConfig(text_config=dict(TEXT), vision_config=dict(SMALL), num_labels=4)
    loaded = load_model(saved(transformers.CLIPForImageClassification(config), tmp_path / "m"))
    assert loaded.output == "logits" and run(loaded).logits.shape == (1, 4)


def test_text_encoders(tmp_path: Path) -> None:
    made = transformers.BertModel(
        transformers.BertConfig(**{k: v for k, v in TEXT.items() if "token" not in k})
    )
    loaded = load_model(saved(made, tmp_path / "m"))
    assert loaded.image_size is None and loaded.preprocessor is None and loaded.extras["tokenizer"] is None
    assert loaded.output == "embedding"


def test_processors_that_cannot_be_followed(tmp_path: Path) -> None:
    made = transformers.ViTModel(transformers.ViTConfig(**SMALL))
    loaded = load_model(saved(made, tmp_path / "m", transformers.LevitImageProcessor()))
    assert loaded.preprocessor is None and any("cannot be followed" in note for note in loaded.notes)


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    assert "no config.json" in refused(f"hf/{tmp_path}")
    assert "there is no folder" in refused(f"hf/{tmp_path}/nowhere")
    (tmp_path / "config.json").write_text('{"model_type": "no_such_type"}')
    assert "cannot be built" in refused(f"hf/{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    refused(f"hf/{tmp_path}")
    assert "cannot be read as JSON" in refused(str(tmp_path))
    told = refused("hf/nobody/nothing")
    assert "could not be fetched" in told and "there is no folder nobody/nothing here; check the name" in told


def test_code_beside_a_model_is_refused_and_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A "y" on stdin, which may be data in a pipe, once ran it."""
    import builtins
    import json

    asked = []
    monkeypatch.setattr(builtins, "input", lambda *words: asked.append(words) or "y")
    mark = tmp_path / "executed"
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(
        json.dumps({"model_type": "x", "auto_map": {"AutoConfig": "code.Configuration"}})
    )
    (tmp_path / "m" / "code.py").write_text(
        f"open({str(mark)!r}, 'w').close()\nfrom transformers import PretrainedConfig\n"
        "class Configuration(PretrainedConfig):\n    model_type = 'x'\n"
    )
    assert "trust_remote_code" in refused(f"hf/{tmp_path / 'm'}")
    assert not mark.exists() and not asked


def test_weights_that_are_not_finite(vit: tuple[Any, str], tmp_path: Path) -> None:
    model, _ = vit
    with torch.no_grad():
        model.classifier.weight[0, 0] = torch.inf
    assert "NaN or infinite values, first in classifier.weight" in refused(saved(model, tmp_path / "inf"))


def test_incomplete_weights_are_not_filled_with_noise(vit: tuple[Any, str], tmp_path: Path) -> None:
    model, _ = vit
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("classifier")}
    model.save_pretrained(tmp_path / "cut", state_dict=state)
    assert "lack 2 of the model's keys (classifier.bias, classifier.weight)" in refused(
        f"hf/{tmp_path / 'cut'}"
    )
    (tmp_path / "cut" / "model.safetensors").unlink()
    assert "hf/" in refused(f"hf/{tmp_path / 'cut'}")


def test_a_transformers_module_in_hand(vit: tuple[Any, str]) -> None:
    model = transformers.ViTForImageClassification.from_pretrained(vit[1].removeprefix("hf/"))
    loaded = load_model(model)
    assert (
        loaded.module is model and loaded.class_names == ["cat", "dog", "cow"] and loaded.output == "logits"
    )
    assert loaded.preprocessor is not None and loaded.preprocessor.size == (32, 32)
