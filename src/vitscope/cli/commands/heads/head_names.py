"""Heads by their names on a command line: ``3.2`` is head 2 of block 3, both counted from 0."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from vitscope.models.anatomy import Anatomy


def parse_head(text: str) -> tuple[int, int]:
    """``"3.2"`` to (3, 2): block and head, both from 0; else a usage error."""
    match = re.fullmatch(r"([0-9]{1,9})\.([0-9]{1,9})", text.strip())
    if match is None:
        raise typer.BadParameter(f"a head is named block.head, both from 0, such as 3.2, not {text!r}")
    return int(match[1]), int(match[2])


def parse_heads(text: str) -> list[tuple[int, int]]:
    """A comma list of heads; a usage error for a head that is named twice."""
    heads = [parse_head(part) for part in text.split(",") if part.strip()]
    twice = [head for head in heads if heads.count(head) > 1]
    if twice:
        raise typer.BadParameter(
            f"the head {twice[0][0]}.{twice[0][1]} is named twice in {text!r}; name it once"
        )
    return heads


def check_heads(anatomy: Anatomy, heads: list[tuple[int, int]]) -> None:
    """Raise HeadsError for a head that the model does not have, before any work is done."""
    from vitscope.heads import HeadsError

    for block, head in heads:
        if block >= len(anatomy.blocks) or head >= anatomy.blocks[block].heads:
            raise HeadsError(
                f"expected a block from 0 to {len(anatomy.blocks) - 1} and a head from 0 to {anatomy.heads - 1}, "
                f"got {block}.{head}; heads are counted from 0"
            )
