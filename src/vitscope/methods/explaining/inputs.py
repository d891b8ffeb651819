"""What is explained, batch by batch: pictures from a source, films, texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vitscope.methods.explaining.original import originals_of
from vitscope.pictures import Images
from vitscope.pictures.accepted import picture_source
from vitscope.tracing import Vit
from vitscope.tracing.calls.calling import Inputs, batch_of, select
from vitscope.tracing.picture_keys import content_keys


@dataclass(frozen=True)
class InputBatch:
    """Some of ``count`` pictures or texts, ready for the model: their places among all, their names, their contents."""

    inputs: Inputs
    positions: list[int]
    count: int
    keys: list[str]
    ids: list[str]
    originals: list[dict[str, Any]] | None = None
    """Of each picture its own size and how it came to the model's input, see ``original_of``; None for no pictures."""


def input_batches(vit: Vit, images: Images, batch_size: int) -> Iterator[InputBatch]:
    """What is explained, read batch by batch. Raises MethodError, and PictureError for what cannot be read."""
    token_ids = isinstance(images, Tensor) and images.dim() == 2 and not images.is_floating_point()
    films = isinstance(images, Tensor) and images.dim() == 5 and images.is_floating_point()
    if isinstance(images, Mapping) or token_ids or films:
        inputs = vit.inputs(images)
        count = batch_of(inputs)
        for start in range(0, count, batch_size):
            index = torch.arange(start, min(start + batch_size, count))
            part = inputs if count <= batch_size else select(inputs, index)
            ids = list(content_keys(part))
            yield InputBatch(part, index.tolist(), count, ids, ids)
        return
    source = picture_source(images)
    for batch in source.batches(vit, batch_size):
        originals = originals_of(vit, batch)
        yield InputBatch(
            vit.inputs(batch.images), batch.positions, len(source), batch.keys, batch.ids, originals
        )
