"""Several models on the same pictures, as a sheet, a page, and in a notebook."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.evaluation import ModelComparison
from vitscope.options.door import checked
from vitscope.rendering.maps.overlay import check_size
from vitscope.rendering.maps.panel import check_style, draw_panel, fit
from vitscope.rendering.maps.scaling import scale
from vitscope.rendering.maps.sheet import CELL_SIDE, grid
from vitscope.rendering.pages.page import Column, Page
from vitscope.reports import words
from vitscope.reports.notebook import result_html

METHODS = 3
"""Methods on the sheet of a page: more would not be readable side by side."""


@checked(RenderingError)
def models_sheet(found: ModelComparison, *, style: str = "alpha", size: int = 1) -> Image.Image:
    """Draw the maps of several models side by side: a row per picture that is kept, for each method a column per model.

    Every map is drawn on what its model sees of the picture; below it stands what the model predicts.

    Args:
        found: A comparison that keeps pictures.
        style: How map and picture are combined, as for :func:`vitscope.reports.overlay`.
        size: 1, 2 or 4 times the usual size.

    Returns:
        An RGB image.

    Raises:
        RenderingError: The comparison keeps no picture, or an unknown name.

    Example:
        >>> import vitscope as vs
        >>> vits = {name: vs.open_model(f"bundled/{name}") for name in ("shapes", "position")}
        >>> quick = vs.Protocol(removal="drop", steps=2, random_draws=1)
        >>> both = vs.compare_models(vits, vs.worlds.demo_pictures(2).images(), methods=["daam"], protocol=quick)
        >>> vs.reports.models_sheet(both).mode
        'RGB'
    """
    if not found.shown:
        raise RenderingError("this comparison keeps no picture to draw on; compare the models again")
    check_size(size)
    check_style(style)
    columns = [(method, model) for method in found.methods[:METHODS] for model in found.models]
    cells: list[list[Image.Image | None]] = []
    captions = []
    for at, place in enumerate(found.shown):
        row: list[Image.Image | None] = []
        told = []
        for method, model in columns:
            picture = Image.fromarray(np.ascontiguousarray(found.pictures[model][at]))
            scaled = scale(found.found[model].maps[method][place : place + 1], words.map_scaling(method)).at(
                0
            )
            row.append(draw_panel(scaled, picture, fit(picture.size, CELL_SIDE * size), style=style))
            told.append(found.found[model].word(place))
        cells.append(row)
        captions.append(told)
    names = [found.keys[place].rpartition("/")[2] for place in found.shown]
    return grid(
        cells, names, [f"{method}, {model}" for method, model in columns], cell_captions=captions, size=size,
        caption="pictures on which the maps agree least; below each map what its model predicts",
    )  # fmt: skip


@checked(RenderingError)
def models_page(found: ModelComparison, path: str | os.PathLike[str] | None = None) -> str:
    """One page on several models: differences paired by picture, agreement of maps, maps side by side, all pictures.

    Args:
        found: The comparison.
        path: Where to write the page, atomically; None writes nothing.

    Returns:
        The HTML text.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import vitscope as vs
        >>> vits = {name: vs.open_model(f"bundled/{name}") for name in ("shapes", "position")}
        >>> quick = vs.Protocol(removal="drop", steps=2, random_draws=1)
        >>> both = vs.compare_models(vits, vs.worlds.demo_pictures(2).images(), methods=["daam"], protocol=quick)
        >>> "position" in vs.reports.models_page(both)
        True
    """
    made = Page(" and ".join(found.models), f"{len(found.keys)} pictures, by {', '.join(found.methods)}")
    made.metadata({name: board.recipe.model.get("fingerprint", "") for name, board in found.boards.items()})
    frame = found.to_pandas()
    made.section(
        "Differences",
        "First less second, on the same pictures; intervals of 95 %, p after Holm's correction.",
    )
    shown = [
        "method",
        "metric",
        "first",
        "second",
        "value_first",
        "value_second",
        "difference",
        "low",
        "high",
    ]
    made.table(
        [
            *(Column(name.replace("_", " "), name not in shown[:4]) for name in shown),
            Column("p", True),
            "verdict",
        ],
        [[row[name] for name in (*shown, "p_holm", "verdict")] for row in frame.to_dict("records")],
    )
    made.section(
        "Agreement", "Spearman's correlation of two models' maps, mean over pictures, and the extremes."
    )
    table = found.agreement()
    made.table(
        [
            "method",
            "first",
            "second",
            *(Column(name, True) for name in ("correlation", "low", "high", "same class", "n")),
        ],
        table.to_numpy().tolist(),
    )
    if found.shown:
        made.section("Maps side by side")
        made.figure(
            models_sheet(found), alt="maps of the models on the same pictures, a row for each picture"
        )
    made.section("Pictures")
    rows = found.per_picture()
    numeric = [rows[name].dtype.kind in "fi" for name in rows.columns]
    made.table(
        [Column(str(name), number) for name, number in zip(rows.columns, numeric, strict=True)],
        [[_plain(cell) for cell in row] for row in rows.to_numpy().tolist()],
    )
    return made.finish(path)


def models_html(found: ModelComparison) -> str:
    """The differences as a table, a row for each method, metric and pair of models."""
    rows = [
        [
            row["method"],
            row["metric"],
            f"{row['first']} − {row['second']}",
            float(row["difference"]),
            row["verdict"],
        ]
        for row in found.to_pandas().to_dict("records")
    ]
    return result_html(
        f"{' and '.join(found.models)} on {len(found.keys)} pictures",
        ["method", "metric", "models", "difference", "verdict"],
        rows,
    )


def _plain(cell: object) -> object:
    return ("yes" if cell else "no") if isinstance(cell, bool) else cell
