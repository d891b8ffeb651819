"""Fine-tuned checkpoints: classes are counted in the weights, and a module of one's own is opened by its name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import vitscope as vs
from vitscope.errors import ModelError, WeightsError

SMALL: dict[str, Any] = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2}
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def made(name: str, classes: int) -> nn.Module:
    torch.manual_seed(classes)
    return timm.create_model(name, num_classes=classes, **SMALL).eval()


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_the_number_of_classes_is_read_from_the_weights(tmp_path: Path, name: str, ending: str) -> None:
    model, file = made(name, 3), tmp_path / f"tuned{ending}"
    if ending == ".pth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, file)
    else:
        save_file(model.state_dict(), file)
    vit = vs.open_model(f"timm/{name}", weights=file, **SMALL)
    assert vit.anatomy.classes == 3 and vit.class_names is None
    with torch.no_grad():
        torch.testing.assert_close(vit.predict(X), model(X))


def test_published_names_stay_where_the_classes_fit(tmp_path: Path) -> None:
    file = tmp_path / "same.safetensors"
    save_file(made("vit_tiny_patch16_224", 1000).state_dict(), file)
    names = vs.open_model("timm/vit_tiny_patch16_224", weights=file, **SMALL).class_names
    assert names is not None and len(names) == 1000


def test_another_size_and_another_head_together(tmp_path: Path) -> None:
    file = tmp_path / "tuned.pth"
    torch.save(made("vit_tiny_patch16_224", 3).state_dict(), file)
    vit = vs.open_model("timm/vit_tiny_patch16_224", weights=file, **{**SMALL, "img_size": 64})
    assert vit.anatomy.classes == 3 and vit.predict(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_torchvision_and_transformers_read_it_too(tmp_path: Path) -> None:
    from torchvision.models import vit_b_16

    with torch.device("meta"):
        shapes = {name: value.shape for name, value in vit_b_16(num_classes=4).state_dict().items()}
    file = tmp_path / "tuned.pth"
    torch.save({name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}, file)
    vit = vs.open_model("torchvision/vit_b_16", weights=file)
    assert vit.anatomy.classes == 4 and vit.class_names is None
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, image_size=32,
        architectures=["ViTForImageClassification"],
    )  # fmt: skip
    config.save_pretrained(tmp_path / "hf")
    config.num_labels = 5
    tuned = transformers.ViTForImageClassification(config).eval()
    torch.save(tuned.state_dict(), file)
    opened = vs.open_model(f"hf/{tmp_path / 'hf'}", weights=file)
    with torch.no_grad():
        torch.testing.assert_close(opened.predict(X), tuned(X).logits)


def test_a_model_without_its_classifier_leaves_that_of_the_weights_out(tmp_path: Path) -> None:
    model, file = made("vit_tiny_patch16_224", 3), tmp_path / "tuned.pth"
    torch.save(model.state_dict(), file)
    vit = vs.open_model("timm/vit_tiny_patch16_224", weights=file, num_classes=0, **SMALL)
    assert vit.anatomy.classes is None
    with torch.no_grad():
        features = model.forward_head(model.forward_features(X), pre_logits=True)  # type: ignore[operator]
    torch.testing.assert_close(vit.predict(X), features)


def test_the_number_that_was_asked_for_is_kept_to(tmp_path: Path) -> None:
    torch.save(made("vit_tiny_patch16_224", 3).state_dict(), tmp_path / "tuned.pth")
    with pytest.raises(WeightsError, match="trained for 3 classes: open the model with num_classes=3"):
        vs.open_model("timm/vit_tiny_patch16_224", weights=tmp_path / "tuned.pth", num_classes=4, **SMALL)


def test_what_differs_in_more_than_the_head_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save(
        timm.create_model("vit_tiny_patch16_224", num_classes=3, **{**SMALL, "depth": 2}).state_dict(), file
    )
    with pytest.raises(WeightsError, match="do not fit"):
        vs.open_model("timm/vit_tiny_patch16_224", weights=file, **SMALL)
    headless = {
        k: v for k, v in made("vit_tiny_patch16_224", 3).state_dict().items() if not k.startswith("head")
    }
    torch.save(headless, file)
    with pytest.raises(WeightsError, match="no classifier: open the model with num_classes=0"):
        vs.open_model("timm/vit_tiny_patch16_224", weights=file, **SMALL)


OWN = """
import torch
from timm.models.vision_transformer import VisionTransformer

def make(num_classes=3):
    torch.manual_seed(1)
    return VisionTransformer(img_size=32, patch_size=16, embed_dim=24, depth=1, num_heads=2, num_classes=num_classes)

class Net(VisionTransformer):
    def __init__(self):
        super().__init__(img_size=32, patch_size=16, embed_dim=24, depth=1, num_heads=2, num_classes=4)

ready = make(2)

def broken():
    raise RuntimeError("no such thing")

number = lambda: 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (tmp_path / "mine" / "models.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mine", "mine.models"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_function_of_ones_own_makes_the_model(own: Path) -> None:
    import mine.models as mine  # type: ignore[import-not-found]

    assert vs.open_model("mine.models:make").anatomy.classes == 3
    assert vs.open_model("mine.models:Net").anatomy.classes == 4
    assert vs.open_model("mine.models:ready").anatomy.classes == 2
    tuned = mine.make(5).eval()
    torch.save(tuned.state_dict(), own / "tuned.pt")
    with pytest.raises(WeightsError, match="trained for 5 classes: open the model with num_classes=5"):
        vs.open_model("mine.models:make", weights=own / "tuned.pt")
    same = vs.open_model("mine.models:make", weights=own / "tuned.pt", num_classes=5)
    with torch.no_grad():
        torch.testing.assert_close(same.predict(X), tuned(X))
    assert same.source == "mine.models:make"


def test_a_pickled_module_is_never_run(own: Path) -> None:
    import mine.models as mine

    torch.save(mine.make(), own / "whole.pt")
    with pytest.raises(WeightsError, match="could run code when opened, so it is refused"):
        vs.open_model("mine.models:make", weights=own / "whole.pt")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.models:mak", "mine.models has no mak; nearest: make"),
        ("mine.modelz:make", "mine.modelz cannot be imported"),
        ("mine.models:broken", "cannot be built as asked .*no such thing"),
        ("mine.models:number", "nn.Module; got int"),
    ],
)
def test_a_name_that_makes_no_model_is_refused_in_one_line(own: Path, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        vs.open_model(name)
    assert "\n" not in str(error.value)
