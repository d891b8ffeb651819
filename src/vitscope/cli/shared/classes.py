"""The true classes of a command's pictures, from a file or from what lies beside the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vitscope.errors import VitscopeError

if TYPE_CHECKING:
    from vitscope.pictures import PictureSource
    from vitscope.tracing import Vit


def with_classes(source: PictureSource, labels: Path | None, vit: Vit) -> PictureSource:
    """The pictures with their classes. A file that no list knows and that is no picture gets class 0: it is skipped."""
    from vitscope.models.opening.class_names import imagenet_wnids
    from vitscope.pictures import picture_source
    from vitscope.pictures.annotations.matching import read_known

    classes = vit.anatomy.classes

    def known(pictures: PictureSource) -> PictureSource:
        return read_known(
            pictures, labels, None, classes, class_names=vit.class_names,
            wordnet_ids=imagenet_wnids() if classes == 1000 else None, needs=("labels",),
        )  # fmt: skip

    try:
        found = known(source)
    except VitscopeError:
        readable = [picture.position for picture in source.read()]
        if len(readable) in (0, len(source)):
            raise
        some = picture_source([source.items[place] for place in readable], skip=True)
        few = known(some).labels
        if few is None:
            return source
        numbers = dict(zip(readable, few, strict=True))
        found = picture_source(source, labels=[numbers.get(place, 0) for place in range(len(source))])
    # Masks and boxes that were found beside the pictures are no business of heads.
    return source if found.labels is None else picture_source(source, labels=found.labels)
