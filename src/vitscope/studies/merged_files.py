"""The merged results of a study as files of the library's own forms, in its folder ``results``.

They are derived: whoever deletes them loses nothing, and `export` writes them anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from vitscope.heads import HeadTable
from vitscope.storage.stores import Store
from vitscope.studies import layout
from vitscope.studies.reading import Reading
from vitscope.studies.results import Results


def write_results(reading: Reading) -> list[str]:
    """Write what each analysis gives over all pictures: ``leaderboard/`` (a folder that `Leaderboard.load` reads),
    ``heads.parquet`` or, of sums, ``heads.safetensors``, ``strength.safetensors``, and ``atlas/``.

    Returns:
        Their paths in the study.

    Raises StudyError when the study is not finished, StoreFault when its place cannot be written.
    """
    results = Results(reading)
    savers: dict[str, Callable[[Path], object]] = {
        "evaluate": lambda place: results.leaderboard().save(place / "leaderboard"),
        "importance": lambda place: _save_heads(results, place),
        "strength": lambda place: results.strength().save(place / "strength.safetensors"),
        "patterns": lambda place: results.patterns().save(place / "atlas"),
    }
    written = []
    with tempfile.TemporaryDirectory(prefix="vitscope-") as place:
        for analysis, save in savers.items():
            if reading.manifest.options_of(analysis) is not None:
                save(Path(place))
        for path, content in _files(Path(place)):
            written.append(_put(reading.store, path, content))
    return written


def _save_heads(results: Results, place: Path) -> None:
    table = results.heads()
    table.save(place / ("heads.parquet" if isinstance(table, HeadTable) else "heads.safetensors"))


def _files(place: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(place.rglob("*")):
        if path.is_file():
            yield path.relative_to(place).as_posix(), path.read_bytes()


def _put(store: Store, path: str, content: bytes) -> str:
    where = f"{layout.RESULTS}/{path}"
    folder = where.rpartition("/")[0]
    if folder != layout.RESULTS:
        store.make_root([folder])
    store.put(where, content)
    return where
