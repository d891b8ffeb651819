"""What the boards of shards cost together: seconds a picture, memory, evaluations of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vitscope.evaluation.board.records import Board, MethodRecord, Place


@dataclass
class Spent:
    """Cost of all boards that were added."""

    methods: Sequence[MethodRecord] = ()
    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    evaluations: dict[Place, int] = field(default_factory=dict)
    shared: int = 0
    pictures: int = 0

    def add(self, board: Board) -> None:
        """Take in the cost of a board of the same methods."""
        count, records = board.protocol.pictures, board.methods
        if not self.methods:
            self.methods = records
            self.seconds = [0.0] * len(records)
            self.memory = [record.memory for record in records]
        self.pictures += count
        self.seconds = [
            before + record.seconds * count for before, record in zip(self.seconds, records, strict=True)
        ]
        self.memory = [
            float(np.fmax(before, record.memory)) for before, record in zip(self.memory, records, strict=True)
        ]
        self.shared += board.shared_evaluations
        for place, count in board.evaluations.items():
            self.evaluations[place] = self.evaluations.get(place, 0) + count

    def records(self) -> list[MethodRecord]:
        """The methods with the mean seconds of a picture and the largest memory."""
        total = max(1, self.pictures)
        return [
            replace(record, seconds=seconds / total, memory=memory)
            for record, seconds, memory in zip(self.methods, self.seconds, self.memory, strict=True)
        ]
