"""What finished shards wrote, read back: only files that a record names, and only as they were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from vitscope.storage.stores import Store
from vitscope.studies.errors import StudyError
from vitscope.studies.manifest import Manifest
from vitscope.studies.records import Records
from vitscope.studies.stages import CODE, States
from vitscope.studies.store.arrays import StudyArray, open_array
from vitscope.studies.store.tables import iterate_table, read_table, table_path


class Reading:
    """The tables, arrays and states of a study.

    Args:
        store: The study's place.
        manifest: The study.
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store, self.manifest = store, manifest
        self.records = Records(store, manifest)
        self._states = States(store, self.records)

    def require(self, stage: str) -> list[int]:
        """All shards of a stage. Raises StudyError when one is not finished."""
        return self.records.require(stage)

    def states(self, stage: str, shard: int) -> dict[str, bytes]:
        """What a shard left to be merged, by name."""
        return self._states.of(stage, shard)

    def table(
        self, name: str, shards: Sequence[int] | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The rows of a table from finished shards."""
        chosen = self._with(name) if shards is None else [s for s in shards if self._wrote(name, s)]
        return read_table(self.store, name, chosen, columns, study=self.manifest.study)

    def iterate(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """The same, shard by shard."""
        return iterate_table(self.store, name, self._with(name), columns, study=self.manifest.study)

    def array(self, path: str) -> StudyArray:
        """An array over all pictures, of which finished shards have values."""
        if path not in self.manifest.arrays:
            raise StudyError(
                f"this study has no array {path!r}; it has {', '.join(self.manifest.arrays) or 'none'}"
            )
        stage = self._stage_of(path)
        return open_array(self.store, path, lambda shard: self.records.read(stage, shard) is not None)

    def finished(self, name: str) -> list[int]:
        """The shards, in order, that have rows of a table or values of an array."""
        return (
            self._with(name)
            if name in self.manifest.tables
            else sorted(self.records.all(self._stage_of(name)))
        )

    def _stage_of(self, path: str) -> str:
        """The stage that writes an array."""
        return CODE if path.startswith("patterns/") else self.manifest.main.name

    def _with(self, name: str) -> list[int]:
        if name not in self.manifest.tables:
            raise StudyError(f"this study has no table {name!r}; it has {', '.join(self.manifest.tables)}")
        return [shard for shard in self.records.all(self.manifest.main.name) if self._wrote(name, shard)]

    def _wrote(self, name: str, shard: int) -> bool:
        return self.records.vouches(self.manifest.main.name, shard, table_path(name, shard)) is not None
