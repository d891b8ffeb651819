"""``vs.Study``: a run over any number of pictures, on disk, that survives whatever happens to it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from vitscope.interruption import ended_gently
from vitscope.options.bounds import Count, Range
from vitscope.options.door import checked
from vitscope.progress import Progress, watched
from vitscope.storage.stores import Store, hold, open_store
from vitscope.studies.creating import Approve, Opening, Sizes, Truth, make_study
from vitscope.studies.engines.engine import Engine
from vitscope.studies.engines.making import EngineName, Workers, made_engine
from vitscope.studies.errors import StudyError
from vitscope.studies.events import Events, Listener
from vitscope.studies.manifest import Manifest, read_manifest, require_there
from vitscope.studies.migrations.migrating import migrated
from vitscope.studies.models import Placed, require_same
from vitscope.studies.read_study import ReadStudy
from vitscope.studies.reading import Reading
from vitscope.studies.resolving import check_arrays, chosen_analyses
from vitscope.studies.running import Report, Retry, Run, new_run
from vitscope.studies.status import StudyStatus, status_of
from vitscope.studies.verifying import verify
from vitscope.tracing import Vit, open_model


class Study(ReadStudy):
    """A run over pictures that lies on disk, goes on from wherever it stopped, and can be read without vitscope.

    Made by :meth:`create` or :meth:`open`. A study is a frozen list of pictures, cut into shards, and analyses that are
    done with each shard. Tables are Parquet, arrays are Zarr.

    Example:
        >>> import vitscope as vs
        >>> for number, image in enumerate(vs.worlds.world("shapes").sample(6, seed=1).images()):
        ...     image.save(f"{number}.png")
        >>> study = vs.Study.create("study", model="bundled/shapes", images=".", methods=["gmar", "daam"])
        >>> study.run().whole
        True
        >>> study.table("predictions").columns.tolist()
        ['picture', 'rank', 'class', 'logit', 'probability', 'target', 'entropy']
        >>> study.array("maps/gmar").shape
        (6, 12, 12)
    """

    def __init__(self, store: Store, manifest: Manifest, vit: Vit | None = None) -> None:
        super().__init__(store, manifest)
        self._vit = vit

    def _repr_html_(self) -> str:
        from vitscope.reports.notebook import frame_html

        return frame_html(self, self.status().to_pandas())

    @classmethod
    @checked(StudyError)
    def create(
        cls,
        place: str | os.PathLike[str],
        *,
        model: str | os.PathLike[str] | Vit,
        images: Any,
        analyses: Sequence[str] | Mapping[str, Any] = ("explain",),
        methods: Sequence[str] | None = None,
        arrays: Sequence[str] = ("maps",),
        labels: str | os.PathLike[str] | None = None,
        boxes: str | os.PathLike[str] | None = None,
        masks: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        sizes: Sizes | None = None,
        approve: Approve | None = None,
        alone: bool = False,
        **opening: Any,
    ) -> Study:
        """Make a study: list its pictures, measure what it will cost, and write down all that it depends on.

        Args:
            place: A new folder, or a URL that fsspec knows.
            model: What :func:`vitscope.open_model` takes, so that it can be opened again later and elsewhere; or an
                opened model, which must then be given again to :meth:`open`.
            images: A folder, a pattern, a list of files, a .csv or .parquet list with labels, boxes and masks, tars, a
                .parquet table that holds pictures; here or at a URL. See
                :func:`vitscope.pictures.planned.plan_pictures`.
            analyses: Names: explain, evaluate, importance, strength, patterns. Or a mapping from names to their
                options, as records (``vs.studies.EvaluateChoice``) or as mappings.
            methods: Names of methods, for explain and evaluate alike.
            arrays: What is kept of every picture: maps, flow, class_rows, features (the class token after the last
                block), attention (very large).
            labels: A CSV file of file and class_index; None takes labels.csv beside the pictures, or class folders,
                as :func:`vitscope.pictures.planned.plan_pictures` finds them.
            boxes: A file of boxes, likewise.
            masks: A folder of masks.
            root: What the pictures' keys are relative to; see :func:`vitscope.pictures.planned.plan_pictures`.
            sizes: How the study is cut and computed, see :class:`vitscope.studies.Sizes`.
            approve: Asked, with the estimated cost, whether to make it; None agrees.
            alone: The caller says that nobody else works at this place, which allows places that cannot keep runs
                apart.
            opening: Other arguments of :func:`vitscope.open_model`: weights, image_size, precision, num_classes ...

        Returns:
            The study; nothing is computed yet but a short calibration.

        Raises:
            StudyError: Analyses, options or sizes that do not fit together or do not fit the model; a place that is
                not empty; or ``approve`` said no.
            PictureError: No picture, or none of the first that can be read.
            OutputError: The place cannot be written.

        Example:
            >>> import vitscope as vs
            >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
            >>> chosen = {"strength": {"distance": "euclidean"}}
            >>> vs.Study.create("far", model="bundled/shapes", images="a.png", analyses=chosen, arrays=())
            <Study at far: 1 pictures, strength, predictions>
        """
        chosen = chosen_analyses(analyses, methods)
        kept = check_arrays(arrays, chosen)
        store = open_store(place, alone=alone)
        if isinstance(model, Vit):
            if opening:
                raise StudyError(
                    f"{min(opening)} is for opening a model, which was given opened; leave it out"
                )
            vit, how = model, Opening(None, {})
        else:
            vit = open_model(model, **opening)
            how = Opening.lasting(os.fspath(model), opening)
        manifest = make_study(
            store,
            vit,
            how,
            images,
            chosen,
            kept,
            sizes or Sizes(),
            truth=Truth(labels, boxes, masks),
            root=root,
            approve=approve,
        )
        return cls(store, manifest, vit)

    @classmethod
    @checked(StudyError)
    def open(cls, place: str | os.PathLike[str], *, vit: Vit | None = None, alone: bool = False) -> Study:
        """Open a study that is there.

        Args:
            place: Its folder or URL.
            vit: Its model, where only the caller has it; by default it is opened when it is needed.
            alone: As in :meth:`create`.

        Returns:
            The study.

        Raises:
            StudyError: There is no study, or its manifest is damaged.
            OtherStudyError: A newer vitscope made it, or an older one whose files this one cannot read before they are
                migrated, or ``vit`` is another model.
        """
        store = open_store(place, alone=alone)
        manifest = read_manifest(store)
        if vit is not None:
            require_same(vit, manifest)
        return cls(store, manifest, vit)

    @checked(StudyError)
    def run(
        self,
        *,
        engine: EngineName = "local",
        workers: Count | None = None,
        address: str | None = None,
        device: str | None = None,
        weights: str | os.PathLike[str] | None = None,
        decode_workers: Annotated[int, Range(1, 256)] = 2,
        retry: Retry | None = None,
        limit: Count | None = None,
        progress: Progress | None = None,
        listener: Listener | None = None,
    ) -> Report:
        """Compute the shards that are not finished. Stopped at any moment, by whatever, it goes on when called again.

        Args:
            engine: ``"local"`` computes in this process; ``"ray"`` on workers of Ray. Both give the same bits.
            workers: Of Ray: how many shards are computed at the same time; by default as many as there is room for.
            address: Of a Ray cluster; None takes the one of this environment, or starts one on this machine.
            device: Where the model runs: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; None is the CPU.
            weights: The file of the weights, where it lies elsewhere now.
            decode_workers: Threads that read pictures ahead of the model.
            retry: What earlier runs left is tried again: ``Retry(failed=True)``, ``Retry(skipped=True)``.
            limit: The largest number of shards of this run.
            progress: Told of the pictures, and asked whether to stop, see :mod:`vitscope.progress`.
            listener: Called with every event, a mapping.

        Returns:
            How the run ended: shards that were computed, shards that were given up with the reason.

        Raises:
            StudyError: An engine that is not there, or a model that cannot be opened again.
            OtherStudyError: The model has other weights or other preprocessing than the study was made with, or an
                older vitscope made the study, which :meth:`migrate` brings up to date.
            StoreFault: The study's place is full, read-only, or gone; the finished shards stay.
            SourceError: The place of the pictures is gone; none is skipped for it.
            DamagedError: The list of pictures, or what an earlier stage left, is not as it was written.
            LockTaken: Another run is at work there; the line names its process and its machine.
            LockLost: Another run has taken over.
            Cancelled: The progress says so.
            KeyboardInterrupt: Ctrl-C, and a request to end (SIGTERM) unless the caller answers that himself: finished
                shards stay, and nothing half done.

        Example:
            >>> import vitscope as vs
            >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
            >>> study = vs.Study.create("one", model="bundled/shapes", images="a.png", methods=["gmar"])
            >>> study.run().shards, study.run().shards
            (1, 0)
        """
        watched(progress)
        self.manifest.require_current(self.place)
        run = new_run()
        placed = Placed(device, None if weights is None else os.fspath(weights))
        chosen = Workers(engine, workers, address, placed, decode_workers)

        def waits(words: str) -> None:
            Events(self._store, run, listener=listener).tell("waiting", reason=words)

        require_there(self._store, self.manifest)  # before a lock makes a file where no study is
        # Workers may be on machines that do not see the lock of this one.
        with ended_gently(), hold(self._store, lease=engine == "ray", tell=waits) as held:
            once = Run(self._store, self.manifest, run, held, progress, listener)

            def made() -> Engine:
                return made_engine(chosen, self._store, self.manifest, run, once.events, self._vit)

            return once.go(made, retry or Retry(), limit)

    @checked(StudyError)
    def status(self, *, verified: bool = False, progress: Progress | None = None) -> StudyStatus:
        """How far the study is.

        Args:
            verified: Read every file and compare it with its checksum; shards whose files differ are no longer
                finished, and a run makes them again.
            progress: Told of the shards that are verified.

        Returns:
            Stages with their finished, failed and waiting shards; what is left at which speed.

        Raises:
            DamagedError: The list of pictures is damaged, which no run can mend.

        Example:
            >>> import vitscope as vs
            >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
            >>> study = vs.Study.create("two", model="bundled/shapes", images="a.png", methods=["gmar"])
            >>> study.status().finished, study.run().whole, study.status(verified=True).finished
            (False, True, True)
        """
        faults = tuple(verify(self._store, self.manifest, progress)) if verified else ()
        if faults:
            self._reading = Reading(self._store, self.manifest)
        return status_of(self._store, self.manifest, faults)

    @classmethod
    @checked(StudyError)
    def migrate(cls, place: str | os.PathLike[str], *, alone: bool = False) -> tuple[int, int]:
        """Bring a study that an older vitscope made to the form that this one writes. Its shards stay as they are.

        The old manifest is kept beside the new one. Stopped at any moment, it can be called again.

        Args:
            place: The study's folder or URL.
            alone: As in :meth:`create`.

        Returns:
            The schema that it was at, and the one that it is at now.

        Raises:
            StudyError: There is no study, or its manifest is damaged.
            OtherStudyError: A newer vitscope made it.
            LockTaken: A run is at work there.
            StoreFault: The place cannot be written.

        Example:
            >>> import vitscope as vs
            >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
            >>> study = vs.Study.create("older", model="bundled/shapes", images="a.png", methods=["gmar"])
            >>> vs.Study.migrate("older")
            (2, 2)
        """
        return migrated(open_store(place, alone=alone))
