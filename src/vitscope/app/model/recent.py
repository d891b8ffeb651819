"""What was asked for last, within a number of bytes: the oldest is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Recent(Generic[Item]):
    """The last items by their tags.

    Args:
        cap: The largest sum of sizes; an item that is larger by itself is not kept.
        size: Of an item.

    Example:
        >>> kept = Recent(6, len)
        >>> for word in ("one", "two", "four"):
        ...     kept.put(word, word)
        >>> kept.get("one"), kept.get("four"), kept.used
        (None, 'four', 4)
    """

    def __init__(self, cap: int, size: Callable[[Item], int] = lambda _: 1) -> None:
        self.cap, self.used = cap, 0
        self._size = size
        self._items: OrderedDict[str, Item] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, tag: str) -> Item | None:
        """The item, which is now the newest; None where it is not kept."""
        found = self._items.get(tag)
        if found is not None:
            self._items.move_to_end(tag)
        return found

    def put(self, tag: str, item: Item) -> None:
        """Keep an item, and forget the oldest ones that no longer fit."""
        self.drop(tag)
        size = self._size(item)
        if size > self.cap:
            return
        self._items[tag] = item
        self.used += size
        while self.used > self.cap:
            _, oldest = self._items.popitem(last=False)
            self.used -= self._size(oldest)

    def drop(self, tag: str) -> None:
        """Forget an item where it is kept."""
        found = self._items.pop(tag, None)
        if found is not None:
            self.used -= self._size(found)
