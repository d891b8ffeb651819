"""The bundled models: small, described by their cards, right on fresh pictures, and by the planted evidence alone."""

from __future__ import annotations

import json
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


@pytest.fixture(scope="module", params=worlds())
def opened(request: pytest.FixtureRequest) -> tuple[str, VisionTransformer, Sample]:
    """A model put together from nothing but its two files, and 300 pictures that it has not seen."""
    model = VisionTransformer(**card(request.param)["architecture"])
    weights = load_file(ASSETS / f"{request.param}.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    return request.param, model.eval(), world(request.param).sample(300, FRESH_SEED)


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


def test_models_are_right_on_fresh_pictures(opened: tuple[str, VisionTransformer, Sample]) -> None:
    name, model, fresh = opened
    right = probabilities(name, model, fresh.pictures).argmax(dim=1).numpy() == fresh.labels
    assert right.mean() >= LEAST[name] - 0.02
    assert abs(right.mean() - card(name)["test"]["accuracy"]) < 0.03


def test_without_the_evidence_the_prediction_is_gone(opened: tuple[str, VisionTransformer, Sample]) -> None:
    """Only the evidence is painted over; distractors, ground and all else stay."""
    name, model, fresh = opened
    rows = np.arange(len(fresh))
    before = probabilities(name, model, fresh.pictures)[rows, fresh.labels]
    after = probabilities(name, model, fresh.without())[rows, fresh.labels]
    assert before.mean() > 0.8
    assert after.mean() < 2.0 / len(fresh.classes)


def test_distractors_do_not_matter(opened: tuple[str, VisionTransformer, Sample]) -> None:
    """The same evidence on a plain ground, without any distractor, is still recognised."""
    name, model, fresh = opened
    plain = np.where(fresh.masks[..., None], fresh.pictures, np.uint8(112))
    right = probabilities(name, model, plain).argmax(dim=1).numpy() == fresh.labels
    assert right.mean() > LEAST[name] - 0.1


def test_conjunction_needs_both_parts_and_redundancy_either() -> None:
    for name, low, high in (("conjunction", 0.15, 0.5), ("redundancy", 0.85, 1.0)):
        model = VisionTransformer(**card(name)["architecture"])
        model.load_state_dict({k: v.float() for k, v in load_file(ASSETS / f"{name}.safetensors").items()})
        fresh = world(name).sample(200, FRESH_SEED)
        for part in (0, 1):
            right = (
                probabilities(name, model.eval(), fresh.without(part)).argmax(dim=1).numpy() == fresh.labels
            )
            assert low <= right.mean() <= high, (name, part)
