"""Which blocks follow one another: a rollout may only multiply what the model really runs in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Links:
    """One block's place in the data flow. sites: the attention calls inside it; reads: those that lie in what enters
    it; both as sets of bits. sees: whether the pictures lie in what enters it."""

    path: str
    sites: int
    reads: int
    sees: bool = False


@dataclass(frozen=True)
class Chain:
    """The blocks that lead to the output one after the other.

    members: their positions, first block first. reason: why they are no single chain, None when they are. aside: the
    paths of blocks that do not lead to the output at all. unseeing: the paths of those that lead to it in a chain of
    their own which reads no picture (a text tower)."""

    members: tuple[int, ...]
    reason: str | None
    aside: tuple[str, ...]
    unseeing: tuple[str, ...] = ()


def find_chain(blocks: Sequence[Links], output: int) -> Chain:
    """The chain of blocks behind an output that was made from the sites ``output`` (bits).

    Each block of a chain is read by the next one. Where the output does not tell (0), all blocks count as leading to
    it. Two towers whose outputs are added, an ensemble, a mirrored second pass or two pictures through one ViT are
    several chains; a teacher that runs beside its student leads nowhere. Of a picture tower and a text tower the one
    that reads the pictures is taken."""
    leading = [i for i, block in enumerate(blocks) if not output or block.sites & output]
    aside = tuple(block.path for i, block in enumerate(blocks) if i not in leading)
    ends = [i for i in leading if not any(blocks[i].sites & blocks[j].reads for j in leading if j != i)]
    chains = [_back_from(end, leading, blocks) for end in ends]
    seeing = [chain for chain in chains if any(blocks[i].sees for i in chain)]
    unseeing: tuple[str, ...] = ()
    if len(chains) > 1 and len(seeing) == 1:  # the others read texts, or nothing that is given
        blind = [i for i in leading if not blocks[i].sees]
        unseeing = tuple(blocks[i].path for i in blind)
        chains, leading = seeing, [i for i in leading if i not in blind]
    if len(chains) > 1:
        spans = [_span([blocks[i].path for i in chain]) for chain in chains]
        named = " and ".join(spans[:3]) + (" and more" if len(spans) > 3 else "")
        again = len(set(spans)) < len(spans)
        remedy = (
            "the same blocks run more than once, so open the part that runs once"
            if again
            else "name the blocks of one with blocks=, or open that part of the model"
        )
        return Chain(
            tuple(leading),
            f"{len(chains)} separate chains of attention lead to its output ({named}); {remedy}",
            aside,
        )
    chain = chains[0] if chains else leading
    beside = [blocks[i].path for i in leading if i not in chain]
    if beside:
        return Chain(
            tuple(leading),
            f"its attention runs in branches that join later ({_span(beside)} beside "
            f"{_span([blocks[i].path for i in chain])}), so there is no one chain of blocks; name one with blocks=",
            aside,
        )
    return Chain(tuple(chain), None, aside, unseeing)


def _back_from(end: int, leading: Sequence[int], blocks: Sequence[Links]) -> list[int]:
    """From a block back to the one it reads last, and so on: positions, first block first."""
    chain = [end]
    while True:
        earlier = [i for i in leading if i < chain[0] and blocks[i].sites & blocks[chain[0]].reads]
        if not earlier:
            return chain
        chain.insert(0, max(earlier))


def _span(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} to {paths[-1]}"
