"""``vitscope study migrate``: a study that an older vitscope made is brought to the form that this one writes."""

from __future__ import annotations

from vitscope.cli.shared import console
from vitscope.cli.shared.options import JsonOptions
from vitscope.cli.shared.study_options import StudyOptions


def migrate(place: StudyOptions, told: JsonOptions) -> None:
    """Bring a study of an older vitscope to the form that this one writes; shards stay as they are.

    The old manifest is kept beside the new one.
    """
    import vitscope as vs

    before, now = vs.Study.migrate(place.study, alone=place.alone)
    if told.json:
        console.emit_json({"study": place.study, "before": before, "schema": now})
    elif before == now:
        console.say(f"{place.study} is at schema {now}, which this vitscope writes; nothing to do")
    else:
        console.say(
            f"{place.study} was at schema {before}, now at {now}; manifest.json.{before} is the old manifest"
        )
