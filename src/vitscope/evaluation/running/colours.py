"""What is made of the pictures' own colours: the mean of a data set, and the thumbnails of a page."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.running.dataset import EvaluationSet
from vitscope.models.preparing.cells import Cells
from vitscope.models.preparing.inputs import drawable
from vitscope.tracing import Vit


def mean_colour(data: EvaluationSet) -> tuple[float, float, float]:
    """The mean RGB of the pictures, 0..1, each picture counted alike: ``Protocol(mean_colour=...)`` of the data set.

    Raises EvaluationError for ready tensors, whose colours only the model's preprocessing knows.
    """
    total, count = np.zeros(3), 0
    for picture in data.source.read():
        if isinstance(picture.image, Tensor):
            raise EvaluationError(
                "a mean colour needs pictures, got ready tensors; give mean_colour yourself"
            )
        total, count = total + np.asarray(picture.image, dtype=np.float64).mean(axis=(0, 1)) / 255, count + 1
    red, green, blue = (total / max(1, count)).tolist()
    return red, green, blue


def thumbnail(vit: Vit, image: Tensor, cells: Cells) -> np.ndarray:
    """What the patches read of a picture (C, H, W), as uint8 (H, W, 3)."""
    image = image[:, cells.rows[0] : cells.rows[-1], cells.columns[0] : cells.columns[-1]]
    values: np.ndarray = drawable(image, vit.preprocessor).numpy()
    return values
