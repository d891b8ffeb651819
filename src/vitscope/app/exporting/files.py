"""What is seen as a file, with all that made it inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from vitscope import reports
from vitscope.app.exporting.seen import seen
from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import DrawingLooks, ExportAsked
from vitscope.app.model.bench import Bench
from vitscope.errors import MethodError
from vitscope.methods import Explanation
from vitscope.progress import Progress
from vitscope.rendering.files import png_bytes
from vitscope.reports import words
from vitscope.storage import files, tables
from vitscope.storage.scratch import remove_scratch, scratch_place

TYPES = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "gif": "image/gif",
    "webm": "video/webm",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
"""The forms, with their media types."""


def export_answer(bench: Bench, asked: ExportAsked, progress: Progress) -> Answer:
    """The file. Raises what the library raises: MethodError for an animation of a method without a flow,
    MissingExtraError for a film without PyAV."""
    shown = seen(bench, asked, progress)
    content = _WRITERS[asked.form](shown, asked)
    return Answer(content, TYPES[asked.form], file_name(shown, asked.form))


def file_name(shown: Explanation, form: str) -> str:
    """``heron.dart.png``: the picture's name, the method, and the form."""
    key = str((shown.metadata.get("keys") or ["picture"])[0])
    stem = re.sub(r"[^\w.-]+", "-", key.rpartition("/")[2].rpartition(".")[0] or key).strip("-.") or "picture"
    return f"{stem}.{shown.method}.{form}"


def table_of(shown: Explanation, block: int | None) -> pd.DataFrame:
    """The raw values: a line for each cell, by block where all blocks of a flow are told."""
    if shown.flow is None or block is not None:
        values = np.asarray(_one(shown, block), np.float32)
        rows, columns = np.indices(values.shape)
        return pd.DataFrame({"row": rows.ravel(), "column": columns.ravel(), "value": values.ravel()})
    kind, _, first = words.flow_steps(shown)
    flow = np.asarray(shown.flow[0], np.float32)
    steps, rows, columns = np.indices(flow.shape)
    return pd.DataFrame(
        {kind: steps.ravel() + first, "row": rows.ravel(), "column": columns.ravel(), "value": flow.ravel()}
    )


def _one(shown: Explanation, block: int | None) -> Any:
    if block is None or shown.flow is None:
        return shown.maps[0]
    return shown.flow[0, words.step_of(shown, block)]


def _drawing(looks: DrawingLooks) -> dict[str, Any]:
    said: dict[str, Any] = {
        "scaling": looks.scaling,
        "colour": looks.colour,
        "upsampling": looks.upsampling,
        "opacity": looks.opacity,
    }
    return {name: value for name, value in said.items() if value is not None}


def _flow_block(shown: Explanation, looks: DrawingLooks) -> dict[str, Any]:
    """Which block is drawn, and what shares its scale."""
    if shown.flow is None or looks.block is None:
        return {}
    return {"block": looks.block, "scope": looks.scope}


def made(shown: Explanation, asked: ExportAsked) -> dict[str, Any]:
    """What made what is seen, with the block and how values became colours; a table holds raw values."""
    looks = asked.looks
    drawn = asked.form not in ("csv", "parquet")
    scaling = looks.scaling or words.map_scaling(shown.method)
    how = f"{scaling}, one scale per {looks.scope}, {looks.upsampling}" if drawn else "none: raw values"
    block = {} if looks.block is None else {"block": looks.block}
    return {**words.made_by(shown), **block, "normalisation": how}


def _png(shown: Explanation, asked: ExportAsked) -> bytes:
    drawn = reports.overlay(
        shown, size=asked.size, **_drawing(asked.looks), **_flow_block(shown, asked.looks)
    )
    return png_bytes(drawn, made(shown, asked))


def _svg(shown: Explanation, asked: ExportAsked) -> bytes:
    drawn = reports.overlay_svg(
        shown,
        size=asked.size,
        metadata=made(shown, asked),
        **_drawing(asked.looks),
        **_flow_block(shown, asked.looks),
    )
    return drawn.encode()


def _animation(shown: Explanation, asked: ExportAsked) -> bytes:
    if shown.flow is None:
        raise MethodError(f"{shown.method} has no flow to play; choose daam or dart, or export it as PNG")
    folder = scratch_place()
    try:
        path = reports.animation(
            shown,
            0,
            folder / f"flow.{asked.form}",
            metadata=made(shown, asked),
            size=asked.size,
            **_drawing(asked.looks),
        )
        return files.read(path)
    finally:
        remove_scratch(folder)


def _csv(shown: Explanation, asked: ExportAsked) -> bytes:
    head = "".join(f"# {name}: {value}\n" for name, value in made(shown, asked).items())
    return (head + table_of(shown, asked.looks.block).to_csv(index=False)).encode("utf-8", "backslashreplace")


def _parquet(shown: Explanation, asked: ExportAsked) -> bytes:
    note = {name: str(value) for name, value in made(shown, asked).items()}
    return tables.encode(table_of(shown, asked.looks.block), "table", note)


_WRITERS: dict[str, Callable[[Explanation, ExportAsked], bytes]] = {
    "png": _png,
    "svg": _svg,
    "gif": _animation,
    "webm": _animation,
    "csv": _csv,
    "parquet": _parquet,
}
