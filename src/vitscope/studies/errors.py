"""What goes wrong with a study as a whole."""

from __future__ import annotations

from vitscope.errors import VitscopeError


class StudyError(VitscopeError):
    """A study cannot be made, opened, run or read as it was asked."""


class OtherStudyError(StudyError):
    """A folder, a model or a version is another one than the study was made with."""
