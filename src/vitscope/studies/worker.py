"""One shard from its pictures to its record: the same for every engine, so every engine gives the same bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from vitscope.errors import AnswerError, OutputError
from vitscope.pictures import MAX_PIXELS, Batch
from vitscope.pictures.batch import batch_of
from vitscope.pictures.planned import PlannedSource
from vitscope.pictures.read_batch import ReadBatch
from vitscope.storage.recipe import digest_of
from vitscope.storage.stores import Store
from vitscope.studies import layout
from vitscope.studies.analyses.analysis import Desk, ShardAnalysis
from vitscope.studies.analyses.pictures import PictureRows
from vitscope.studies.contents import Contents
from vitscope.studies.foreseeing import foreseen
from vitscope.studies.manifest import Manifest, Stage, require_there
from vitscope.studies.output import Output, Places, pack
from vitscope.studies.pinned import device_kind, peak_mib, pinned
from vitscope.studies.plan_files import PlanFiles
from vitscope.studies.records import Records, ShardRecord, described
from vitscope.studies.stages import States, analyses_of, reduce_stage
from vitscope.studies.store.arrays import encode_shard
from vitscope.studies.store.specs import ArraySpec, shard_path
from vitscope.studies.store.tables import encode_table, table_path
from vitscope.tracing import Vit, sharing_traces
from vitscope.tracing.recipe import library_versions

Check = Callable[[], None]
"""Asked between batches; raises when the work should stop."""


@dataclass
class Finished:
    """What is told of a finished shard. seconds: by what they were spent on."""

    record: ShardRecord
    first: bool
    skipped: Mapping[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: int = 0
    peak_mib: float = 0.0


@dataclass
class _Clock:
    """Seconds by what they were spent on."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def spent(self, on: str) -> None:
        now = time.perf_counter()
        self.seconds[on] = self.seconds.get(on, 0.0) + now - self._last
        self._last = now


