"""``vitscope evaluate --model A --model B``: several models on the same pictures, under each protocol."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitscope.cli.commands.evaluate.input import Job
from vitscope.cli.commands.evaluate.run import UNFINISHED
from vitscope.cli.shared import console
from vitscope.cli.shared.options import ModelOptions
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.selection import choose_rows, share_options
from vitscope.cli.shared.session import open_vit
from vitscope.storage.parts import remove_parts

if TYPE_CHECKING:
    from vitscope.evaluation import ModelComparison
    from vitscope.tracing import Vit

COLUMNS = ("method", "metric", "first", "second", "difference", "low", "high", "p_holm", "verdict")


def open_models(first: Vit, given: list[ModelOptions]) -> dict[str, Vit]:
    """The models by the names that tables give them: what they were opened as, with their weights where that is the
    same."""
    opened = [(options, vit) for options, vit in zip(given, [first, *map(open_vit, given[1:])], strict=True)]
    twice = {name for name, count in Counter(vit.source for _, vit in opened).items() if count > 1}
    named: dict[str, Vit] = {}
    for options, vit in opened:
        name = vit.source
        if name in twice:
            name = f"{name} {Path(options.weights).stem if options.weights else vit.fingerprint[:6]}"
        while name in named:  # the same weights twice
            name += "'"
        named[name] = vit
    return named


def compare_job(
    job: Job,
    vits: dict[str, Vit],
    rows: list[str] | None,
    given: dict[str, Any],
    batch_size: int,
    place: Path,
    quiet: bool,
) -> dict[str, Any]:
    """The comparison under each protocol; tables and pages are below ``place``. Returns what ``--json`` tells."""
    import vitscope as vs
    from vitscope.evaluation.running.models import methods_for_all

    if rows is None:
        rows = methods_for_all(vits)
    for vit in vits.values():
        rows = choose_rows(rows, vit)
    options = {name: chosen for name, chosen in share_options(rows, given).items() if chosen}
    document: dict[str, Any] = {}
    for key, protocol in job.protocols.items():
        where = job.where(place, key)
        kept = {name: where / UNFINISHED / f"model-{index}" for index, name in enumerate(vits)}
        with watching(" ".join(part for part in (job.name, key) if part)) as progress:
            found = vs.compare_models(
                vits, job.data, methods=rows, metrics=job.metrics, protocol=protocol, options=options,
                batch_size=batch_size, checkpoint=kept, progress=progress,
            )  # fmt: skip
        found.save(where)
        found.to_html(where / "index.html")
        for folder in (*kept.values(), where / UNFINISHED):  # what was kept for the case of an interruption
            remove_parts(folder)
        document[key] = {
            "differences": found.to_pandas().to_dict("records"),
            "agreement": found.agreement().to_dict("records"),
            "out": str(where),
        }
        if not quiet:
            _print(found, key if len(job.protocols) > 1 else "", where)
    return document


def _print(found: ModelComparison, title: str, where: Path) -> None:
    rows = found.to_pandas()
    console.table(
        COLUMNS, [[_short(row[name]) for name in COLUMNS] for row in rows.to_dict("records")], title or None
    )
    console.say()
    table = found.agreement()
    console.table(table.columns, [[_short(cell) for cell in row] for row in table.to_numpy().tolist()])
    console.say()
    console.say(f"{len(found.keys)} pictures; the page is {where / 'index.html'}")


def _short(cell: Any) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
