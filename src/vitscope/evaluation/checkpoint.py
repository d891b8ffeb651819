"""The finished part of a run on disk, so that an interrupted run goes on where it stopped.

Every save is a folder of its own, complete or ignored; the one before is removed only after it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vitscope.errors import OutputError, StorageError
from vitscope.evaluation.dataset import EvaluationSet
from vitscope.evaluation.leaderboard import Leaderboard
from vitscope.evaluation.protocol import Protocol, pictures_digest

SECONDS = 20
"""A finished part is written at most this often."""


class Checkpoint:
    """Where the finished part of one run is kept. ``folder`` None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._saved = time.monotonic()

    def load(
        self, protocol: Protocol, methods: Sequence[str], metrics: Sequence[str], data: EvaluationSet
    ) -> Leaderboard | None:
        """The finished part of such a run on the first pictures of ``data``, if there is one."""
        for place in reversed(self._places()):
            try:
                board = Leaderboard.load(place)
            except StorageError:
                continue
            done = board.protocol.pictures
            same = board.protocol.shard_digest == protocol.shard_digest
            if (
                same
                and board.names == list(methods)
                and board.metrics == list(metrics)
                and board.protocol.images == pictures_digest(data.keys[:done])
            ):
                return board
        return None

    def save(self, board: Leaderboard) -> None:
        """Keep the finished part, unless one was kept a moment ago. Raises OutputError."""
        if self._folder is None or time.monotonic() - self._saved < SECONDS:
            return
        from vitscope.evaluation.storage import save_state

        before = self._places()
        save_state(board, self._folder / f"{board.protocol.pictures:09d}", pictures=True)
        for place in before:
            if place.name != f"{board.protocol.pictures:09d}":
                shutil.rmtree(place, ignore_errors=True)
        self._saved = time.monotonic()

    def _places(self) -> list[Path]:
        if self._folder is None:
            return []
        try:
            return sorted(place for place in self._folder.iterdir() if place.name.isdigit())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(
                f"the folder {self._folder} cannot be read ({error.strerror}); choose another folder"
            ) from None


def grow(
    make: Callable[[EvaluationSet], Leaderboard],
    board: Leaderboard | None,
    data: EvaluationSet,
    batch_size: int,
    checkpoint: Checkpoint,
) -> Leaderboard:
    """Evaluate the pictures that ``board`` does not hold yet, part by part, and add each part to it.

    Parts grow with what is done (a sixteenth of it, in whole batches), so that adding them costs little, and a run
    that is stopped loses little.
    """
    done = 0 if board is None else board.protocol.pictures
    while board is None or done < len(data):
        size = batch_size * max(1, done // (16 * batch_size))
        part = make(data.part(done, min(done + size, len(data))))
        board = part if board is None else board.merge(part)
        done = board.protocol.pictures
        checkpoint.save(board)
    return board
