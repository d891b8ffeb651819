"""A fine-tuned checkpoint opens by its path alone, with its own labels; or what it lacks is said, and mends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from packaging.version import Version
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import vitscope as vs
from vitscope.errors import ModelError

LABELS = ["cat", "dog", "Finding: effusion"]
ARCHITECTURE = "vit_tiny_patch16_224"
PREPARED = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 32, 32], "crop_pct": 1.0}
ARGUMENTS = {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2}
CONFIG: dict[str, Any] = {
    "architecture": ARCHITECTURE, "num_classes": 3, "label_names": LABELS, "model_args": ARGUMENTS,
    "pretrained_cfg": PREPARED,
}  # fmt: skip
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def trained() -> nn.Module:
    torch.manual_seed(3)
    return timm.create_model(ARCHITECTURE, num_classes=3, **ARGUMENTS).eval()


def saved(folder: Path, config: dict[str, Any] | None = CONFIG, name: str = "model.safetensors") -> nn.Module:
    module = trained()
    folder.mkdir(exist_ok=True)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    if name.endswith(".safetensors"):
        save_file(module.state_dict(), folder / name)
    else:
        torch.save({"model": module.state_dict()}, folder / name)
    return module


def refused(path: Any, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        vs.open_model(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("given", ["m", "m/best.pth", "m/best.safetensors"])
def test_a_folder_or_file_that_timm_describes(tmp_path: Path, given: str) -> None:
    name = Path(given).name if "." in given else "model.safetensors"
    module = saved(tmp_path / "m", name=name)
    vit = vs.open_model(tmp_path / given)
    torch.testing.assert_close(vit.predict(X), module(X).detach())
    assert vit.class_names == LABELS
    assert vit.preprocessor.mean == (0.1, 0.2, 0.3) and vit.image_size == (32, 32)
    found = vs.explain(vit, [Image.new("RGB", (40, 40), "red")], "gae", target="class:Finding: effusion")
    assert found.classes is not None and found.classes.tolist() == [2]


def test_a_file_that_says_it_itself(tmp_path: Path) -> None:
    module = trained()
    said = {
        "architecture": ARCHITECTURE,
        "label_names": json.dumps(LABELS),
        "model_args": json.dumps(ARGUMENTS),
    }
    save_file(module.state_dict(), tmp_path / "x.safetensors", metadata=said)
    vit = vs.open_model(str(tmp_path / "x.safetensors"))  # the number of classes is seen in the weights
    torch.testing.assert_close(vit.predict(X), module(X).detach())
    assert vit.class_names == LABELS


@pytest.mark.skipif(
    Version(timm.__version__) < Version("1.0.31"), reason="this timm does not save the size of the pictures"
)
def test_what_timm_itself_saved(tmp_path: Path) -> None:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=32, depth=1).eval()
    timm.models.save_for_hf(module, str(tmp_path), model_config={"label_names": LABELS})
    vit = vs.open_model(tmp_path)
    torch.testing.assert_close(vit.predict(X), module(X).detach())
    assert vit.class_names == LABELS


@pytest.mark.parametrize("prefix", ["", "hf/"])
def test_what_transformers_saved(tmp_path: Path, prefix: str) -> None:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    names = dict(enumerate(LABELS))
    config = ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, image_size=32, patch_size=16,
        id2label=names, label2id={name: index for index, name in names.items()},
    )  # fmt: skip
    module = ViTForImageClassification(config).eval()
    module.save_pretrained(tmp_path / "m")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "m")
    vit = vs.open_model(f"{prefix}{tmp_path / 'm'}")
    torch.testing.assert_close(vit.predict(X), module(X).logits.detach())
    assert vit.class_names == LABELS and vit.preprocessor is not None
    if not prefix:
        file = vs.open_model(tmp_path / "m" / "model.safetensors")
        torch.testing.assert_close(file.predict(X), module(X).logits.detach())
        assert file.class_names == LABELS


def test_a_file_that_does_not_say_what_it_is_and_the_remedies(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = timm.create_model("deit_tiny_patch16_224", num_classes=3).eval()
    file = tmp_path / "x.pth"
    torch.save(module.state_dict(), file)
    message = refused(file)
    assert "does not say which model" in message and "weights=" in message
    pictures = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    wanted = module(pictures).detach()
    by_name = vs.open_model("timm/deit_tiny_patch16_224", weights=file, num_classes=3)
    torch.testing.assert_close(by_name.predict(pictures), wanted)
    (tmp_path / "config.json").write_text(message[message.index("{") : message.rindex("}") + 1])
    torch.testing.assert_close(vs.open_model(file).predict(pictures), wanted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "vit_tinny_patch16_224"}, "does not list; nearest: .*vit_tiny_patch16_224"),
        ({"model_args": {**ARGUMENTS, "depth": 60000}}, "depth=60000, but the weights are"),
        ({"model_args": {**ARGUMENTS, "embed_dim": 60000}}, "do not belong together"),
        ({"model_args": {**ARGUMENTS, "embed_dim": 10**9}}, "embed_dim=1000000000, which no listed"),
        ({"model_args": {**ARGUMENTS, "pretrained_cfg": "x"}}, "take it out"),
        ({"num_classes": "three"}, "expected a whole number"),
        ({"num_classes": 4, "label_names": None}, "trained for 3 classes"),
        ({"architecture": None}, "names neither a model_type nor an architecture"),
    ],
)
def test_a_description_that_cannot_be_right_is_refused_before_anything_is_built(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    saved(tmp_path, {**CONFIG, **change})
    with pytest.raises(ModelError, match=words):
        vs.open_model(tmp_path)


def test_other_faults_are_said(tmp_path: Path) -> None:
    assert "no file or folder" in refused(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "there is no config.json" in refused(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text(json.dumps(CONFIG))
    assert "no weights" in refused(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{")
    assert "cannot be read as JSON" in refused(tmp_path / "empty")


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    saved(tmp_path / "m")
    torch.save(trained(), tmp_path / "m" / "whole.pth")
    assert "could run code" in refused(tmp_path / "m" / "whole.pth")


def test_labels_that_do_not_fit_are_left_out_aloud(tmp_path: Path) -> None:
    saved(tmp_path, {**CONFIG, "label_names": ["cat", "dog"]})
    vit = vs.open_model(tmp_path)
    assert vit.class_names is None
    found = vs.explain(vit, X, "gae")
    assert any("2 class names for 3 classes" in note for note in found.metadata["notes"])
