"""``vitscope heads prune``: a model without its least important heads, with its accuracy before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitscope.cli.commands.heads.input import HeadsInput, open_input, resumable
from vitscope.cli.commands.heads.result import finish
from vitscope.cli.shared.head_options import ReplacementOptions
from vitscope.cli.shared.options import (
    LabelOptions,
    ModelOptions,
    OutputOptions,
    PictureOptions,
    RunOptions,
)
from vitscope.cli.shared.parameters import SameAs
from vitscope.cli.shared.progress import watching
from vitscope.options.door import check_argument

if TYPE_CHECKING:
    from vitscope.heads import HeadTable
    from vitscope.heads.pruning.means import Replacement
    from vitscope.heads.pruning.prune_model import PrunedForm


@dataclass(frozen=True)
class Choice:
    """Which heads go, what stands in for them, and what is written."""

    keep: float
    metric: str
    form: PrunedForm
    replacement: Replacement
    file: Path

    def __post_init__(self) -> None:
        """Raise what is wrong with the choice before the model is opened: HeadsError, OutputError or a usage error."""
        from vitscope import heads
        from vitscope.errors import OutputError, nearest

        if self.metric not in heads.METRICS:
            close = ", ".join(nearest(self.metric, heads.METRICS))
            raise heads.HeadsError(f"unknown metric {self.metric!r}; nearest: {close}")
        if self.replacement == "mean-per-query":
            raise typer.BadParameter(
                "--replacement mean-per-query cannot be written into a model: a bias is the same for every query; "
                "take mean or zero"
            )
        if self.file.suffix != ".safetensors":
            raise OutputError(f"expected a file ending in .safetensors, got {self.file.name!r}; rename --out")


def prune(
    pictures: PictureOptions,
    labels: LabelOptions,
    model: ModelOptions,
    removed: ReplacementOptions,
    output: OutputOptions,
    run: RunOptions,
    keep: Annotated[
        float, SameAs("vitscope.heads", "heads_to_remove", "keep"),
        typer.Option("--keep", help="Share of all heads that stays."),
    ] = 0.7,
    by: Annotated[
        str, typer.Option("--by", help="Which importance decides; the least important heads go.")
    ] = "js_divergence",
    write: Annotated[
        str, SameAs("vitscope.heads", "prune_module", "form"),
        typer.Option("--write", help="A smaller model (heads cut out) or a masked one (heads silent)."),
    ] = "smaller",
) -> None:  # fmt: skip
    """Write a timm ViT without its least important heads, with its accuracy before and after."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport

    form = check_argument(heads.prune_module, "form", write, heads.HeadsError)
    choice = Choice(keep, by, form, removed.instead(), output.out)
    out = output.out
    folder = out.absolute().parent
    given = open_input(pictures, model, folder, labels)
    heads.attention_modules(given.vit)  # a model that cannot be rewritten is told before the work, not after
    with resumable(given) as unfinished:
        with watching() as progress:
            table = heads.importance(
                given.vit, given.source, replacement=choice.replacement, gradient=by.startswith("first_order"),
                batch_size=run.batch_size, checkpoint=unfinished, progress=progress,
            )  # fmt: skip
        record = prune_to_file(given, table, choice, run.batch_size, unfinished)
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
    finish(given, run.json, files, ["", "before", "after"], rows, **record)


def prune_to_file(
    given: HeadsInput, table: HeadTable, choice: Choice, batch_size: int, unfinished: Path
) -> dict[str, Any]:
    """Write the model without its least important heads; returns what changed.

    ``same_prediction``: the share of pictures whose answer is that of the whole model; ``accuracy`` where classes
    are known."""
    import vitscope as vs
    from vitscope import heads
    from vitscope.heads.pruning.pruned_accuracy import accuracy_of

    vit = given.vit
    remove = heads.heads_to_remove(table, choice.metric, choice.keep)
    means = None
    if choice.replacement == "mean":
        means = heads.mean_outputs(vit, given.source, batch_size=batch_size, checkpoint=unfinished)
    module = heads.prune_module(vit, remove, form=choice.form, means=means)
    pruned = vs.open_model(module, preprocess=vit.preprocessor, precision=vit.precision)
    before, after, same = accuracy_of(vit, pruned, given.source, batch_size)
    total = sum(block.heads for block in vit.anatomy.blocks)
    note = {"model": vit.source, "weights": vit.fingerprint, "metric": choice.metric, "keep": choice.keep}
    architecture = vit.source.partition("/")[2]
    return {
        "file": heads.save_pruned(
            module, choice.file, architecture=architecture, remove=remove, form=choice.form, note=note
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
