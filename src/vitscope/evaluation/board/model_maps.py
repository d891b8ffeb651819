"""What one of several compared models gives on the pictures: its maps and its predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ModelMaps:
    """What one model gives on the pictures: maps (n, h, w) float32 by row of the table, and what it predicts.

    predicted (n,) and sure (n,), its probability, are None for a model without classes."""

    keys: tuple[str, ...]
    maps: Mapping[str, NDArray[np.float32]]
    predicted: NDArray[np.int64] | None = None
    sure: NDArray[np.float32] | None = None
    class_names: tuple[str, ...] = ()

    def only(self, keys: Sequence[str]) -> ModelMaps:
        """Those of some of the pictures, in this order."""
        at = [self.keys.index(key) for key in keys]
        return ModelMaps(
            tuple(keys),
            {row: maps[at] for row, maps in self.maps.items()},
            None if self.predicted is None else self.predicted[at],
            None if self.sure is None else self.sure[at],
            self.class_names,
        )

    def word(self, place: int) -> str:
        """The predicted class of a picture: its name, else its number; empty without classes."""
        if self.predicted is None:
            return ""
        number = int(self.predicted[place])
        return self.class_names[number] if number < len(self.class_names) else str(number)
