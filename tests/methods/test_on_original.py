"""Maps on a picture's own pixels: resize and crop undone, checked pixel by pixel with the preparation itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import vitscope as vs
from vitscope.errors import PictureError
from vitscope.models.preparing.preprocessor import Preprocessor

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)


def vit(resize: str = "short", to: int = 36) -> vs.Vit:
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=1, embed_dim=24, num_heads=2, num_classes=3
    )
    mean = (0.5, 0.5, 0.5)
    recipe = Preprocessor((32, 32), mean, mean, resize=resize, resize_to=(to, to), interpolation="nearest")  # type: ignore[arg-type]
    return vs.open_model(model.eval(), preprocess=recipe)


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("width", "height"), [(120, 60), (60, 121), (100, 100), (36, 36)])
@pytest.mark.parametrize("resize", ["short", "squash", "contain"])
def test_every_pixel_has_the_value_of_the_patch_that_the_model_put_it_in(
    width: int, height: int, resize: str
) -> None:
    opened = vit(resize)
    found = vs.explain(opened, [picture(width, height)], "rollout")
    found = replace(found, maps=torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    array = found.on_original(0)
    assert array.shape == (height, width) and array.dtype == torch.float32
    # A picture of which one pixel is white: where does it appear in what the model sees?
    checked = 0
    for y in range(0, height, 7):
        for x in range(0, width, 7):
            lit = np.zeros((height, width, 3), np.uint8)
            lit[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = 255
            assert opened.preprocessor is not None
            seen = np.asarray(opened.preprocessor.display(Image.fromarray(lit)))[:, :, 0]
            rows, columns = np.nonzero(seen)
            cells = {(int(r) // 16, int(c) // 16) for r, c in zip(rows, columns, strict=True)}
            value = float(array[y, x])
            if not cells:
                assert np.isnan(value) or not (3 < y < height - 4 and 3 < x < width - 4)
            elif len(cells) == 1:
                ((row, column),) = cells
                edge = min(rows.min(), columns.min()) == 0 or max(rows.max(), columns.max()) == 31
                assert value == 1 + 2 * row + column or (np.isnan(value) and edge)
                checked += 1
    assert checked > 5


def test_the_overlay_leaves_bare_what_the_crop_left_out(tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    picture(200, 100).save(file)
    found = replace(vs.explain(vit(to=32), [file], "rollout"), maps=torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    looks = {"title": "", "colour_bar": False, "notes": False, "style": "map"}
    drawn = np.asarray(found.overlay(0, on="original", **{**looks, "style": "alpha", "opacity": 1.0}))[
        12:180, 12:348
    ]
    bare = np.asarray(Image.open(file).convert("RGB").resize((336, 168), Image.Resampling.LANCZOS))
    assert drawn.shape[1] == 336
    # 200×100 is resized to 64×32, of which the middle 32×32 is seen: the middle half of the width.
    assert np.array_equal(drawn[:100, :80], bare[:100, :80]) and np.array_equal(
        drawn[:100, 256:], bare[:100, 256:]
    )
    assert drawn[160, 240].tolist() == [253, 231, 36]  # the highest cell
    with pytest.raises(PictureError, match="of another shape"):
        found.overlay(0, on="original", picture=picture(100, 100))
    larger = Image.open(file).resize((800, 400))
    assert found.overlay(0, on="original", picture=larger).mode == "RGB"
    picture(200, 100).rotate(180).save(file)
    with pytest.raises(PictureError, match="not the picture any more that was explained"):
        found.overlay(0, on="original")


def test_what_has_no_original_is_told(tmp_path: Path) -> None:
    opened = vit()
    ready = vs.explain(opened, torch.zeros(1, 3, 32, 32), "rollout")
    with pytest.raises(PictureError, match="made of ready inputs"):
        ready.on_original(0)
    in_memory = vs.explain(opened, [picture(60, 40), picture(40, 60)], "rollout")
    with pytest.raises(PictureError, match="give it with picture="):
        in_memory.overlay(1, on="original")
    assert in_memory[1].overlay(0, on="original", picture=picture(40, 60)).size[0] > 100
    kept = vs.Explanation.load(in_memory.save(tmp_path / "e"))
    assert torch.equal(kept.on_original(1).isnan(), in_memory.on_original(1).isnan())
    assert kept.on_original(1).shape == (60, 40)
