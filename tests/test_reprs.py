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
