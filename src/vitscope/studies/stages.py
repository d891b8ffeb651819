"""The stages of a study, and what is done in each: ``means → means-all → main → fit → code``, as far as needed.

A stage of kind ``shard`` goes over the pictures; one of kind ``reduce`` brings together what the shards before it left
and is itself one shard, so that it is recorded, verified and resumed in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vitscope.heads.answers.class_rows import ClassRows
from vitscope.heads.answers.features import Features
from vitscope.storage.stores import Store
from vitscope.studies import layout
from vitscope.studies.analyses.analysis import Desk, ShardAnalysis
from vitscope.studies.analyses.answers import MeasuredRows, Predictions
from vitscope.studies.analyses.explanations import Explanations
from vitscope.studies.analyses.heads import Importance
from vitscope.studies.analyses.matrices import Attention
from vitscope.studies.analyses.means import Means
from vitscope.studies.analyses.patterns import Codes, MapSamples, atlas_of, fitted
from vitscope.studies.analyses.scores import Scores
from vitscope.studies.analyses.strength import Strength
from vitscope.studies.errors import StudyError
from vitscope.studies.manifest import Manifest, Stage
from vitscope.studies.output import unpack
from vitscope.studies.records import Records
from vitscope.studies.store.tables import damaged

MEANS, MEANS_ALL, MAIN, FIT, CODE = "means", "means-all", "main", "fit", "code"


class States:
    """What finished stages left for those after them."""

    def __init__(self, store: Store, records: Records) -> None:
        self._store, self._records = store, records

    def of(self, stage: str, shard: int) -> dict[str, bytes]:
        """The states of one shard."""
        path = layout.state_file(stage, shard)
        record = self._records.read(stage, shard)
        if record is None or path not in record.files:
            return {}  # none of its pictures could be used
        place = self._store.url(path)
        if not self._store.exists(path):
            raise damaged(place, "it is missing though its shard is finished")
        content = self._store.read(path)
        if hashlib.sha256(content).hexdigest() != record.files[path]["sha256"]:
            raise damaged(place, "its checksum does not fit" if content else "it is empty")
        return unpack(content, place)

    def all(self, stage: str) -> Iterator[dict[str, bytes]]:
        """Those of every shard, in their order. Raises StudyError when one is not finished."""
        return (self.of(stage, shard) for shard in self._records.require(stage))


def analyses_of(stage: Stage, desk: Desk, states: States) -> dict[str, ShardAnalysis[Any]]:
    """The analyses of a shard stage, ready to be given pictures."""
    return {name: _made(name, options, desk, states) for name, options in stage.analyses.items()}


def _made(name: str, options: Mapping[str, Any], desk: Desk, states: States) -> ShardAnalysis[Any]:
    match name:
        case "predictions":
            return Predictions(desk, **options)
        case "explain":
            return Explanations(desk, **options)
        case "evaluate":
            return Scores(desk, **options)
        case "importance":
            chosen = dict(options)
            replacement = chosen.pop("replacement")
            means = None
            if replacement != "zero":
                means = Means(desk, replacement == "mean-per-query").means(states.of(MEANS_ALL, 0))
            return Importance(desk, means=means, **chosen)
        case "strength":
            return Strength(desk, **options)
        case "patterns":
            return MapSamples(desk, options["per_head"], options["limits"])
        case "class_rows":
            return MeasuredRows(desk, ClassRows(desk.vit))
        case "features":
            return MeasuredRows(desk, Features(desk.vit))
        case "attention":
            return MeasuredRows(desk, Attention(desk.vit))
        case "means":
            return Means(desk, **options)
        case "codes":
            return Codes(desk, atlas_of(states.of(FIT, 0)))
        case _:
            raise StudyError(
                f"this study has an analysis {name!r}, which this vitscope does not know; upgrade it"
            )


def reduce_stage(stage: Stage, manifest: Manifest, desk: Desk, states: States) -> dict[str, bytes]:
    """What a reduction makes of the states of the stage before it."""
    (before,) = stage.needs
    if stage.name == MEANS_ALL:
        options = manifest.stage(before).analyses["means"]
        return Means(desk, **options).reduce(states.all(before))
    options = manifest.stage(before).analyses["patterns"]
    sample = MapSamples(desk, options["per_head"], options["limits"]).whole(states.all(before))
    if sample is None:
        raise StudyError(
            "no attention map could be collected, so no patterns can be fitted; see the skipped pictures"
        )
    return fitted(sample, stage.analyses["patterns"], None)


def planned_stages(
    analyses: Mapping[str, Mapping[str, Any]], fit: Mapping[str, Any] | None
) -> tuple[Stage, ...]:
    """The stages that these analyses need. fit: options of the atlas, None without patterns."""
    stages: list[Stage] = []
    needs: Sequence[str] = ()
    replacement = str(analyses.get("importance", {}).get("replacement", "zero"))
    if replacement != "zero":
        stages.append(Stage(MEANS, "shard", (), {"means": {"per_query": replacement == "mean-per-query"}}))
        stages.append(Stage(MEANS_ALL, "reduce", (MEANS,)))
        needs = (MEANS_ALL,)
    stages.append(Stage(MAIN, "shard", tuple(needs), dict(analyses)))
    if fit is not None:
        stages.append(Stage(FIT, "reduce", (MAIN,), {"patterns": dict(fit)}))
        stages.append(Stage(CODE, "shard", (FIT,), {"codes": {}}))
    return tuple(stages)
