"""Which bytes the pictures had that a stage read, so that no result mixes what was read before and after a change.

A file may change or vanish after a study was made: what counts is what the first stage reads, and the table of pictures
says what that was. Later stages take the same bytes or skip the picture, with the reason. Where an earlier shard was
made again from other bytes, what rests on it is made again, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from vitscope.pictures.planned import PlannedPicture
from vitscope.storage.recipe import digest_of
from vitscope.studies.manifest import Manifest, Stage
from vitscope.studies.output import packed_json
from vitscope.studies.records import Records
from vitscope.studies.stages import States

STATE = "contents.json"


class Contents:
    """What the stages of a study have read.

    Args:
        manifest: The study.
        records: Of its shards.
        states: What they left.
    """

    def __init__(self, manifest: Manifest, records: Records, states: States) -> None:
        self._manifest, self._records, self._states = manifest, records, states

    def planned(
        self, stage: Stage, shard: int, pictures: Sequence[PlannedPicture]
    ) -> tuple[list[PlannedPicture], list[str] | None]:
        """The pictures of a shard as a stage is to read them: those that an earlier stage skipped are skipped again.
        With the hash that each must have, None where this stage is the first."""
        before = self._before(stage)
        if before is None:
            return list(pictures), None
        note = json.loads(self._states.of(before.name, shard)[STATE])
        skipped = note["skipped"]
        return [each._replace(reason=skipped.get(each.key, each.reason)) for each in pictures], note["ids"]

    def states(self, stage: Stage, ids: Sequence[str], skipped: Mapping[str, str]) -> dict[str, bytes]:
        """What a stage leaves for the one after it that reads pictures; nothing where there is none."""
        if all(self._before(each) != stage for each in self._manifest.stages):
            return {}
        return {STATE: packed_json({"ids": list(ids), "skipped": dict(skipped)})}

    def rests_on(self, stage: Stage, shard: int) -> str:
        """Digest of the contents behind all that a shard is made from, as the records say now."""
        found: list[str | None] = []
        for need in stage.needs:
            needed = self._manifest.stage(need)
            shards = range(self._manifest.shards_of(needed))
            found += [self._of(need, each) for each in shards]
        before = self._before(stage)
        if before is not None:
            found.append(self._of(before.name, shard))
        return digest_of(found)

    def _of(self, stage: str, shard: int) -> str | None:
        record = self._records.read(stage, shard)
        return None if record is None else record.contents

    def _before(self, stage: Stage) -> Stage | None:
        """The stage that read the same pictures before this one."""
        if stage.kind == "reduce":
            return None
        stages = self._manifest.stages
        earlier = stages[: [each.name for each in stages].index(stage.name)]
        return next((each for each in reversed(earlier) if each.kind == "shard"), None)
