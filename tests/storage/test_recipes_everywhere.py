"""Every kind that is saved knows what made it, before and after it was saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.storage.saved_kinds import KINDS, SavedKind
from vitscope.storage.recipe import Recipe

# A pruned model is a model, not a result: its file names the architecture and what was taken away.
RESULTS = [kind for kind in KINDS if kind.name != "pruned model"]


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.name)
def test_a_result_knows_its_recipe_on_disk_too(kind: SavedKind, tmp_path: Path) -> None:
    result = kind.make()
    assert isinstance(result.recipe, Recipe)
    assert kind.load(kind.save(result, tmp_path)).recipe == result.recipe
