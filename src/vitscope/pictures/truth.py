"""What is known of each picture, checked against the number of pictures before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vitscope.errors import DataError
from vitscope.options.bounds import ReadLater

Labels = Annotated[Sequence[int] | NDArray[Any] | Tensor, ReadLater("one class index for each picture")]
"""A class index for each picture; :func:`check_labels` refuses all else."""
Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of the upright picture, measured from its top left corner; x1 and y1 are outer edges."""


def check_labels(labels: Any, count: int, what: str = "labels") -> list[int]:
    """One class for each of ``count`` pictures, from a list, an array or a tensor of whole numbers.

    Raises DataError for another number of them, for one-hot rows, and for what is no whole number from 0 on.
    """
    if isinstance(labels, (Tensor, np.ndarray)) and labels.ndim != 1:
        hint = ": one-hot rows? take their argmax(1)" if labels.ndim == 2 else ""
        raise DataError(f"expected {what} for {count} pictures, got shape {tuple(labels.shape)}{hint}")
    values = labels.tolist() if isinstance(labels, (Tensor, np.ndarray)) else list(_several(labels, what))
    check_count(values, count, what)
    return [_whole(value, what) for value in values]


def known_label(label: Any) -> int | None:
    """The class of one picture, None where it has none. Raises DataError for what is no whole number from 0 on."""
    return None if label is None else check_labels(np.asarray(label).reshape(-1), 1)[0]


def check_count(values: Sequence[Any], count: int, what: str) -> None:
    """Raise DataError unless there is one value for each of ``count`` pictures."""
    if len(values) != count:
        raise DataError(f"expected {what} for {count} pictures, got {len(values)}; give one for each")


def check_boxes(boxes: Any, count: int) -> list[list[Box]]:
    """A list of boxes for each of ``count`` pictures. Raises DataError for another number, or for what is no box."""
    given = list(_several(boxes, "boxes"))
    check_count(given, count, "boxes")
    return [[_box(box) for box in _several(known, "boxes of a picture")] for known in given]


def _several(values: Any, what: str) -> Iterable[Any]:
    single = getattr(values, "ndim", 1) == 0  # one number as an array
    if single or isinstance(values, (str, bytes)) or not isinstance(values, (Iterable, Tensor)):
        raise DataError(f"expected a list of {what}, one for each picture, got {type(values).__name__}")
    return values


def _whole(value: Any, what: str) -> int:
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        if isinstance(value, (Sequence, Tensor, np.ndarray)) and not isinstance(value, str):
            raise DataError(
                f"expected one class for each picture in {what}, got rows of {len(value)}: one-hot? take their argmax"
            )
        raise DataError(f"expected whole numbers in {what}, got {value!r:.40}; give class numbers")
    if value < 0:
        raise DataError(f"expected class numbers from 0 on in {what}, got {value}; leave the picture out")
    return int(value)


def _box(box: Any) -> Box:
    try:
        x0, y0, x1, y1 = (float(value) for value in box)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"expected a box as x0, y0, x1, y1, got {box!r:.80}; correct it") from error
    if not all(math.isfinite(value) for value in (x0, y0, x1, y1)) or x1 <= x0 or y1 <= y0:
        raise DataError(f"expected a box with x0 < x1 and y0 < y1, got {(x0, y0, x1, y1)}; correct it")
    return x0, y0, x1, y1
