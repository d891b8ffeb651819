"""The opened model as its traces know it, so that they can run it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from vitscope.models.anatomy import Anatomy


@dataclass(frozen=True, eq=False)
class TracedModel:
    """An opened model as a trace knows it, enough to run it again on the same inputs.

    anatomy: at the size of the traced inputs. precision: the model's own, which a trace may have replaced.
    embedding_call: which convolution of the forward makes the patch embedding, None when none does. notes: remarks of
    the opening, one line each."""

    module: nn.Module
    source: str
    anatomy: Anatomy
    precision: str = "float32"
    embedding_call: int | None = None
    notes: Sequence[str] = ()
    class_names: Sequence[str] | None = None
