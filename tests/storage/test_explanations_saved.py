"""Explanations of real runs load as they were, also where maps, flow and extras are views of one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import vitscope as vs
from tests.methods.written import small_vit
from tests.storage.test_saved_kinds import same
from tests.zoo import open_zoo, pictures
from vitscope.errors import MethodError
from vitscope.methods import methods


def check(explanation: vs.Explanation, folder: Path) -> None:
    for index, part in enumerate((explanation, *(explanation[i] for i in range(len(explanation))))):
        found = vs.Explanation.load(part.save(folder / str(index)))
        for name in (
            "method",
            "maps",
            "flow",
            "target",
            "classes",
            "scores",
            "logits",
            "layout",
            "extras",
            "pictures",
        ):
            assert same(getattr(found, name), getattr(part, name)), name
        assert found.layout is None or found.layout.cells == part.layout.cells
        assert same(found.class_names, part.class_names) and set(found.metadata) == set(part.metadata)


@pytest.mark.parametrize("depth", [1, 3])
def test_every_quick_method_on_models_of_few_blocks(depth: int, tmp_path: Path) -> None:
    """With one block, maps and flow are the same memory, which once could not be saved."""
    vit = vs.open_model(small_vit(depth=depth), image_size=(48, 64))
    images = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    done = 0
    for info in methods():
        if info.forwards + info.backwards > 9 or info.why_not(vit.anatomy):
            continue
        try:
            found = vs.explain(vit, images, info.name)
        except MethodError:
            continue
        check(found, tmp_path / info.name)
        done += 1
    assert done > 12


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("gmar", {"start_block": 2}),
        ("raw-attention", {"head": 0}),
        ("raw-attention", {"block": 1}),
        ("daam", {}),
    ],
)
def test_options_that_leave_one_block_or_head(method: str, options: dict[str, Any], tmp_path: Path) -> None:
    vit = vs.open_model(small_vit(), image_size=(48, 64))
    check(vs.explain(vit, torch.randn(2, 3, 48, 64), method, **options), tmp_path)


def test_daam_on_a_convolutional_network(tmp_path: Path) -> None:
    check(vs.explain(open_zoo("resnet"), pictures("resnet"), "daam"), tmp_path)
