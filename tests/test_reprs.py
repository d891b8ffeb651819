"""What a shell prints of a record is one line, whatever tensors it holds."""

from __future__ import annotations

import torch

import vitscope as vs


def test_records_print_as_one_line() -> None:
    vit = vs.open_model("bundled/shapes")
    found = vs.explain(vit, torch.zeros(2, 3, 96, 96), "daam", target=1)
    assert repr(vit.anatomy) == (
        "<Anatomy of bundled/shapes: vit, class + 12x12 patches = 145 tokens, 6 blocks x 4 heads, width 128, "
        "pooling class>"
    )
    assert repr(found) == (
        "<Explanation by daam of 2 pictures, target class:1, maps 12x12, flow over 6 blocks>"
    )
    assert repr(found[0]).startswith("<Explanation by daam of 1 picture,")


def test_what_the_analyses_return_prints_as_one_line() -> None:
    vit = vs.open_model("bundled/shapes")
    images = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    board = vs.evaluate(vit, images, methods=["rollout"], metrics=["entropy"], controls=())
    assert repr(board).startswith("<Leaderboard: 1 methods and controls x entropy, 3 pictures, protocol ")
    profile = vs.heads.strength(vit, images)
    assert repr(profile) == "<StrengthProfile: 6 blocks x 4 heads, 12 hops on 12x12, 3 pictures>"
    table = vs.heads.importance(vit, images)
    assert repr(table) == f"<HeadTable: 6 blocks x 4 heads, {len(table.metrics)} metrics, 3 pictures>"
    assert repr(vit.trace(images)) == (
        "<Trace of 3 inputs through bundled/shapes: 6 sites, gradient of top1>"
    )
    for record in (board, profile, table):
        assert "\n" not in repr(record)
