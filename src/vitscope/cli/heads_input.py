"""What the commands of ``vitscope heads`` start from, and the pruned model that one of them writes."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitscope.cli import console
from vitscope.cli.application import OK, PARTIAL
from vitscope.cli.session import open_vit

if TYPE_CHECKING:
    from torch import Tensor

    from vitscope.heads import HeadTable
    from vitscope.heads.batches import PictureSource
    from vitscope.tracing import Vit


@dataclass(frozen=True)
class HeadsInput:
    """An open model, its pictures (bad ones are skipped while they are read) and their classes when known."""

    vit: Vit
    source: PictureSource
    labels: list[int] | None

    @property
    def exit_code(self) -> int:
        """0 when every picture was read, 3 when some were skipped."""
        return PARTIAL if self.source.skipped else OK

    @property
    def commands(self) -> tuple[str, ...]:
        """The command that is running, for the report."""
        return (shlex.join(["vitscope", *sys.argv[1:]]),)

    def skipped_records(self) -> list[dict[str, str]]:
        """The skipped pictures for ``--json``."""
        names = self.source.names
        return [{"picture": names[index], "reason": why} for index, why in self.source.skipped.items()]

    def tell_skipped(self) -> None:
        """One line on stderr for every skipped picture."""
        for reason in self.source.skipped.values():
            console.note(f"skipped: {reason}")


def open_input(
    pictures: list[str],
    labels: Path | None,
    limit: int | None,
    out: Path,
    model: str,
    weights: Path | None,
    image_size: str | None,
    device: str,
    precision: str,
    random_weights: bool,
    model_options: list[str] | None,
    labelled: bool = True,
) -> HeadsInput:
    """Find the pictures, see that results can be written, open the model, and read the classes if there are any."""
    from vitscope.heads.batches import picture_source
    from vitscope.models import find_pictures

    paths = find_pictures(pictures)[:limit]
    console.output_folder(out)
    vit = open_vit(model, weights, image_size, device, precision, random_weights, None, model_options)
    classes: Any = None
    if labelled and vit.anatomy.classes is not None:
        from vitscope.evaluation.truth import read_truth

        classes = read_truth(paths, labels, None, vit.anatomy.classes).labels
        if classes is None:
            console.note("no classes are known for these pictures (--labels); metrics of the true class are left out")
    return HeadsInput(vit, picture_source(list(paths), skip_bad=len(paths) > 1), classes)


def prune_to_file(
    given: HeadsInput,
    table: HeadTable,
    metric: str,
    keep: float,
    form: str,
    replacement: str,
    out: Path,
    batch_size: int,
) -> dict[str, Any]:
    """Write the model without its least important heads; returns what changed.

    ``same_answer``: the share of pictures whose prediction is that of the whole model; ``accuracy`` where classes
    are known."""
    import vitscope as vs
    from vitscope import heads

    vit = given.vit
    remove = heads.heads_to_remove(table, metric, keep)
    means = heads.mean_outputs(vit, given.source) if replacement == "mean" else None
    module = heads.prune_module(vit, remove, form=form, means=means)
    pruned = vs.open_model(module, preprocess=vit.preprocessor)
    before, truth = _answers(vit, given, batch_size)
    after, _ = _answers(pruned, given, batch_size)
    total = sum(block.heads for block in vit.anatomy.blocks)
    note = {"model": vit.source, "weights": vit.fingerprint, "metric": metric, "keep": keep}
    file = heads.save_pruned(
        module, out, architecture=vit.source.partition("/")[2], remove=remove, form=form, note=note
    )
    return {
        "file": file,
        "removed": [list(head) for head in remove],
        "heads_before": total,
        "heads_after": total - len(remove),
        "parameters_before": vit.anatomy.parameters,
        "parameters_after": sum(parameter.numel() for parameter in module.parameters()),
        "accuracy_before": None if truth is None else float((before == truth).float().mean()),
        "accuracy_after": None if truth is None else float((after == truth).float().mean()),
        "same_answer_before": 1.0,
        "same_answer_after": float((before == after).float().mean()),
    }


def _answers(vit: Vit, given: HeadsInput, batch_size: int) -> tuple[Tensor, Tensor | None]:
    """The most likely class of every readable picture, and the true ones."""
    import torch

    found: list[Tensor] = []
    positions: list[int] = []
    for batch in given.source.batches(vit, batch_size):
        found.append(vit.forward(batch.pixels).argmax(1).cpu())
        positions += batch.positions
    truth = None if given.labels is None else torch.tensor([given.labels[index] for index in positions])
    return torch.cat(found), truth
