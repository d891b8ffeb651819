"""Maps in a training loop: in TensorBoard's own files, and training goes on as without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

import vitscope as vs
from tests.adapters.conftest import small_model
from vitscope.adapters import AdapterError, MapLogger
from vitscope.errors import MethodError


def test_overlays_are_in_tensorboards_files(model: nn.Module, pictures: Tensor, tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        log = MapLogger(model, pictures[:2], writer, method="gae", every=2, tag="maps")
        logged = [log(step) for step in range(3)]
    assert [each is None for each in logged] == [False, True, False]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["images"] == ["maps/gae/0", "maps/gae/1"]
    found = events.Images("maps/gae/1")
    assert [each.step for each in found] == [0, 2]
    drawn = vs.pictures.read_picture(_saved(tmp_path / "seen.png", found[0].encoded_image_string))
    assert logged[0] is not None
    assert np.array_equal(np.asarray(drawn), np.asarray(logged[0].overlay(1)))


def _saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def train(log: Any) -> tuple[list[float], Tensor]:
    """Six steps with dropout in a loop as people write them; the losses, and the weights at the end."""
    model = small_model().train()
    model.blocks[0].mlp.drop1.p = 0.3  # type: ignore[union-attr,index]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    torch.manual_seed(5)
    losses = []
    logger = log(model)
    for step in range(6):
        loss = nn.functional.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.randint(0, 5, (4,)))
        loss.backward()
        logger(step)  # between backward and step: gradients must be there still
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert model.training
    return losses, nn.utils.parameters_to_vector(model.parameters()).detach()


def test_training_goes_on_as_without_it(pictures: Tensor, tmp_path: Path) -> None:
    plain, weights = train(lambda model: lambda step: None)
    with SummaryWriter(str(tmp_path)) as writer:
        watched, same = train(lambda model: MapLogger(model, pictures[:2], writer, method="dart", every=2))
    assert watched == plain and same.equal(weights)
    assert len(set(plain)) == 6


def test_maps_follow_the_weights(model: nn.Module, pictures: Tensor, tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        log = MapLogger(model, pictures[:1], writer, method="gae", target=1)
        before = log(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        after = log(1)
    assert before is not None and after is not None and not before.maps.allclose(after.maps, rtol=0.01)
    expected = vs.explain(vs.open_model(model), pictures[:1], "gae", target=1)
    assert after.maps.allclose(expected.maps, rtol=1e-4, atol=1e-6)


def test_wrong_arguments_are_refused_before_training(model: nn.Module, pictures: Tensor) -> None:
    with pytest.raises(AdapterError, match="SummaryWriter or a run of Weights & Biases, got object"):
        MapLogger(model, pictures, object())
    with pytest.raises(MethodError, match="colour"):
        MapLogger(model, pictures, SummaryWriter, method="gae", colour="red")
    with pytest.raises(AdapterError, match="every"):
        MapLogger(model, pictures, SummaryWriter, every=0)
