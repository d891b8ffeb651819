"""``vitscope bank build``: where labels come from, what is skipped and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

import vitscope as vs
from tests.cli.bad_pictures import photograph
from tests.cli.conftest import Shell
from vitscope.methods.memory_bank import MemoryBank

TINY = (
    "--model", "timm/vit_tiny_patch16_224", "--random-weights", "-M", "num_classes=0", "-M", "depth=1",
    "--image-size", "32", "--device", "cpu",
)  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures in one folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        photograph(seed=index).save(folder / f"{index}.png")
    return folder


def test_a_bank_without_labels_holds_the_models_own_features(shell: Shell, photos: Path) -> None:
    file = photos.parent / "some.bank.safetensors"
    result = shell("bank", "build", photos, *TINY, "--out", file, "--batch-size", 2)
    assert result.code == 0, result.err
    assert result.out.strip().endswith("3 pictures, features of width 192, no labels")
    bank = MemoryBank.load(file)
    assert bank.labels is None and bank.features.dtype == torch.float16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vit = vs.open_model(
            "timm/vit_tiny_patch16_224", pretrained=False, num_classes=0, depth=1, image_size=32
        )
    own = normalize(vit.forward(sorted(photos.iterdir())), dim=-1)
    assert torch.allclose(bank.features.float(), own, atol=2e-3)
    bank.check(vit)


def test_labels_come_from_labels_csv_by_name(shell: Shell, photos: Path) -> None:
    (photos / "labels.csv").write_text("file,class_index,name\n1.png,9,zebra\n0.png,4,\n2.png,9,zebra\n")
    file = photos.parent / "bank.safetensors"
    result = shell("bank", "build", photos, *TINY, "--out", file, "--json")
    assert result.code == 0, result.err
    assert result.document["labels"] == ["class 4", "zebra"] and result.document["pictures"] == 3
    bank = MemoryBank.load(file)
    assert bank.labels is not None and bank.labels.tolist() == [1, 0, 1]
    plain = shell("bank", "build", photos, *TINY, "--out", file, "--no-labels", "--json").document
    assert plain["labels"] == [] and MemoryBank.load(file).labels is None


def test_a_missing_picture_of_the_list_is_skipped_and_reported(shell: Shell, photos: Path) -> None:
    (photos / "labels.csv").write_text("file,class_index\n0.png,0\nlost.png,1\n2.png,1\n")
    result = shell("bank", "build", photos, *TINY, "--out", photos.parent / "b", "--json")
    assert result.code == 3
    assert result.document["pictures"] == 2 and result.document["labels"] == ["class 0", "class 1"]
    assert [Path(entry["picture"]).name for entry in result.document["skipped"]] == ["lost.png"]
    assert "skipped: there is no file" in result.err
    assert Path(result.document["bank"]).name == "b.safetensors"


def test_what_cannot_become_a_bank_is_one_line(shell: Shell, photos: Path) -> None:
    classifier = ("--model", "bundled/shapes")
    assert (
        "class scores, not features"
        in shell("bank", "build", photos, *classifier, "--out", photos / "b").error
    )
    for path in photos.glob("*.png"):
        path.write_bytes(b"no picture")
    result = shell("bank", "build", photos, *TINY, "--out", photos / "b")
    assert result.code == 1 and "none of the 3 pictures" in result.error
    assert not (photos / "b.safetensors").exists()
    (photos / "labels.csv").write_text("name\nx\n")
    assert "file,class_index" in shell("bank", "build", photos, *TINY, "--out", photos / "b").error
    empty = photos.parent / "empty"
    empty.mkdir()
    assert "no file" in shell("bank", "build", empty, *TINY).error


def test_a_file_that_is_no_bank_is_refused_by_explain(shell: Shell, photos: Path) -> None:
    result = shell(
        "explain", photos / "0.png", *TINY, "--method", "daam-self", "-o", f"bank={photos / '1.png'}", "--no-draw",
        "--out", photos.parent / "out",
    )  # fmt: skip
    assert result.code == 1 and "make one with vitscope bank build" in result.error
