"""A picture that the model answers with no numbers is skipped, and costs the others of its batch nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

import vitscope as vs
from tests.studies.worlds import folder_of_pictures, made
from vitscope.tracing.calls.counting import counted_passes

WHITE = "002-white.png"


def no_answer_to_white(module: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
    white = given[0].flatten(1).std(1) < 0.5
    return answer.masked_fill(white[:, None], float("nan"))


def test_a_picture_without_an_answer_is_skipped_alone(tmp_path: Path) -> None:
    pictures = folder_of_pictures(tmp_path / "pictures", 5)
    Image.new("RGB", (96, 96), "white").save(pictures / WHITE)
    vit = vs.open_model("bundled/shapes")
    expected = made(tmp_path / "plain", folder_of_pictures(tmp_path / "good", 5), model=vit)
    expected.run()
    vit.model.register_forward_hook(no_answer_to_white)
    asked: dict[str, Any] = {"analyses": ["explain", "strength"], "model": vit}
    study = made(tmp_path / "study", pictures, **asked)
    report = study.run()
    assert report.whole and report.skipped == 1
    table = study.table("pictures")
    bad = table[table["status"] == "skipped"]
    assert bad["key"].tolist() == [WHITE] and "answers NaN for this picture" in bad["reason"].iloc[0]
    maps = study.array("maps/gmar")[:]
    assert np.isnan(maps[bad["picture"]]).all()
    rows = table[table["status"] == "ok"]["picture"].to_numpy()
    np.testing.assert_allclose(maps[rows], expected.array("maps/gmar")[:], rtol=1e-4, atol=1e-5)


def test_all_analyses_share_one_pass_of_each_picture(tmp_path: Path) -> None:
    pictures = folder_of_pictures(tmp_path / "pictures", 4)
    analyses = {"explain": {}, "strength": {}, "importance": {"exact": False}}
    study = made(tmp_path / "study", pictures, analyses=analyses, arrays=("maps", "flow", "class_rows"))
    with counted_passes() as count:
        study.run()
    assert (count.forwards, count.backwards) == (4, 4)
    assert (study.manifest.estimate["forwards"], study.manifest.estimate["backwards"]) == (4, 4)
