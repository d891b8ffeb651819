"""The bundled models: small, described by their cards, right on fresh pictures, and by the planted evidence alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from vitscope.worlds import Sample, world, worlds
from vitscope.worlds.planted import TRAINING_SEEDS

ASSETS = Path(str(resources.files("vitscope"))) / "assets"
FRESH_SEED = 4711
LEAST = {"shapes": 0.97, "conjunction": 0.95, "redundancy": 0.97, "position": 0.9, "clever-hans": 0.99}


def card(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((ASSETS / f"{name}.json").read_text(encoding="utf-8"))
    return read


@dataclass(frozen=True)
class Opened:
    """A model put together from nothing but its two files, and pictures that it has not seen."""

    name: str
    model: VisionTransformer
    fresh: Sample

    @cached_property
    def answers(self) -> torch.Tensor:
        """(pictures, classes) probabilities of the pictures as they are."""
        return probabilities(self.name, self.model, self.fresh.pictures)


def put_together(name: str, pictures: int) -> Opened:
    model = VisionTransformer(**card(name)["architecture"])
    weights = load_file(ASSETS / f"{name}.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    model.load_state_dict({key: value.float() for key, value in weights.items()})
    return Opened(name, model.eval(), world(name).sample(pictures, FRESH_SEED))


@pytest.fixture(scope="module", params=worlds())
def opened(request: pytest.FixtureRequest) -> Opened:
    """Of every world, with 300 pictures."""
    return put_together(request.param, 300)


@torch.inference_mode()
def probabilities(name: str, model: VisionTransformer, pictures: np.ndarray) -> torch.Tensor:
    settings = card(name)["preprocess"]
    mean, std = (torch.tensor(settings[key]).view(3, 1, 1) for key in ("mean", "std"))
    images = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255.0 - mean) / std
    return torch.cat([model(part).softmax(dim=-1) for part in images.split(100)])


@pytest.mark.parametrize("name", worlds())
def test_the_card_tells_what_ships(name: str) -> None:
    told = card(name)
    assert (ASSETS / f"{name}.safetensors").stat().st_size <= 4_000_000
    assert told["name"] == f"bundled/{name}" and told["licence"] == "Apache-2.0"
    assert told["classes"] == list(world(name).classes)
    assert told["architecture"]["num_classes"] == len(told["classes"])
    assert told["preprocess"]["size"] == told["architecture"]["img_size"] == world(name).size
    assert told["test"]["pictures"] >= 2000 and told["test"]["seed"] < TRAINING_SEEDS
    assert told["training"]["rounds"] and all(entry["arguments"] for entry in told["training"]["rounds"])
    assert told["test"]["accuracy"] >= LEAST[name]


def test_models_are_right_on_fresh_pictures(opened: Opened) -> None:
    right = opened.answers.argmax(dim=1).numpy() == opened.fresh.labels
    assert right.mean() >= LEAST[opened.name] - 0.02
    assert abs(right.mean() - card(opened.name)["test"]["accuracy"]) < 0.03


def test_without_the_evidence_the_prediction_is_gone(opened: Opened) -> None:
    """Only the evidence is painted over; distractors, ground and all else stay."""
    fresh = opened.fresh
    rows = np.arange(len(fresh))
    before = opened.answers[rows, fresh.labels]
    after = probabilities(opened.name, opened.model, fresh.without())[rows, fresh.labels]
    assert before.mean() > 0.8
    assert after.mean() < 2.0 / len(fresh.classes)


def test_distractors_do_not_matter(opened: Opened) -> None:
    """The same evidence on a plain ground, without any distractor, is still recognised."""
    fresh = opened.fresh
    plain = np.where(fresh.masks[..., None], fresh.pictures, np.uint8(112))
    right = probabilities(opened.name, opened.model, plain).argmax(dim=1).numpy() == fresh.labels
    assert right.mean() > LEAST[opened.name] - 0.1


def test_conjunction_needs_both_parts_and_redundancy_either() -> None:
    for name, low, high in (("conjunction", 0.15, 0.5), ("redundancy", 0.85, 1.0)):
        opened = put_together(name, 200)
        for part in (0, 1):
            found = probabilities(name, opened.model, opened.fresh.without(part)).argmax(dim=1)
            right = found.numpy() == opened.fresh.labels
            assert low <= right.mean() <= high, (name, part)
