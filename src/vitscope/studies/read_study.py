"""What a study can be asked for: its tables and arrays while it grows, its merged results when it is finished."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vitscope.evaluation import Leaderboard
from vitscope.heads import HeadTable, PatternAtlas, StrengthProfile, SummedHeadTable
from vitscope.options.bounds import Range
from vitscope.options.door import checked
from vitscope.progress import Progress
from vitscope.shown import served_by
from vitscope.storage.stores import Store
from vitscope.studies.errors import StudyError
from vitscope.studies.manifest import Manifest, require_other
from vitscope.studies.merged_files import write_results
from vitscope.studies.reading import Reading
from vitscope.studies.results import Results
from vitscope.studies.shown_study import ShownStudy
from vitscope.studies.site_cost import SiteCost
from vitscope.studies.store.exporting import Format, Stored, export
from vitscope.studies.store.schemas import TABLES

if TYPE_CHECKING:
    import pandas as pd

    from vitscope.studies.store.arrays import StudyArray
    from vitscope.tracing import Vit


class ReadStudy:
    """The results of a study; see :class:`vitscope.Study`."""

    _vit: Vit | None = None

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self.manifest = manifest
        self._reading = Reading(store, manifest)

    def __repr__(self) -> str:
        pictures, analyses = self.manifest.input.count, ", ".join(self.manifest.main.analyses)
        return f"<Study at {self._store.name}: {pictures} pictures, {analyses}>"

    @property
    def place(self) -> str:
        """The folder or URL of the study."""
        return self._store.name

    @checked(StudyError)
    def table(self, name: str, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A table, with the rows of all finished shards.

        Args:
            name: pictures, predictions, scores or curves, as far as the study has them.
            columns: Those to read; None reads all.

        Returns:
            One frame; ``picture`` joins all tables, and is the row in every array.

        Raises:
            StudyError: The study has no such table.
            DamagedError: A file is not as it was written.
        """
        return self._reading.table(name, None, columns)

    @checked(StudyError)
    def array(self, path: str) -> StudyArray:
        """An array over all pictures, read where it is asked: ``study.array("maps/gmar")[5]``.

        Args:
            path: Such as ``"maps/gmar"``, ``"flow/daam"``, ``"class_rows"``, ``"features"``,
                ``"head_scores/js_divergence"``.

        Returns:
            The array; rows of pictures that were skipped, or whose shard is not finished, are NaN.

        Raises:
            StudyError: The study has no such array.
        """
        return self._reading.array(path)

    def leaderboard(self) -> Leaderboard:
        """The scores of every method over all pictures, as :func:`vitscope.evaluate` gives them.

        Returns:
            The leaderboard; above 100,000 pictures it is made of sums and has no rows per picture.

        Raises:
            StudyError: The study has no evaluation, or is not finished.
        """
        return Results(self._reading).leaderboard()

    def heads(self) -> HeadTable | SummedHeadTable:
        """What every head matters, as :func:`vitscope.heads.importance` gives it.

        Returns:
            The table; above 100,000 pictures it is made of sums and has no rows per picture.

        Raises:
            StudyError: The study has no importance, or is not finished.
        """
        return Results(self._reading).heads()

    def strength(self) -> StrengthProfile:
        """How far every head looks, as :func:`vitscope.heads.strength` gives it.

        Returns:
            The profile.

        Raises:
            StudyError: The study has no strength, or is not finished.
        """
        return Results(self._reading).strength()

    def patterns(self) -> PatternAtlas:
        """The patterns of attention, as :func:`vitscope.heads.patterns` gives them.

        Returns:
            The atlas; the codes of all pictures are the array ``patterns/codes``.

        Raises:
            StudyError: The study has no patterns, or they are not fitted yet.
        """
        return Results(self._reading).patterns()

    @checked(StudyError)
    def export(
        self,
        out: str | os.PathLike[str],
        *,
        format: Format = "parquet",
        table: str | None = None,
        progress: Progress | None = None,
    ) -> list[Path]:
        """Write tables or arrays as single files for other programs, with the rows of all finished shards.

        Args:
            out: A folder, made if needed, for ``scores.parquet``, ``pictures.parquet``, ... or ``maps.nc``, ...; or the
                file itself, when it has the format's ending and ``table`` names one.
            format: ``"parquet"`` and ``"csv"`` for tables, ``"netcdf"`` for arrays: one file for each kind of array.
            table: Only this table (``"scores"``, ``"head_scores"``) or kind of array (``"maps"``).
            progress: Told of every shard.

        Returns:
            The files that were written.

        Raises:
            OutputError: A file cannot be written, or ``table`` is none of this study's.
            DamagedError: A file of the study is not as it was written.
            MissingExtraError: NetCDF needs h5netcdf.

        Example:
            >>> import vitscope as vs
            >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
            >>> study = vs.Study.create("study", model="bundled/shapes", images="a.png", methods=["gmar"])
            >>> [path.name for path in study.export("out", table="pictures")]
            ['pictures.parquet']
        """
        manifest, reading = self.manifest, self._reading
        tables = tuple(name for name in TABLES if name in manifest.tables)
        stored = Stored(reading.store, manifest.study, tables, tuple(manifest.arrays), reading.finished)
        return export(stored, out, format=format, table=table, progress=progress)

    def save_results(self) -> list[str]:
        """Write the merged results into the study's folder ``results``, in the forms in which the library saves them.

        They are derived: deleted, they are written again from the shards.

        Returns:
            Their paths in the study: those of ``leaderboard/``, ``heads.parquet`` (``heads.safetensors`` above
            100,000 pictures), ``strength.safetensors`` and ``atlas/``, as far as the study has these analyses.

        Raises:
            StudyError: The study is not finished.
            StoreFault: Its place cannot be written.
        """
        return write_results(self._reading)

    @checked(StudyError)
    def site(
        self,
        out: str | os.PathLike[str],
        *,
        approve: Callable[[SiteCost], bool] | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Write the app with this study as a folder of files that any web server shows, also from below another path.

        It holds what can be looked at without a model: the pictures, small and as the model sees them, the predictions
        and maps that the study keeps, and its merged results. What needs a model is off there, and says so. The model
        is opened once, where it can be, to know its classes and how it frames pictures.

        Args:
            out: A new or empty folder, or a site, which is replaced.
            approve: Asked, with the size that was foreseen, whether to write it; None agrees.
            progress: Told of every answer that is written.

        Returns:
            The folder.

        Raises:
            OutputError: It cannot be written, another folder is in the way, or ``approve`` said no; what was there
                stays.
            MissingExtraError: The packages of the app are not installed.
            Cancelled: The progress says so.

        Example:
            >>> import vitscope as vs
            >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
            >>> study = vs.Study.create("shown", model="bundled/shapes", images="a.png", methods=["gmar"])
            >>> _ = study.run()
            >>> (study.site("site") / "index.html").is_file()
            True
        """
        write = served_by("site.making", "write_site")
        made: Path = write(self.place, out, vit=self._vit, approve=approve, progress=progress).folder
        return made

    @checked(StudyError)
    def show(
        self,
        *,
        beside: ReadStudy | None = None,
        height: Annotated[int, Range(200, 10_000)] = 800,
        proxy: str | None = None,
        device: str | None = None,
        weights: str | os.PathLike[str] | None = None,
    ) -> ShownStudy:
        """Show the study in the app, which answers from this process until it is stopped.

        As the last line of a cell it is the app, where the notebook's server has jupyter-server-proxy; elsewhere it is
        the link, which opens on the machine of this process. ``print(study.show())`` prints the link. For a notebook on
        another machine without a proxy, lead the port to yours (``ssh -L``).

        Args:
            beside: Another study of the same pictures, whose model is compared with that of this one.
            height: Of the app inside a notebook, in pixels.
            proxy: The path at which the notebook's page finds a port of this machine, such as ``/proxy/{port}/``; None
                looks for jupyter-server-proxy.
            device: Where the model runs; None is the CPU.
            weights: The file of this study's weights, where it lies elsewhere now.

        Returns:
            What shows itself in a cell, with ``url``, and ``stop()``, which ends the server and the model's process. So
            does the end of a ``with`` block, and the end of Python.

        Raises:
            StudyError: ``beside`` is the same study.
            OutputError: ``proxy`` is no path with ``{port}`` in it.
            MissingExtraError: The packages of the app are not installed.

        Example:
            >>> import vitscope as vs
            >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
            >>> study = vs.Study.create("looked-at", model="bundled/shapes", images="a.png", methods=["gmar"])
            >>> _ = study.run()
            >>> shown = study.show()
            >>> print(shown)
            looked-at is shown at http://127.0.0.1:...
            >>> shown.running, shown.stop(), shown.running
            (True, None, False)
        """
        if beside is not None:
            require_other(self.manifest, beside.manifest)
        shown: ShownStudy = served_by("showing", "show")(
            self.place,
            self.manifest,
            vit=self._vit,
            beside=None if beside is None else (beside.place, beside.manifest, beside._vit),
            height=height,
            proxy=proxy,
            device=device,
            weights=None if weights is None else os.fspath(weights),
        )
        return shown
