"""What a study as a site of files will take, foreseen before it is written."""

from __future__ import annotations

from dataclasses import dataclass

LARGE = 1_000_000_000
"""Bytes above which somebody should agree first."""


@dataclass(frozen=True)
class SiteCost:
    """files: how many. bytes: foreseen from ``measured`` answers. free: of the disk, None where nobody can say."""

    files: int
    bytes: int
    measured: int
    free: int | None

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.free is None or self.bytes < self.free

    @property
    def large(self) -> bool:
        """Whether somebody should agree first."""
        return self.bytes > LARGE or not self.fits
