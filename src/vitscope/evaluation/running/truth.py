"""What is known about pictures on disk, as an evaluation set: classes, boxes and masks from the files beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from vitscope.evaluation.running.dataset import EvaluationSet, evaluation_set
from vitscope.models.opening.class_names import imagenet_wnids
from vitscope.pictures.accepted import picture_source
from vitscope.pictures.annotations.matching import read_known
from vitscope.pictures.source import PictureSource


def read_truth(
    pictures: PictureSource | Sequence[Path],
    labels: Path | None = None,
    boxes: Path | None = None,
    classes: int | None = None,
    masks: Path | None = None,
    *,
    keys: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    needs: Collection[str] = ("labels", "boxes"),
    tell: Callable[[str], None] | None = None,
) -> EvaluationSet:
    """Pictures with their classes, boxes and masks, see :func:`vitscope.pictures.annotations.matching.read_known`.

    ``keys``: a name for each picture, see :mod:`vitscope.pictures.identity`; by default its path.
    Folders and files that are called by the WordNet ids of ImageNet tell their class where the model has its 1000
    ``classes``. Raises DataError when a file cannot be read, or knows nothing about one of the pictures.
    """
    given = pictures if isinstance(pictures, PictureSource) else list(pictures)
    source = picture_source(given, keys=keys)
    known = read_known(
        source,
        labels,
        boxes,
        classes,
        masks,
        class_names=class_names,
        wordnet_ids=imagenet_wnids() if classes == 1000 else None,
        needs=needs,
        tell=tell,
    )
    return evaluation_set(known)
