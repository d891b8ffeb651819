"""What a study will cost, measured on its first pictures before anything large is begun."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitscope.errors import PictureError
from vitscope.pictures import MAX_PIXELS, Batch
from vitscope.pictures.planned import PlannedPicture, PlannedSource
from vitscope.pictures.read_batch import ReadBatch
from vitscope.studies.analyses.analysis import Desk, ShardAnalysis
from vitscope.studies.analyses.pictures import PictureRows
from vitscope.studies.foreseeing import foreseen
from vitscope.studies.manifest import Stage
from vitscope.studies.output import Output, Places
from vitscope.studies.pinned import pinned
from vitscope.studies.stages import MAIN
from vitscope.studies.store.arrays import encode_shard
from vitscope.studies.store.specs import ArraySpec
from vitscope.studies.store.tables import encode_table
from vitscope.tracing import sharing_traces
from vitscope.tracing.calls.counting import counted_passes

BATCHES = 3
"""Batches of the calibration; the first warms up and is not counted."""
LARGE_BYTES, LARGE_SECONDS = 10 * 1024**3, 3600.0
"""Above these a study is not begun before somebody agreed."""
SECONDS_OF_SHARD, BYTES_OF_SHARD = 120.0, 256 * 1024**2
SMALLEST_SHARD, LARGEST_SHARD = 64, 16_384


@dataclass(frozen=True)
class Cost:
    """What one picture costs in a stage.

    forwards, backwards: passes; a changed copy of a picture counts as one. seconds: of the model, on the machine of the
    calibration. decode: seconds to read it. bytes: written for it. shard_bytes: written for a shard beside that: sums,
    whose size does not grow with its pictures.
    """

    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    decode: float = 0.0
    bytes: float = 0.0
    shard_bytes: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """The cost of a picture in a stage, and what its analyses write. by_analysis: seconds of each."""

    cost: Cost
    arrays: Sequence[ArraySpec]
    tables: Sequence[str]
    by_analysis: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimate:
    """What a whole study costs.

    pictures, shards: how many. forwards, backwards: passes in all. seconds: on one worker like this machine, reading
    included. decode: the part of it that is reading. bytes: written. free: bytes that are free there, None where nobody
    can say. fit: whether an atlas is fitted, too, whose time is not in ``seconds``.

    Example:
        >>> estimate = Estimate(
        ...     pictures=1000, shards=16, forwards=1000, backwards=1000, seconds=90, decode=8, bytes=4e6, free=10**12
        ... )
        >>> estimate.fits, estimate.large
        (True, False)
    """

    pictures: int
    shards: int
    forwards: float
    backwards: float
    seconds: float
    decode: float
    bytes: float
    free: int | None
    fit: bool = False

    @property
    def large(self) -> bool:
        """Whether somebody should agree before it is begun."""
        return self.bytes > LARGE_BYTES or self.seconds > LARGE_SECONDS or not self.fits

    @property
    def fits(self) -> bool:
        """Whether it will fit on the disk, as far as anybody can say."""
        return self.free is None or self.bytes <= self.free

    @classmethod
    def of(
        cls, stages: Sequence[Calibration], pictures: int, shards: int, free: int | None, fit: bool
    ) -> Estimate:
        """The cost of so many pictures in these stages."""
        each = [stage.cost for stage in stages]
        total = {
            name: sum(getattr(cost, name) for cost in each) * pictures
            for name in ("forwards", "backwards", "seconds", "decode", "bytes")
        }
        total["bytes"] += sum(cost.shard_bytes for cost in each) * shards
        return cls(
            pictures,
            shards,
            round(total["forwards"]),
            round(total["backwards"]),
            round(total["seconds"] + total["decode"], 1),
            round(total["decode"], 1),
            round(total["bytes"]),
            free,
            fit,
        )


def calibrate(
    root: str,
    pictures: Sequence[PlannedPicture],
    known: Sequence[str],
    max_pixels: int | None,
    desk: Desk,
    stage: Stage,
    analyses: Mapping[str, ShardAnalysis[Any]],
    threads: int,
    kept: Callable[[ArraySpec], ArraySpec],
) -> Calibration:
    """Run the analyses of a stage on the first pictures, and see what they cost and write. ``kept`` says of an array
    how it is kept.

    Raises PictureError when none of these pictures can be read, and errors of the analyses for a model that they cannot
    be done with.
    """
    source = PlannedSource(
        root, pictures, known=known, skip=True, max_pixels=MAX_PIXELS if max_pixels is None else max_pixels
    )
    rows = PictureRows(pictures, source)
    parts: dict[str, list[Any]] = {name: [] for name in analyses}
    seconds = dict.fromkeys(analyses, 0.0)
    decode, counted = 0.0, 0
    of_batches: list[int] = []
    forwards = backwards = 0
    with pinned(threads, desk.vit.device):
        for number, (batch, spent) in enumerate(_read(source, desk)):
            rows.read(batch)
            first = number == 0 and len(pictures) > desk.batch_size  # it pays for what is made once
            with (
                counted_passes() as count,
                sharing_traces(desk.vit, batch.images, foreseen(stage, desk, batch.images)),
            ):
                for name, analysis in analyses.items():
                    started = time.perf_counter()
                    parts[name].append(analysis.run(ReadBatch(batch, skip=True)))
                    seconds[name] = 0.0 if first else seconds[name] + time.perf_counter() - started
            of_batches.append(len(batch))
            if not first:
                counted += len(batch)
                decode += spent
                forwards, backwards = forwards + count.forwards, backwards + count.backwards
        if not of_batches:
            reason = next(iter(rows.skipped.values()))
            raise PictureError(f"none of the first {len(pictures)} pictures can be read; the first: {reason}")
        places = Places(0, len(pictures), [picture.key for picture in pictures])
        outputs = {name: analyses[name].finish(parts[name], places) for name in analyses}
        fewer = {name: analyses[name].finish(parts[name][:1], places) for name in analyses}
    each = max(1, counted)
    arrays = [kept(spec) for name, analysis in analyses.items() for spec in analysis.arrays(parts[name])]
    by_path = {spec.path: spec for spec in arrays}
    growing, of_shard = _states(_size(outputs.values()), _size(fewer.values()), of_batches)
    written = growing * len(pictures)
    if stage.name == MAIN:
        outputs["pictures"] = rows.finish(places)
    for output in outputs.values():
        for table, columns in output.tables.items():
            written += len(encode_table(table, columns, study="", shard=0))
        for path, values in output.arrays.items():
            written += len(encode_shard(by_path[path], len(values), np.asarray(values)))
    cost = Cost(
        forwards / each,
        backwards / each,
        sum(seconds.values()) / each,
        decode / each,
        written / len(pictures),
        of_shard,
    )
    tables = sorted({table for analysis in analyses.values() for table in analysis.tables})
    return Calibration(cost, arrays, tables, {name: value / each for name, value in seconds.items()})


def fitting_shard_size(cost: Cost, batch_size: int) -> int:
    """How many pictures make a shard: whole batches, about two minutes of work, at most 256 MB written."""
    unit = max(batch_size, 16)
    unit = unit if unit % batch_size == 0 else batch_size
    by_time = SECONDS_OF_SHARD / max(1e-9, cost.seconds + cost.decode)
    by_bytes = max(1.0, BYTES_OF_SHARD - cost.shard_bytes) / max(1.0, cost.bytes)
    wanted = min(max(by_time, SMALLEST_SHARD), LARGEST_SHARD, by_bytes)
    return max(1, round(wanted / unit)) * unit


def _size(outputs: Iterable[Output]) -> int:
    """Bytes of the states of all analyses."""
    return sum(len(content) for output in outputs for content in output.states.values())


def _states(whole: int, first: int, of_batches: Sequence[int]) -> tuple[float, float]:
    """(bytes of states for each picture, bytes of states for each shard), from those of all batches and of the first.

    Sums are as long for many pictures as for few; samples and names of pictures grow.
    """
    more = sum(of_batches[1:])
    growing = max(0.0, (whole - first) / more) if more else 0.0
    return growing, max(0.0, whole - growing * sum(of_batches))


def _read(source: PlannedSource, desk: Desk) -> Iterator[tuple[Batch, float]]:
    """Batches, and the seconds that reading each took."""
    batches = source.batches(desk.vit, desk.batch_size)
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started
