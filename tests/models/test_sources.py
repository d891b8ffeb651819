"""Opening models by name: timm, torchvision, the package's own; what is refused, and how."""

from __future__ import annotations

import csv
import importlib
import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import timm
import torch
from safetensors.torch import save_file

from vitscope.errors import MissingExtraError, ModelError, WeightsError
from vitscope.models import (
    LoadedModel,
    Preprocessor,
    fingerprint,
    imagenet_names,
    load_model,
    model_names,
    to_batch,
)

DEIT = "timm/deit_tiny_patch16_224"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the network is closed in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def refused(name: Any, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def run(loaded: LoadedModel) -> torch.Tensor:
    assert loaded.image_size is not None and not loaded.module.training
    with torch.no_grad():
        out = loaded.module(torch.zeros(1, 3, *loaded.image_size))
    return out if isinstance(out, torch.Tensor) else out.logits


def test_real_deit_is_right_about_most_photographs(deit_weights: Path, assets: Path) -> None:
    loaded = load_model(DEIT, weights=deit_weights)
    reference = timm.create_model("deit_tiny_patch16_224")
    from safetensors.torch import load_file

    reference.load_state_dict(load_file(deit_weights), strict=True)
    assert fingerprint(loaded.module) == fingerprint(reference)
    assert loaded.class_names == imagenet_names() and loaded.output == "logits" and loaded.family == "deit"
    assert loaded.weights == str(deit_weights) and loaded.image_size == (224, 224)
    assert loaded.preprocessor is not None and loaded.preprocessor.resize_to == (248, 248)
    folder = assets / "images" / "sample"
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    batch = to_batch([folder / row["file"] for row in rows], loaded.preprocessor)
    with torch.no_grad():
        found = torch.cat([loaded.module(part).argmax(-1) for part in batch.split(25)])
    hits = sum(int(index) == int(row["class_index"]) for index, row in zip(found, rows, strict=True))
    assert 74 <= hits <= 90, hits


def test_real_deit_at_another_size_still_sees_a_tench(
    deit_weights: Path, sample_pictures: list[Path]
) -> None:
    loaded = load_model(DEIT, weights=deit_weights, image_size=(192, 320))
    assert loaded.module.patch_embed.grid_size == (12, 20)
    batch = to_batch(sample_pictures[0], loaded.preprocessor)
    assert batch.shape == (1, 3, 192, 320)
    with torch.no_grad():
        assert loaded.class_names[int(loaded.module(batch).argmax())] == "tench"


def test_weights_of_another_model(deit_weights: Path) -> None:
    for name, says in (
        ("timm/deit_tiny_distilled_patch16_224", "3 missing (dist_token, head_dist.weight, head_dist.bias)"),
        ("timm/vit_tiny_patch16_384", "image_size"),
        ("timm/cait_xxs24_224", "missing"),
    ):
        if name.endswith("384"):
            # timm resamples position embeddings by itself, so this fits.
            assert load_model(name, weights=deit_weights).image_size == (384, 384)
        else:
            message = refused(name, weights=deit_weights)
            assert says in message and str(deit_weights) in message
    assert "num_classes" in refused(DEIT, weights=deit_weights, num_classes=7)


@pytest.mark.parametrize(
    ("name", "options", "family", "output"),
    [
        ("deit_tiny_patch16_224", {"num_classes": 5}, "deit", "logits"),
        ("vit_tiny_patch16_224", {"num_classes": 0}, "vit", "embedding"),
        ("vit_tiny_patch16_224", {"image_size": (64, 96)}, "vit", "logits"),
        ("xcit_nano_12_p16_224", {"image_size": 64}, "xcit", "logits"),
        ("mobilevit_xxs", {"image_size": 64}, "mobilevit", "logits"),
        ("resnet10t", {"image_size": 64}, "resnet10t", "logits"),
    ],
)
def test_timm_with_random_weights(name: str, options: dict[str, Any], family: str, output: str) -> None:
    loaded = load_model(f"timm/{name}", pretrained=False, **options)
    assert (loaded.family, loaded.output, loaded.weights) == (family, output, "random")
    assert loaded.class_names is None, "names would lend meaning to random weights"
    assert loaded.preprocessor is not None and loaded.preprocessor.size == loaded.image_size
    assert run(loaded).shape[0] == 1
    assert ("no fixed input size" in " ".join(loaded.notes)) == (name == "resnet10t")


def test_sizes_that_do_not_fit() -> None:
    message = refused(DEIT, pretrained=False, image_size=225)
    assert "multiple of the patch size 16×16" in message and "224×224 or 240×240" in message
    for size in (0, -3, (224,) * 3, "big", (64, 0)):
        assert "image size" in refused(DEIT, pretrained=False, image_size=size).replace("_", " ")


def test_names_that_do_not_exist() -> None:
    assert DEIT in refused("timm/deit_tny_patch16_224")
    assert f"did you mean {DEIT}" in refused("deit_tiny_patch16_224")
    assert "torchvision/vit_b_16" in refused("torchvision/vit_b16")
    assert "imagenet1k_v1" in refused("torchvision/vit_b_16.imagnet1k_v1")
    assert "no source" in refused("tim/deit_tiny_patch16_224")
    assert "no file or folder" in refused("/some/where/model.safetensors")
    assert "bundled" in refused("bundled/no_such_world")
    assert "the name of a model" in refused("") and "no source" in refused("timm/")
    with pytest.raises(ModelError, match="no source 'tim'"):
        model_names("tim")
    assert DEIT in model_names("timm") and "torchvision/vit_b_16" in model_names()


@pytest.mark.parametrize("name", [DEIT, "torchvision/vit_b_16"])
def test_offline_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    message = refused(name)
    assert "could not be fetched" in message and "weights=" in message and "pretrained=False" in message


def test_contradictions_and_unknown_options(deit_weights: Path) -> None:
    assert "both given" in refused(DEIT, weights=deit_weights, pretrained=True)
    assert "cannot be built" in refused(DEIT, pretrained=False, depht=3)
    assert "cannot be put on device" in refused(DEIT, pretrained=False, device="nonsense")
    assert "5 classes but 2" in refused(DEIT, pretrained=False, num_classes=5, class_names=["a", "b"])


def test_what_the_user_says_wins(deit_weights: Path) -> None:
    loaded = load_model(
        DEIT, pretrained=False, num_classes=2, class_names={0: "cat", 1: "dog"},
        preprocess={"size": 224, "mean": 0.5, "std": 0.5}, device="cpu",
    )  # fmt: skip
    assert loaded.class_names == ["cat", "dog"]
    assert loaded.preprocessor is not None and loaded.preprocessor.mean == (0.5,) * 3
    assert load_model(DEIT, pretrained=False, image_size=64, preprocess="half").preprocessor.size == (64, 64)


def test_torchvision(tmp_path: Path) -> None:
    loaded = load_model("torchvision/vit_b_32", pretrained=False, image_size=64, num_classes=4)
    assert (loaded.family, loaded.output, loaded.image_size, loaded.class_names) == (
        "vit",
        "logits",
        (64, 64),
        None,
    )
    assert loaded.preprocessor is not None and loaded.preprocessor.interpolation == "bilinear"
    assert run(loaded).shape == (1, 4)
    # The weights of one picture size fit another: torchvision resamples the position embeddings.
    save_file(loaded.module.state_dict(), tmp_path / "vit.safetensors")
    larger = load_model(
        "torchvision/vit_b_32", weights=tmp_path / "vit.safetensors", image_size=96, num_classes=4
    )
    assert run(larger).shape == (1, 4)
    assert "square" in refused("torchvision/vit_b_32", pretrained=False, image_size=(64, 96))


class World:
    """A bundled model's two files, made small in a folder of the test."""

    card: ClassVar[dict[str, Any]] = {
        "architecture": {
            "img_size": 32,
            "patch_size": 8,
            "embed_dim": 24,
            "depth": 2,
            "num_heads": 3,
            "num_classes": 3,
        },
        "preprocess": {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
        "classes": ["disc", "ring", "star"],
        "seed": 0,
    }

    def __init__(self, folder: Path) -> None:
        from timm.models.vision_transformer import VisionTransformer

        torch.manual_seed(0)
        self.module = VisionTransformer(**self.card["architecture"])
        half = {name: value.half() for name, value in self.module.state_dict().items()}
        save_file(half, folder / "tiny.safetensors")
        (folder / "tiny.json").write_text(json.dumps(self.card))
        (folder / "only_a_card.json").write_text("{}")


def test_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    monkeypatch.setattr("vitscope.models.sources.bundled._assets", lambda: tmp_path)
    loaded = load_model("bundled/tiny")
    assert loaded.class_names == ["disc", "ring", "star"] and loaded.extras["card"]["seed"] == 0
    assert loaded.preprocessor == Preprocessor(
        size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3, resize_to=(32, 32)
    )
    for name, value in loaded.module.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(
            value, world.module.state_dict()[name].half().float()
        )
    assert run(loaded).shape == (1, 3)
    assert model_names("bundled") == ["bundled/tiny"]
    assert "32×32 pictures only" in refused("bundled/tiny", image_size=64)
    assert "take no options" in refused("bundled/tiny", depth=3)
    assert "bundled/tiny" in refused("bundled/tinny")


def test_every_model_in_the_package_opens() -> None:
    for name in model_names("bundled"):
        loaded = load_model(name)
        assert run(loaded).shape == (1, len(loaded.class_names))


@pytest.mark.parametrize(
    ("package", "extra", "name"),
    [("transformers", "hf", "hf/x/y"), ("open_clip", "open_clip", "open_clip/ViT-B-32")],
)
def test_missing_optional_libraries_name_the_command(
    package: str, extra: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # its import raises ModuleNotFoundError
    with pytest.raises(MissingExtraError, match=rf'install it with: pip install .*\[{extra}\]"'):
        load_model(name)


def test_a_library_that_fails_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def broken(wanted: str) -> Any:
        if wanted.startswith("vitscope."):
            return real(wanted)
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("vitscope.models.opening.optional.importlib.import_module", broken)
    assert "reinstall transformers together with torch" in refused("hf/x/y")


def test_weights_errors_are_model_errors(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        load_model(DEIT, weights=tmp_path / "none.safetensors")


def test_a_hub_that_does_not_answer_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its client warns of every try; the error says it all, and the client's settings are as they were."""
    client = logging.getLogger("huggingface_hub.utils._http")
    level = logging.getLogger("huggingface_hub").level

    def unreachable(*anything: object, **more: object) -> None:
        client.warning("Retrying in 1s [Retry 1/5].")
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        ModelError, match=r"could not be fetched \(OSError: Name or service not known\); give"
    ):
        load_model("timm/deit_tiny_patch16_224")
    assert not caplog.records and logging.getLogger("huggingface_hub").level == level
    client.warning("heard again")
    assert [record.message for record in caplog.records] == ["heard again"]
