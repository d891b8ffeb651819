"""A sequence whose items are made when they are asked for: pictures and masks that need not all be in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

Source = TypeVar("Source")
Item = TypeVar("Item")


class OnDemand(Sequence[Item], Generic[Source, Item]):
    """``make(source)`` for each of ``sources``, made anew at every access; a slice makes nothing."""

    def __init__(self, sources: Sequence[Source], make: Callable[[Source], Item]) -> None:
        self._sources, self._make = sources, make

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> OnDemand[Source, Item]: ...
    def __getitem__(self, index: int | slice) -> Item | OnDemand[Source, Item]:
        if isinstance(index, slice):
            return OnDemand(self._sources[index], self._make)
        return self._make(self._sources[index])
