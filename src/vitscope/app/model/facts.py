"""What is known of an opened model without asking it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vitscope.app.answers.methods import first_kept
from vitscope.models.preparing.preprocessor import Preprocessor


@dataclass(frozen=True)
class Facts:
    """model, methods: as ``answers`` gives them. preprocessor: how pictures become its input. forward, backward:
    seconds of one picture. identity: digest of all that a result depends on beside its question. video: whether films
    can be written."""

    model: dict[str, Any]
    methods: dict[str, Any]
    class_names: tuple[str, ...] | None
    preprocessor: Preprocessor | None
    forward: float
    backward: float
    identity: str
    video: bool

    def beside(self, kept: Sequence[str]) -> Facts:
        """The same beside a study that keeps maps of these methods: where none is named, one of them is shown."""
        if not kept:
            return self
        return replace(self, methods={**self.methods, "default": first_kept(self.methods["default"], kept)})
