"""``vitscope heads importance``: every head taken away in turn, and what changes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vitscope.cli.commands.heads.head_names import check_heads, parse_head, parse_heads
from vitscope.cli.commands.heads.input import open_input, resumable
from vitscope.cli.commands.heads.orders import STEPS, orders
from vitscope.cli.commands.heads.result import finish
from vitscope.cli.shared.head_options import ExactOptions, ReplacementOptions
from vitscope.cli.shared.options import (
    LabelOptions,
    ModelOptions,
    OutputOptions,
    PictureOptions,
    RunOptions,
)
from vitscope.cli.shared.parameters import SameAs
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.usage import unused


@unused(
    "screen",
    when=lambda given: not given["exact"],
    why="--first-order confirms no head exactly, so there is no share",
)
@unused(
    "replacement",
    when=lambda given: not (given["exact"] or given["cumulative"] or given["joint"]),
    why="--first-order puts nothing in the place of a head",
)
def importance(
    pictures: PictureOptions,
    labels: LabelOptions,
    model: ModelOptions,
    removed: ReplacementOptions,
    removal: ExactOptions,
    output: OutputOptions,
    run: RunOptions,
    screen: Annotated[
        float | None, SameAs("vitscope.heads", "importance", "screen"),
        typer.Option("--screen", help="Confirm exactly only this share of heads, first-order score first."),
    ] = None,
    path: Annotated[
        bool, SameAs("vitscope.heads", "importance", "path"),
        typer.Option("--path", help="Also predict each removal from slopes on the way to it, for a screen, too."),
    ] = False,
    dissect: Annotated[
        str | None,
        typer.Option("--dissect", help="Also take parts of one head away: block.head from 0, or top."),
    ] = None,
    cumulative: Annotated[
        bool, typer.Option("--cumulative", help="Also remove more and more heads, in several orders.")
    ] = False,
    joint: Annotated[
        str | None,
        typer.Option("--joint", help="Also remove a set together, against its single effects: 0.1,3.2"),
    ] = None,
) -> None:  # fmt: skip
    """Take every head away in turn and measure what changes: tables, plots and a page."""
    from vitscope import heads
    from vitscope.reports import words
    from vitscope.reports.heads.page import HeadsReport, main_metric

    chosen = None if dissect in (None, "top") else parse_head(dissect or "")
    together = parse_heads(joint) if joint else None
    given = open_input(pictures, model, output.out, labels)
    vit, source = given.vit, given.source
    check_heads(vit.anatomy, [*([chosen] if chosen else []), *(together or [])])
    partial = many = several = None
    with resumable(given) as unfinished:
        with watching() as progress:
            shared: dict[str, Any] = {
                "batch_size": run.batch_size,
                "checkpoint": unfinished,
                "progress": progress,
            }
            table = heads.importance(
                vit,
                source,
                replacement=removed.instead(),
                screen=screen,
                exact=removal.exact,
                path=path,
                **shared,
            )
            table.save(output.out / "heads-per-picture.parquet")  # the long part is kept whatever comes after
            metric = main_metric(table)
            if dissect is not None:
                partial = heads.partial_pruning(vit, source, *(chosen or table.order(metric)[0]), **shared)
            if cumulative:
                many = heads.cumulative_pruning(
                    vit, source, orders(table, metric), replacement=removed.instead(), steps=STEPS, **shared
                )
            if together is not None:
                several = heads.joint_effect(vit, source, together, replacement=removed.instead(), **shared)
        story = HeadsReport(
        vit.source, len(table.pictures), table, cumulative=many, joint=several, partial=partial,
        commands=given.commands,
      )  # fmt: skip
        files = story.save(output.out, "importance")
    best = [[f"{b}.{h}", f"{table.mean(metric)[b, h]:.4g}"] for b, h in table.order(metric)[:10]]
    more = {} if several is None else {"joint": several.to_pandas().to_dict("records")}
    finish(
        given, run.json, files, ["head", words.metric_title(metric)], best, heads=table.to_pandas(), **more
    )