class Worker:
    """Computes shards of one study with one opened model.

    Args:
        store: The study's place.
        manifest: The study.
        vit: Its model.
        decode_threads: Threads that read pictures ahead of the model.
    """

    def __init__(self, store: Store, manifest: Manifest, vit: Vit, *, decode_threads: int = 2) -> None:
        self.store, self.manifest, self._vit = store, manifest, vit
        self._threads = decode_threads
        self._libraries = digest_of(library_versions())
        self._records = Records(store, manifest)
        self._states = States(store, self._records)
        self._desk = Desk.of(vit, manifest)
        self._plan = PlanFiles(store, manifest)
        self._contents = Contents(manifest, self._records, self._states)
        self._made: tuple[tuple[str, ...], dict[str, ShardAnalysis[Any]]] | None = None

    def run(self, stage: Stage, shard: int, check: Check = lambda: None) -> Finished:
        """Compute one shard of a stage, write its files, and last its record.

        Raises StoreFault when the study's place fails, and whatever the analyses raise.
        """
        clock = _Clock()
        self._records.forget()
        with pinned(self.manifest.threads, self._vit.device):
            if stage.kind == "reduce":
                outputs = {
                    "states": Output(states=reduce_stage(stage, self.manifest, self._desk, self._states))
                }
                contents = self._contents.rests_on(stage, shard)
                return self._write(stage, shard, outputs, {}, contents, clock)
            return self._shard(stage, shard, check, clock)

    def _shard(self, stage: Stage, shard: int, check: Check, clock: _Clock) -> Finished:
        start, stop = self.manifest.bounds(shard)
        planned, expected = self._contents.planned(stage, shard, self._plan.shard(shard))
        limit = self.manifest.input.max_pixels
        source = PlannedSource(
            self.manifest.input.url,
            planned,
            known=self.manifest.input.known,
            contents=expected,
            skip=True,
            max_pixels=MAX_PIXELS if limit is None else limit,
            threads=self._threads,
        ).part(0, len(planned))  # of a part, all pictures may be skipped
        places = Places(start, stop, [picture.key for picture in planned])
        rows = PictureRows(planned, source)
        parts: dict[str, list[Any]] = {name: [] for name in self._analyses(stage)}
        analyses = self._analyses(stage)
        with closing(source.batches(self._vit, self.manifest.batch_size)) as batches:  # type: ignore[type-var]
            for batch in batches:
                clock.spent("decode")
                check()
                rows.read(batch)
                for name, part in self._of_batch(stage, batch, analyses, rows):
                    parts[name].append(part)
                clock.spent("model")
        clock.spent("decode")
        outputs = {name: analyses[name].finish(parts[name], places) for name in analyses}
        if stage.name == self.manifest.main.name:
            outputs["pictures"] = rows.finish(places)
        clock.spent("model")
        skipped, ids = rows.skipped, rows.contents
        outputs["contents"] = Output(states=self._contents.states(stage, ids, skipped))
        return self._write(stage, shard, outputs, skipped, digest_of(ids), clock)

    def _analyses(self, stage: Stage) -> dict[str, ShardAnalysis[Any]]:
        needed = (record for need in stage.needs for record in self._records.all(need).values())
        made_of = (stage.name, *(record.contents for record in needed))
        if self._made is None or self._made[0] != made_of:
            self._made = (made_of, analyses_of(stage, self._desk, self._states))
        return self._made[1]

    def _of_batch(
        self, stage: Stage, batch: Batch, analyses: Mapping[str, ShardAnalysis[Any]], rows: PictureRows
    ) -> Iterator[tuple[str, Any]]:
        """What every analysis makes of one batch, from passes that they share; nothing of a batch without answers."""
        answered: Batch | None = batch
        while answered is not None:
            with sharing_traces(self._vit, answered.images, foreseen(stage, self._desk, answered.images)):
                refused = self._refused(answered)
                if not refused:
                    for name, analysis in analyses.items():
                        pictures = ReadBatch(answered, skip=True)
                        yield name, analysis.run(pictures)
                        for key, reason in pictures.skipped.items():
                            rows.leave_out(name, key, reason)
                    return
            for place, reason in refused.items():
                rows.refuse(answered.keys[place], reason)
            left = [picture for place, picture in enumerate(answered.pictures) if place not in refused]
            answered = batch_of(self._vit, left) if left else None

    def _refused(self, batch: Batch) -> dict[int, str]:
        """The pictures that the model answers with NaN or infinity, and why; all analyses read that pass."""
        if self._vit.anatomy.classes is None:
            return {}
        try:
            self._vit.forward(batch.images)
        except AnswerError as error:
            return dict.fromkeys(error.pictures, error.of_one)
        return {}

    def _write(
        self,
        stage: Stage,
        shard: int,
        outputs: Mapping[str, Output],
        skipped: Mapping[str, str],
        contents: str,
        clock: _Clock,
    ) -> Finished:
        files = dict(self._encoded(stage, shard, outputs))
        require_there(self.store, self.manifest)
        for path, content in files.items():
            self.store.put(path, content)
        require_there(self.store, self.manifest)
        start, stop = (0, 0) if stage.kind == "reduce" else self.manifest.bounds(shard)
        record = ShardRecord(
            self.manifest.study,
            stage.name,
            shard,
            start,
            stop,
            stop - start - len(skipped),
            len(skipped),
            described(files),
            device_kind(self._vit.device),
            self._libraries,
            contents,
            self._contents.rests_on(stage, shard),
        )
        first = self._records.write(record)
        clock.spent("write")
        return Finished(record, first, skipped, clock.seconds, sum(map(len, files.values())), peak_mib())

    def _encoded(
        self, stage: Stage, shard: int, outputs: Mapping[str, Output]
    ) -> Iterator[tuple[str, bytes]]:
        """Every file of a shard: tables, arrays, and one archive of states."""
        states: dict[str, bytes] = {}
        for output in outputs.values():
            for name, columns in output.tables.items():
                content = encode_table(name, columns, study=self.manifest.study, shard=shard)
                yield table_path(name, shard), content
            for path, values in output.arrays.items():
                spec = self._spec(path)
                yield shard_path(spec, shard), encode_shard(spec, self.manifest.shard_size, values)
            states.update(output.states)
        if states:
            yield layout.state_file(stage.name, shard), pack(states)

    def _spec(self, path: str) -> ArraySpec:
        spec = self.manifest.specs.get(path)
        if spec is None:
            raise OutputError(
                f"the array {path} was not foreseen when the study was made; make the study anew"
            )
        return spec
