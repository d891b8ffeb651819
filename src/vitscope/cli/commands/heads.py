"""``vitscope heads``: which heads matter, how far they look, which patterns they have, and whether scores agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitscope.cli.commands.heads_looks import agreement, patterns, strength
from vitscope.cli.shared import options
from vitscope.cli.shared.heads_input import (
    MODEL,
    HeadsInput,
    check_heads,
    finish,
    open_input,
    parse_head,
    parse_heads,
    resumable,
)
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.usage import Commands, unused
from vitscope.options.door import check_argument

if TYPE_CHECKING:
    from vitscope.heads import HeadTable
    from vitscope.heads.pruning.prune_model import PrunedForm

application = Commands(name="heads", no_args_is_help=True, help="What the heads of a model do.")
application.add(f"vitscope heads strength photos {MODEL} --out heads")(strength)
application.add(f"vitscope heads patterns photos {MODEL} --out heads")(patterns)
application.add(f"vitscope heads agreement photos {MODEL} --out heads")(agreement)


@application.add(f"vitscope heads importance photos {MODEL} --screen 0.2 --out heads")
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
    pictures: options.Pictures,
    model: options.Model,
    labels: options.Labels = None,
    out: options.Out = Path("vitscope-heads"),
    replacement: options.Replacement = "zero",
    screen: Annotated[
        float | None, typer.Option(help="Confirm exactly only this share of heads, first-order score first.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact/--first-order", help="Exact, or first-order scores alone.")
    ] = True,
    dissect: Annotated[
        str | None, typer.Option(help="Also take parts of one head away: block.head from 0, or top.")
    ] = None,
    cumulative: Annotated[
        bool, typer.Option("--cumulative", help="Also remove more and more heads, in several orders.")
    ] = False,
    joint: Annotated[
        str | None, typer.Option(help="Also remove a set together, against its single effects: 0.1,3.2")
    ] = None,
    limit: options.Limit = None,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    model_option: options.ModelOptions = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = options.BATCH_SIZE,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    json: options.Json = False,
) -> None:
    """Take every head away in turn and measure what changes: tables, plots and a page."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport, main_metric
    from vitscope.reports.heads.plots import title_of

    instead = check_argument(heads.importance, "replacement", replacement, heads.HeadsError)
    chosen = None if dissect in (None, "top") else parse_head(dissect or "")
    together = parse_heads(joint) if joint else None
    given = open_input(
        pictures,
        labels,
        limit,
        out,
        model,
        weights,
        image_size,
        device,
        precision,
        random_weights,
        model_option,
    )
    vit, source = given.vit, given.source
    check_heads(vit.anatomy, [*([chosen] if chosen else []), *(together or [])])
    partial = many = several = None
    with resumable(given) as unfinished:
        with watching() as progress:
            shared: dict[str, Any] = {
                "batch_size": batch_size,
                "checkpoint": unfinished,
                "progress": progress,
            }
            table = heads.importance(vit, source, replacement=instead, screen=screen, exact=exact, **shared)
            table.save(out / "heads-per-picture.parquet")  # the long part is kept whatever comes after
            metric = main_metric(table)
            if dissect is not None:
                partial = heads.partial_pruning(vit, source, *(chosen or table.order(metric)[0]), **shared)
            if cumulative:
                many = heads.cumulative_pruning(
                    vit, source, orders(table, metric), replacement=instead, steps=12, **shared
                )
            if together is not None:
                several = heads.joint_effect(vit, source, together, replacement=instead, **shared)
        story = HeadsReport(
        vit.source, len(table.pictures), table, cumulative=many, joint=several, partial=partial,
        commands=given.commands,
      )  # fmt: skip
        files = story.save(out, "importance")
    best = [[f"{b}.{h}", f"{table.mean(metric)[b, h]:.4g}"] for b, h in table.order(metric)[:10]]
    more = {} if several is None else {"joint": several.to_dict("records")}
    finish(given, json, files, ["head", title_of(metric)], best, heads=table.to_pandas(), **more)


def orders(table: HeadTable, metric: str) -> dict[str, list[tuple[int, int]]]:
    """Least important first, by the metrics that know every head."""
    import numpy as np

    wanted = dict.fromkeys((metric, "probability_drop_label", "probability_drop_top", "first_order"))
    return {
        name: table.order(name, most_important_first=False)
        for name in wanted
        if name in table.metrics and bool(np.isfinite(table.mean(name)).all())
    }


