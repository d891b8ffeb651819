"""Plans of pictures: listed once without opening any, kept as columns, opened later from wherever they lie."""

from __future__ import annotations

from vitscope.pictures.planned.listing import PicturePlan, plan_pictures
from vitscope.pictures.planned.record import SCHEMA, PlanDigest, PlannedPicture, from_table, to_columns
from vitscope.pictures.planned.source import PlannedSource

__all__ = [
    "SCHEMA",
    "PicturePlan",
    "PlanDigest",
    "PlannedPicture",
    "PlannedSource",
    "from_table",
    "plan_pictures",
    "to_columns",
]
