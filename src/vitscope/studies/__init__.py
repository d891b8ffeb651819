"""Studies: analyses of any number of pictures, on disk, resumable, on one machine or on a Ray cluster."""

from vitscope.studies.choices import (
    EvaluateChoice,
    ExplainChoice,
    ImportanceChoice,
    PatternsChoice,
    StrengthChoice,
)
from vitscope.studies.creating import Sizes
from vitscope.studies.errors import OtherStudyError, StudyError
from vitscope.studies.estimate import Estimate
from vitscope.studies.paired import PairedStudies, pair
from vitscope.studies.running import Report, Retry
from vitscope.studies.status import StageStatus, StudyStatus
from vitscope.studies.study import Study

__all__ = [
    "Estimate",
    "EvaluateChoice",
    "ExplainChoice",
    "ImportanceChoice",
    "OtherStudyError",
    "PairedStudies",
    "PatternsChoice",
    "Report",
    "Retry",
    "Sizes",
    "StageStatus",
    "StrengthChoice",
    "Study",
    "StudyError",
    "StudyStatus",
    "pair",
]
