"""What every head looks at on one picture: against the matrices of the trace, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import vitscope as vs
from vitscope import heads
from vitscope.heads import HeadsError


def tiny(name: str = "vit_tiny_patch16_224", **changes: object) -> vs.Vit:
    torch.manual_seed(0)
    size = {
        "img_size": (32, 48),
        "patch_size": 16,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 3,
        "num_classes": 5,
    }
    model = timm.create_model(name, **{**size, **changes}).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return vs.open_model(model, image_size=(32, 48))


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return tiny()


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("query", "token", "said"),
    [
        (None, 0, "class"),
        ("class", 0, "class"),
        ((1, 2), 6, "patch 1,2"),
        ("0,1", 2, "patch 0,1"),
        (3, 4, "patch 1,0"),
    ],
)
def test_it_is_one_row_of_every_head(
    vit: vs.Vit, picture: torch.Tensor, query, token: int, said: str
) -> None:
    seen = heads.look(vit, picture, query=query)
    assert seen.query == said and seen.blocks == (0, 1) and seen.maps.shape == (2, 3, 2, 3)
    for block, site in enumerate(vit.trace(picture, gradient=False).sites):
        row = site.attention()[0, :, token].numpy()  # (H, 7)
        np.testing.assert_allclose(seen.maps[block].reshape(3, 6), row[:, 1:], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(seen.to_prefix[block, :, 0], row[:, 0], rtol=1e-5, atol=1e-7)


def test_the_mean_is_over_all_that_ask_and_is_the_default_without_class_token(picture: torch.Tensor) -> None:
    pooled = tiny(class_token=False, global_pool="avg")
    seen = heads.look(pooled, picture)
    assert seen.query == "mean" and seen.to_prefix.shape == (2, 3, 0) and seen.place is None
    by_hand = [site.attention()[0].mean(1).numpy() for site in pooled.trace(picture, gradient=False).sites]
    np.testing.assert_allclose(seen.maps.reshape(2, 3, 6), by_hand, rtol=1e-5)


def test_the_table_has_a_row_per_head(vit: vs.Vit, picture: torch.Tensor) -> None:
    seen = heads.look(vit, picture)
    frame = seen.to_pandas()
    assert list(zip(frame["block"], frame["head"], strict=True)) == [
        (b, h) for b in range(2) for h in range(3)
    ]
    np.testing.assert_allclose(frame["on_patches"] + frame["to_class"], 1, rtol=1e-5)
    flat = seen.maps[1, 2].ravel()
    last = frame.iloc[-1]
    assert (last["row"], last["column"]) == divmod(int(flat.argmax()), 3)
    share = flat / flat.sum()
    assert last["entropy"] == pytest.approx(float(-(share * np.log2(share)).sum()), rel=1e-5)


def test_blocks_at_which_the_class_token_does_not_ask_are_left_out() -> None:
    torch.manual_seed(0)
    model = timm.create_model(
        "cait_xxs24_224", img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=3
    )
    vit = vs.open_model(model.eval(), image_size=32)
    pixels = torch.randn(1, 3, 32, 32)
    asked, patch = heads.look(vit, pixels), heads.look(vit, pixels, query=(0, 0))
    assert asked.blocks == (2, 3) and patch.blocks == (0, 1)


def test_saved_and_loaded_it_is_the_same(vit: vs.Vit, picture: torch.Tensor, tmp_path: Path) -> None:
    seen = heads.look(vit, picture, query=(1, 2))
    found = heads.HeadLook.load(seen.save(tmp_path / "seen"))
    assert found.recipe == seen.recipe and found.to_pandas().equals(seen.to_pandas())
    assert np.array_equal(found.maps, seen.maps) and np.array_equal(found.picture, seen.picture)
    assert found.recipe != heads.look(vit, picture).recipe
    page = seen._repr_html_()
    assert page.count("<img") == 1 and "patch 1,2" in page


def test_the_drawing_has_a_cell_for_every_head_and_a_frame_around_the_query(
    vit: vs.Vit, picture: torch.Tensor
) -> None:
    from vitscope.reports.heads.look import MARK, mark_query

    panel = Image.new("RGB", (48, 32))
    mark_query(panel, heads.look(vit, picture, query=(1, 2)))
    red = np.argwhere((np.asarray(panel) == MARK).all(-1))
    assert red.min(0).tolist() == [16, 32] and red.max(0).tolist() == [31, 47]
    framed, plain = (np.asarray(heads.look(vit, picture, query=query).draw()) for query in ((1, 2), None))
    assert (framed == MARK).all(-1).sum() > 6 * 20 and not (plain == MARK).all(-1).any()
    one, two = (heads.look(vit, picture).draw(size=size) for size in (1, 2))
    assert two.width > 1.8 * one.width


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("clas", "expected query to be one of class, mean, or a patch as row,column from 0,0 to 1,2"),
        ((2, 0), "got the patch 2,0"),
        (6, "got the patch 6"),
        ("0,3", "got the patch 0,3"),
    ],
)
def test_a_query_that_is_not_there_is_refused(vit: vs.Vit, picture: torch.Tensor, query, said: str) -> None:
    with pytest.raises(HeadsError, match=said):
        heads.look(vit, picture, query=query)


def test_one_picture_is_looked_at(vit: vs.Vit) -> None:
    with pytest.raises(HeadsError, match="expected one picture to look at, got 2"):
        heads.look(vit, torch.randn(2, 3, 32, 48))


def test_the_command_writes_the_drawing_and_the_numbers(shell, tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (40, 30), (200, 30, 90)).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    words = ("heads", "look", tmp_path / "a.png", tmp_path / "b.png", "-m", "bundled/shapes", "--out", out)
    document = shell(*words, "--query", "3,5", "--json").document
    assert [entry["query"] for entry in document["pictures"]] == ["patch 3,5"] * 2
    first = document["pictures"][0]
    assert len(first["heads"]) == 24 and Image.open(first["drawing"]).width > 400
    assert heads.HeadLook.load(first["data"]).place == (3, 5)
    assert "got 'nose'" in shell(*words, "--query", "nose").error
