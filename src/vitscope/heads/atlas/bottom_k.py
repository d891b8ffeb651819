"""Which pictures a head's sample of maps is drawn from: those with the smallest ranks, a hash of seed, key and head.

A rank depends on nothing but these, so the sample of the whole is the same in any order, and is found from the samples
of its parts: the smallest of the smallest (a bottom-k sketch). Hashes are as good as uniform draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xxhash
from numpy.typing import NDArray

Ranks = NDArray[np.int64]
SPARE = 16
"""Maps that are kept beyond twice the wanted number while pictures are read, in case some cannot be."""


def ranks_of(seed: int, keys: Sequence[str], block: int, head: int) -> Ranks:
    """(n,) rank of each picture for one head: whole numbers from 0 to 2^63 - 1 that look random."""
    return _mixed(_hashes(keys), seed, block, head)


def _hashes(keys: Sequence[str]) -> NDArray[np.uint64]:
    return np.fromiter(
        (xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")) for key in keys), np.uint64, len(keys)
    )


def _mixed(hashes: NDArray[np.uint64], seed: int, block: int, head: int) -> Ranks:
    """The finisher of splitmix64 over the key's hash and that of (seed, block, head)."""
    salt = np.uint64(xxhash.xxh3_64_intdigest(f"{seed} {block} {head}".encode()))
    value = hashes ^ salt
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    value = value ^ (value >> np.uint64(31))
    return (value >> np.uint64(1)).astype(np.int64)


@dataclass
class Draw:
    """The draw over all pictures that were given, before one is opened.

    Maps whose rank is above ``limit`` are never kept: so many pictures have smaller ones that they cannot be among the
    ``per_head`` smallest, unless more than half of the pictures turn out to be unreadable.
    """

    keys: Sequence[str]
    per_head: int
    seed: int
    _hashes: NDArray[np.uint64] | None = None
    _limits: dict[tuple[int, int], int] = field(default_factory=dict)

    def limit(self, block: int, head: int) -> int:
        """The largest rank that is kept of this head."""
        found = self._limits.get((block, head))
        if found is None:
            if self._hashes is None:
                self._hashes = _hashes(self.keys)
            ranks = _mixed(self._hashes, self.seed, block, head)
            place = 2 * self.per_head + SPARE
            found = int(np.partition(ranks, place)[place]) if place < len(ranks) else 2**63 - 1
            self._limits[block, head] = found
        return found


@dataclass(frozen=True)
class SampleLimits:
    """A draw whose limits were found before, by (block, head): see :class:`Draw`."""

    limits: Mapping[tuple[int, int], int]

    def limit(self, block: int, head: int) -> int:
        """The largest rank that is kept of this head."""
        return self.limits[block, head]


def limits_over(
    portions: Iterable[Sequence[str]], heads: Sequence[tuple[int, int]], per_head: int, seed: int
) -> SampleLimits:
    """The limits of a draw over very many pictures, whose keys go by in portions: the same as those of :class:`Draw`.

    heads: (block, head) of each. Memory does not grow with the pictures.
    """
    most = 2 * per_head + SPARE + 1
    kept: dict[tuple[int, int], Ranks] = {head: np.zeros(0, np.int64) for head in heads}
    for keys in portions:
        hashes = _hashes(keys)
        for head, known in kept.items():
            ranks = np.concatenate([known, _mixed(hashes, seed, *head)])
            kept[head] = np.partition(ranks, most - 1)[:most] if len(ranks) > most else ranks
    return SampleLimits(
        {head: int(ranks.max()) if len(ranks) == most else 2**63 - 1 for head, ranks in kept.items()}
    )


def smallest(groups: NDArray[np.int64], ranks: Ranks, most: int) -> NDArray[np.int64]:
    """Indices of the ``most`` smallest ranks of each group, group by group, smallest first."""
    order = np.lexsort((ranks, groups))
    ordered = groups[order]
    starts = (
        np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.int64)
    )
    within = np.arange(len(ordered)) - np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
    return order[within < most]
