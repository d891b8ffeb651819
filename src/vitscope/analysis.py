"""One way for everything that goes over many pictures: ``prepare(all) → run(shard) → merge(parts)``.

Any split of the pictures gives what the whole gives, because what must be known of all of them (a data set's means,
which pictures make a mosaic) is prepared, and the rest is added up. So one runner serves all analyses: it goes through
the pictures part by part and keeps each finished part on disk, and a run that was stopped at any moment, by Ctrl-C or
by kill -9, loses the part that was in work and no more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from vitscope.errors import AnswerError, VitscopeError
from vitscope.pictures.batch import Batch, batch_of
from vitscope.progress import CountedStage
from vitscope.storage.parts import KeptPart, Parts
from vitscope.storage.recipe import Recipe, digest_of

if TYPE_CHECKING:
    from typing import Self

    from vitscope.pictures import PictureSource
    from vitscope.tracing import Vit


class Pictures(Protocol):
    """What a run goes over: an ordered set of pictures that can be cut by position.

    ``keys``: a name per picture, on which its random draws depend. ``ids``: what each holds, see
    :mod:`vitscope.pictures`. ``skipped``: by key, why a picture could not be used; filled in while they are read.
    """

    @property
    def keys(self) -> Sequence[str]: ...
    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def skipped(self) -> MutableMapping[str, str]: ...
    def __len__(self) -> int: ...
    def part(self, start: int, stop: int) -> Self: ...


Source = TypeVar("Source", bound=Pictures)
SourceIn = TypeVar("SourceIn", bound=Pictures, contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)
Prepared = TypeVar("Prepared")
Part = TypeVar("Part")
Result = TypeVar("Result")


class Analysis(Protocol[SourceIn, Prepared, Part, ResultOut]):
    """What is done with pictures. The options lie in the object; ``recipe`` tells all of them.

    A part may hold anything; ``encode`` gives the files that it is kept as, and ``decode`` must give back a part that
    merges to the same bits. ``merge`` takes parts in any order and reads each once; the runner hands them on in the
    order of the pictures, as they are finished.
    """

    @property
    def name(self) -> str:
        """The word for it in progress and recipes, such as ``"evaluate"``."""

    def recipe(self, vit: Vit, source: SourceIn) -> Recipe:
        """What makes the result of the whole."""

    def prepare(self, vit: Vit, source: SourceIn) -> Prepared:
        """What must be known of all pictures before the first is looked at. Given by the recipe alone."""

    def run(self, prepared: Prepared, shard: SourceIn) -> Part:
        """The part of the result that comes from some of the pictures."""

    def merge(self, prepared: Prepared, parts: Iterable[Part]) -> ResultOut:
        """The result of all parts together."""

    def encode(self, part: Part) -> Mapping[str, bytes]:
        """A part as files, by plain name."""

    def decode(self, files: Mapping[str, bytes]) -> Part:
        """What ``encode`` made, back. Raises any VitscopeError, KeyError or ValueError for files that it did not."""


ShardSize = int | Callable[[int], int]
"""Pictures of a part; or, from how many are done, of the next one."""


def run_in_parts(
    analysis: Analysis[Source, Prepared, Part, Result],
    vit: Vit,
    source: Source,
    shard_size: ShardSize,
    *,
    folder: str | Path | None = None,
    stage: CountedStage | None = None,
    recipe: Recipe | None = None,
) -> Result:
    """The result of an analysis over all pictures, part by part.

    Args:
        analysis: What is done.
        vit: The opened model.
        source: The pictures.
        shard_size: How many pictures make a part, see :func:`growing`. Cut by position, so an analysis that goes in
            batches sees the same batches however often it was stopped, if parts are whole batches.
        folder: Keeps each finished part; a run with the same recipe goes on from them, one with another recipe starts
            anew and leaves them there. None keeps nothing. Remove it when the result is saved.
        stage: Tells how far it is, and is asked before each part whether to stop. The analysis may tell it of smaller
            steps; at the end of a part, and for parts that were read, it catches up.
        recipe: When it is known already.

    Returns:
        What ``analysis.merge`` makes of the parts.

    Raises:
        OutputError: a part cannot be written.
        Cancelled: the stage's progress says so; the finished parts stay in the folder.

    Example:
        ``run_in_parts(Importance(metric="logit"), vit, source, 64, folder="unfinished")``
    """
    total = len(source)
    made = analysis.recipe(vit, source) if recipe is None else recipe
    kept = Parts(None if folder is None else Path(folder), made, contents_of(source))
    told = stage or CountedStage(None, analysis.name, total)
    prepared = analysis.prepare(vit, source)
    size = shard_size if callable(shard_size) else (lambda _: shard_size)

    def known_part(start: int) -> tuple[Part, KeptPart] | None:
        known = kept.find(start, total)
        if known is not None:
            with contextlib.suppress(VitscopeError, KeyError, ValueError, TypeError):
                return analysis.decode(known.files), known
        return None

    def parts() -> Iterator[Part]:
        start, resuming = 0, True
        while start < total:
            found = known_part(start)
            if found is not None:
                part, known = found
                source.skipped.update(known.skipped)
                start = known.stop
                if not resuming:
                    told.reach(start)
                yield part
                continue
            if resuming:
                told.begin(start)
                resuming = False
            told.check()
            stop = min(total, start + max(1, size(start)))
            shard = source.part(start, stop)
            part = analysis.run(prepared, shard)
            skipped = dict(shard.skipped)
            source.skipped.update(skipped)
            if folder is not None:
                kept.keep(KeptPart(start, stop, analysis.encode(part), skipped))
            start = stop
            told.reach(start)
            yield part
        told.begin(start)

    return analysis.merge(prepared, parts())


def answered(
    vit: Vit,
    shard: PictureSource,
    batch_size: int,
    measure: Callable[[Batch], Part],
    stage: CountedStage,
    refused: Callable[[Batch, AnswerError], VitscopeError],
) -> Iterator[Part]:
    """What ``measure`` gives for every batch of some pictures; ``stage`` is told of each, and stops before the next.

    A picture that the model answers with NaN or infinity is left out and remembered in ``shard.skipped``, as one that
    cannot be read is; where the source does not skip, what ``refused`` makes of the error is raised.
    """
    for given in shard.batches(vit, batch_size):
        stage.check()
        before, batch = stage.done, given
        while True:
            try:
                found = measure(batch)
            except AnswerError as error:
                stage.again_from(before)
                if not shard.skip:
                    raise refused(batch, error) from None
                left = _without(vit, shard, batch, error)
                if left is None:
                    break
                batch = left
                continue
            stage.finish_batch(before, len(given))
            yield found
            break


def _without(vit: Vit, shard: PictureSource, batch: Batch, error: AnswerError) -> Batch | None:
    """The batch without the pictures that an error names; None when none is left."""
    for place in error.pictures:
        shard.skipped[batch.keys[place]] = f"{batch.keys[place]}: {error.of_one}"
    left = [picture for place, picture in enumerate(batch.pictures) if place not in error.pictures]
    return batch_of(vit, left) if left else None


def growing(unit: int, most: int = 32) -> Callable[[int], int]:
    """Sizes of parts in whole ``unit``s (a batch): a sixteenth of what is done, at most ``most`` units.

    So the first parts are finished soon, and a run over very many pictures makes few files and loses little.
    """
    return lambda done: unit * min(most, max(1, done // (16 * unit)))


def contents_of(source: Pictures) -> Callable[[int, int], str]:
    """Digest of names and contents of the pictures at a range of positions, in their order."""

    def contents(start: int, stop: int) -> str:
        shard = source.part(
            start, stop
        )  # not source.ids[start:stop], which would look at all pictures each time
        return digest_of([list(shard.keys), list(shard.ids)])

    return contents
