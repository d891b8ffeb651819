"""Remedies in the words of the place where they appear: what Python calls num_classes=3 is -M num_classes=3 here."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from tests.cli.conftest import Shell
from vitscope.cli.shared.remedies import in_shell_words


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ("open the model with num_classes=3", "open the model with -M num_classes=3"),
        ("give weights= or take pretrained=False", "give --weights or take --random-weights"),
        ('open it with probability="softmax"', 'open it with -M probability="softmax"'),
        ("pass labels=", "pass --labels"),
        ("a smaller image_size=224, please", "a smaller --image-size 224, please"),
        ("check image_size= and the options", "check --image-size and the options"),
        ("names with class_names=; other", "names with --class-names; other"),
        ("grid=(14, 14)", "-M grid=(14, 14)"),
        ("-M num_classes=0 is wrong", "-M num_classes=0 is wrong"),
        ("the file a/weights=3.png", "the file a/weights=3.png"),
        ("no words of Python", "no words of Python"),
    ],
)
def test_words_of_python_become_options(said: str, here: str) -> None:
    assert in_shell_words(said) == here


def test_a_remedy_that_is_typed_as_it_says_works(shell: Shell, picture: Path, tmp_path: Path) -> None:
    """A checkpoint without a classifier: what the message says is what opens it."""
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, img_size=32, depth=1, embed_dim=24, num_heads=2
    )
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    small = ["-M", "img_size=32", "-M", "depth=1", "-M", "embed_dim=24", "-M", "num_heads=2"]
    given = ["--model", "timm/vit_tiny_patch16_224", "--weights", tmp_path / "bare.pth", *small]
    refused = shell("bank", "build", picture, *given, "--out", tmp_path / "bank.safetensors")
    assert refused.code == 1 and "open the model with -M num_classes=0" in refused.err
    made = shell(
        "bank", "build", picture, *given, "-M", "num_classes=0", "--out", tmp_path / "bank.safetensors"
    )
    assert made.code == 0, made.err


def test_a_classifier_leads_to_a_bank_by_its_message(shell: Shell, picture: Path, tmp_path: Path) -> None:
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=3, img_size=32, depth=1, embed_dim=24, num_heads=2
    )
    torch.save(model.state_dict(), tmp_path / "tuned.pth")
    small = ["-M", "img_size=32", "-M", "depth=1", "-M", "embed_dim=24", "-M", "num_heads=2"]
    given = ["--model", "timm/vit_tiny_patch16_224", "--weights", tmp_path / "tuned.pth", *small]
    refused = shell("bank", "build", picture, *given, "--out", tmp_path / "bank.safetensors")
    assert refused.code == 1 and "-M num_classes=0" in refused.err
    made = shell(
        "bank", "build", picture, *given, "-M", "num_classes=0", "--out", tmp_path / "bank.safetensors"
    )
    assert made.code == 0, made.err
