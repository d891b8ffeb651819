"""FiftyOne's heat-map fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from vitscope.adapters.errors import AdapterError
from vitscope.adapters.explained import opened
from vitscope.adapters.other_packages import package
from vitscope.methods import Explanation, get_method
from vitscope.methods.explaining.explain import explain
from vitscope.options.bounds import BatchSize, Range
from vitscope.options.door import checked
from vitscope.tracing.targets.parsing import TargetLike

Side = Annotated[int, Range(1, 100_000)]


@checked(AdapterError)
def heatmap(explanation: Explanation, index: int = 0, *, side: Side = 256) -> dict[str, Any]:
    """One picture's map as the fields of a ``fiftyone.Heatmap``: ``fiftyone.Heatmap(**heatmap(e, 0))``.

    FiftyOne lays a heat map over the whole picture, so the model's resize and crop are undone; what the crop left out
    has the value 0. The range is the map's own, from -m to m for a method whose values have a sign.

    Args:
        explanation: Of pictures from files; of ready tensors the map covers the tensor.
        index: The picture, from 0.
        side: The longest side of the map in cells; of a larger picture evenly spread pixels are taken.

    Returns:
        ``map``, an array (h, w) float32, and ``range``, the values [low, high] at the ends of the colours.

    Raises:
        AdapterError: The explanation is of films.
        PlaceError: There is no such picture.

    Example:
        >>> import vitscope as vs
        >>> from PIL import Image
        >>> e = vs.explain(vs.open_model("bundled/shapes"), [Image.new("RGB", (300, 200))], "gae")
        >>> fields = vs.adapters.heatmap(e, 0, side=90)
        >>> fields["map"].shape, fields["range"][0]
        ((60, 90), 0.0)
    """
    one = explanation[index]
    if explanation.maps.dim() != 3:
        raise AdapterError(
            "expected one map for each picture; these are of films, take maps[index] by its steps"
        )
    known = explanation.metadata.get("originals") is not None
    large = (one.on_original(0) if known else one.maps[0]).float().cpu().numpy()
    rows, columns = (_picked(length, max(large.shape), side) for length in large.shape)
    own = one.maps[0].float().cpu().numpy()
    signed = get_method(explanation.method).signed
    high = float(np.abs(own).max()) if signed else float(own.max())
    low = -high if signed else min(0.0, float(own.min()))
    values = np.nan_to_num(large[rows][:, columns], nan=0.0)
    return {"map": values, "range": [low, high if high > low else low + 1.0]}


def _picked(length: int, longest: int, side: int) -> NDArray[np.int64]:
    """Rows or columns to keep, evenly spread over all of them."""
    count = length if longest <= side else max(1, round(length * side / longest))
    picked: NDArray[np.int64] = ((np.arange(count) + 0.5) * length / count).astype(np.int64)
    return picked


@checked(AdapterError)
def add_heatmaps(
    samples: Iterable[Any],
    vit: Any,
    field: str,
    *,
    method: str | None = None,
    target: TargetLike = None,
    batch_size: BatchSize = 16,
    side: Side = 256,
    **options: Any,
) -> int:
    """Explain the pictures of a FiftyOne data set or view, and save each map in a heat-map field of its sample.

    Args:
        samples: A data set, a view, or a list of samples with a ``filepath``.
        vit: The opened model.
        field: The name of the field, such as ``"dart"``.
        method: The method, see ``vs.methods()``; None takes the default one.
        target: What is explained, one for all, as in :func:`vitscope.explain`.
        batch_size: Pictures in one pass. Changes no result.
        side: The longest side of a map in cells.
        options: Options of the method, by name.

    Returns:
        The number of samples that got a map.

    Raises:
        AdapterError: FiftyOne is not installed, or something is no sample.
        PictureError: A picture cannot be read; samples of earlier batches have their maps.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> vs.adapters.add_heatmaps([], vit, "dart", method="dart")  # a data set, a view or samples
        0
    """
    model, count = opened(vit), 0
    if not field.isidentifier():
        raise AdapterError(f"expected field as a name such as dart, got {field!r:.40}")
    waiting: list[Any] = []

    def done() -> int:
        label = package("fiftyone", "a heat-map field").Heatmap
        paths = [sample.filepath for sample in waiting]
        found = explain(model, paths, method, target, batch_size=batch_size, keep_pictures=False, **options)
        for index, sample in enumerate(waiting):
            sample[field] = label(**heatmap(found, index, side=side))
            sample.save()
        made = len(waiting)
        waiting.clear()
        return made

    for sample in samples:
        if not isinstance(getattr(sample, "filepath", None), str):
            raise AdapterError(f"expected samples with a filepath, got {type(sample).__name__}")
        waiting.append(sample)
        if len(waiting) == batch_size:
            count += done()
    return count + (done() if waiting else 0)