@application.add(f"vitscope heads prune photos {MODEL} --keep 0.7 --out model.safetensors")
def prune(
    pictures: options.Pictures,
    model: options.Model,
    keep: Annotated[float, typer.Option(help="Share of all heads that stays.")] = 0.7,
    metric: Annotated[str, typer.Option(help="Which importance decides; the least go.")] = "js_divergence",
    form: Annotated[str, typer.Option(help="smaller (heads cut out) or masked (heads silent).")] = "smaller",
    labels: options.Labels = None,
    out: Annotated[Path, typer.Option("--out", "-O", help="File of the model.")] = Path("pruned.safetensors"),
    replacement: Annotated[
        str, typer.Option(help="zero, or mean (folded into the projection's bias).")
    ] = "zero",
    limit: options.Limit = None,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    model_option: options.ModelOptions = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = options.BATCH_SIZE,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Write a timm ViT without its least important heads, with its accuracy before and after."""
    from vitscope import heads
    from vitscope.errors import OutputError
    from vitscope.reports.heads.page import HeadsReport

    keep = check_argument(heads.heads_to_remove, "keep", keep, heads.HeadsError)
    if metric not in heads.METRICS:
        from vitscope.errors import nearest

        raise heads.HeadsError(
            f"unknown metric {metric!r}; nearest: {', '.join(nearest(metric, heads.METRICS))}"
        )
    shape = check_argument(heads.prune_module, "form", form, heads.HeadsError)
    instead = check_argument(heads.importance, "replacement", replacement, heads.HeadsError)
    if instead == "mean-per-query":
        raise heads.HeadsError(
            "expected the replacement zero or mean, got 'mean-per-query'; a pruned model writes one constant per head"
        )
    if out.suffix != ".safetensors":
        raise OutputError(f"expected a file ending in .safetensors, got {out.name!r}; rename --out")
    folder = out.absolute().parent
    given = open_input(
        pictures,
        labels,
        limit,
        folder,
        model,
        weights,
        image_size,
        device,
        "float32",
        random_weights,
        model_option,
    )
    heads.attention_modules(given.vit)  # a model that cannot be rewritten is told before the work, not after
    with resumable(given) as unfinished:
        with watching() as progress:
            table = heads.importance(
                given.vit, given.source, replacement=instead, gradient=metric.startswith("first_order"),
                batch_size=batch_size, checkpoint=unfinished, progress=progress,
            )  # fmt: skip
        record = prune_to_file(given, table, metric, keep, shape, replacement, out, batch_size)
    changed = {
        name: (record[f"{name}_before"], record[f"{name}_after"])
        for name in ("heads", "parameters", "accuracy")
        if record[f"{name}_after"] is not None
    }
    story = HeadsReport(
        given.vit.source, len(table.pictures), table, commands=given.commands,
        pruned={**changed, "same prediction": ("", record["same_prediction"])},
        removed=tuple(record.pop("heads_removed")),
    )  # fmt: skip
    files = [record.pop("file"), *story.save(folder / f"{out.stem}-heads", "pruned")]
    rows = [[name, *values] for name, values in changed.items()]
    rows.append(["same prediction", "", f"{record['same_prediction']:.3g}"])
    finish(given, json, files, ["", "before", "after"], rows, **record)


def prune_to_file(
    given: HeadsInput,
    table: HeadTable,
    metric: str,
    keep: float,
    form: PrunedForm,
    replacement: str,
    out: Path,
    batch_size: int,
) -> dict[str, Any]:
    """Write the model without its least important heads; returns what changed.

    ``same_prediction``: the share of pictures whose answer is that of the whole model; ``accuracy`` where classes
    are known."""
    import vitscope as vs
    from vitscope import heads
    from vitscope.heads.pruning.pruned_accuracy import accuracy_of

    vit = given.vit
    remove = heads.heads_to_remove(table, metric, keep)
    means = (
        heads.mean_outputs(vit, given.source, checkpoint=given.unfinished) if replacement == "mean" else None
    )
    module = heads.prune_module(vit, remove, form=form, means=means)
    pruned = vs.open_model(module, preprocess=vit.preprocessor)
    before, after, same = accuracy_of(vit, pruned, given.source, batch_size)
    total = sum(block.heads for block in vit.anatomy.blocks)
    note = {"model": vit.source, "weights": vit.fingerprint, "metric": metric, "keep": keep}
    architecture = vit.source.partition("/")[2]
    return {
        "file": heads.save_pruned(
            module, out, architecture=architecture, remove=remove, form=form, note=note
        ),
        "heads_removed": remove,
        "removed": [f"{block}.{head}" for block, head in remove],
        "heads_before": total,
        "heads_after": total - len(remove),
        "parameters_before": vit.anatomy.parameters,
        "parameters_after": sum(parameter.numel() for parameter in module.parameters()),
        "accuracy_before": before,
        "accuracy_after": after,
        "same_prediction": same,
    }


@application.add(f"vitscope heads report photos {MODEL} --limit 100 --out heads")
def report(
    pictures: options.Pictures,
    model: options.Model,
    labels: options.Labels = None,
    out: options.Out = Path("vitscope-heads"),
    replacement: options.Replacement = "zero",
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs of the patterns' autoencoder.")] = 20,
    limit: options.Limit = None,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    model_option: options.ModelOptions = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = options.BATCH_SIZE,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    json: options.Json = False,
) -> None:
    """All analyses on one page: which heads matter, how far they look, what pattern they have, and why."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport, main_metric

    instead = check_argument(heads.importance, "replacement", replacement, heads.HeadsError)
    given = open_input(
        pictures, labels, limit, out, model, weights, image_size, device, precision, random_weights, model_option,
        least=2,
    )  # fmt: skip
    vit, source = given.vit, given.source
    with resumable(given) as unfinished:
        with watching() as progress:
            shared: dict[str, Any] = {
                "batch_size": batch_size,
                "checkpoint": unfinished,
                "progress": progress,
            }
            table = heads.importance(vit, source, replacement=instead, **shared)
            table.save(out / "heads-per-picture.parquet")  # the long part is kept whatever comes after
            profile = heads.strength(vit, source, **shared)
            found = heads.agreement(vit, source, table=table, **shared)
            metric = main_metric(table)
            many = heads.cumulative_pruning(vit, source, orders(table, metric), steps=12, **shared)
            atlas = heads.patterns(
            vit, source, options=heads.AutoencoderOptions(epochs=epochs),
            **shared,
        )  # fmt: skip
        story = HeadsReport(
        vit.source, len(table.pictures), table, profile, atlas, agreement=found, cumulative=many,
        commands=given.commands,
      )  # fmt: skip
        files = story.save(out)
    rows = [[f"{b}.{h}", f"{table.mean(metric)[b, h]:.4g}"] for b, h in table.order(metric)[:5]]
    finish(given, json, files, ["head", metric.replace("_", " ")], rows, heads=table.to_pandas())
