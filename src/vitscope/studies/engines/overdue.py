"""Shards that take far longer than the others, as the files of their attempts and one clock tell."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection

from vitscope.studies import layout
from vitscope.studies.attempts import Attempts

PATIENCE, LEAST = 20.0, 300.0
"""A shard may take so many times the median of the others, and at least so many seconds."""
ENOUGH = 3
"""Finished shards from which on their median says how long one takes."""


class Overdue:
    """Finds attempts at shards that last too long.

    The clock of one process counts, from when it first sees that an attempt was begun; a shard that waits for a machine
    is not late.

    Args:
        attempts: Those of a stage.
        run: Whose attempts.
    """

    def __init__(self, attempts: Attempts, run: str) -> None:
        self._attempts, self._run = attempts, run
        self._seconds: list[float] = []
        self._seen: dict[str, float] = {}
        self._looked = 0.0

    def finished(self, seconds: float) -> None:
        """A shard took so many seconds."""
        self._seconds.append(seconds)

    @property
    def limit(self) -> float | None:
        """Seconds that a shard may take; None as long as too few are finished."""
        if len(self._seconds) < ENOUGH:
            return None
        return max(LEAST, PATIENCE * statistics.median(self._seconds))

    def among(self, shards: Collection[int]) -> list[int]:
        """Those of these shards, which are being computed, that take too long; each attempt is told once."""
        limit, now = self.limit, time.monotonic()
        if limit is None or now - self._looked < limit / 10:
            return []
        self._looked = now
        found = self._attempts.left()
        late = []
        for shard in shards:
            newest = self._newest(found.get(shard, ()))
            if newest is not None and now - self._seen.setdefault(newest, now) > limit:
                self._seen[newest] = float("inf")
                late.append(shard)
        return late

    def _newest(self, paths: Collection[str]) -> str | None:
        """The last attempt of this run."""
        mine = []
        for path in paths:
            parsed = layout.attempt_in(path.rsplit("/", 1)[-1])
            if parsed is not None and parsed[1] == self._run:
                mine.append((parsed[2], path))
        return max(mine)[1] if mine else None
