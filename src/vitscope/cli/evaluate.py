"""``vitscope evaluate``: can these maps be trusted? Methods against metrics, controls and planted evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitscope.cli import console, options
from vitscope.cli.application import OK, PARTIAL
from vitscope.cli.selection import choose_methods, share_options
from vitscope.cli.session import open_vit
from vitscope.errors import PictureError

if TYPE_CHECKING:
    from vitscope.evaluation import EvaluationSet, Leaderboard, Protocol

EPILOG = (
    "Example: vitscope evaluate photos --model timm/deit_tiny_patch16_224 --weights deit.safetensors "
    "--methods gmar,daam,rollout,gae --metrics srg,deletion-patch --out board. "
    "Without pictures of your own: vitscope evaluate --world shapes. "
    "Exit code 3: some of many pictures could not be read and were skipped."
)


def evaluate(
    pictures: Annotated[list[str] | None, typer.Argument(help="Pictures, folders and globs.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Which model, as in vitscope explain.", show_default=False),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods", "--method", help="Comma list of methods, or all. With options: gmar:norm=l1;alpha=2."
        ),
    ] = "gmar,daam,rollout,gae",
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", "--metric", help="Comma list of metrics; --list-metrics lists them."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-O", help="Folder for tables and page.")] = Path(
        "vitscope-evaluation"
    ),
    world: Annotated[
        str | None,
        typer.Option("--world", help="Planted-evidence worlds instead of pictures: a comma list, or all."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="CSV with file and class_index; without it, class folders."),
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option("--boxes", help="Boxes: CSV, COCO JSON, or a folder of VOC XML files.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option("--masks", help="Folder of masks, named like the pictures; not 0 is the object."),
    ] = None,
    removal: Annotated[
        str, typer.Option(help="mask, drop, mean, blur, zero, black; several in a comma list are compared.")
    ] = "mask",
    score: Annotated[str, typer.Option(help="logit, probability or log_probability.")] = "logit",
    target: Annotated[str, typer.Option("--target", "-t", help="top1, label or a class number.")] = "top1",
    steps: Annotated[int, typer.Option(min=1, help="Steps of a removal curve.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    random_draws: Annotated[int, typer.Option(min=1, help="Seeds of the random control.")] = 10,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Most pictures to evaluate on.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", help="option=value for every method that has it, or method.option=value."
        ),
    ] = None,
    list_metrics: Annotated[bool, typer.Option("--list-metrics", help="List the metrics and stop.")] = False,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    class_names: options.ClassNames = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = 16,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    json: options.Json = False,
) -> None:
    """Score methods on pictures, with the controls, 95 % intervals, paired tests, wall time and memory beside them."""
    if list_metrics:
        _list_metrics(json)
        return
    if bool(pictures) == bool(world):
        raise typer.BadParameter(
            "give pictures or a folder with --model, or --world; vitscope evaluate --help"
        )
    from vitscope.evaluation import Protocol

    aim: str | int = int(target) if target.isdigit() else target
    removals = options.parse_list(removal)
    protocol = Protocol(
        removal=removals[0], score=score, target=aim, steps=steps, seed=seed, random_draws=random_draws
    )
    protocols = {name: replace(protocol, removal=name) for name in removals}
    given = options.parse_assignments(option)
    folder = console.output_folder(out)
    skipped: list[tuple[Path, str]] = []
    runs: list[tuple[str, Any, EvaluationSet, dict[str, Protocol], list[str]]] = []
    if world:
        from vitscope.evaluation.worlds import WORLD_METRICS, world_names, world_set

        names = list(world_names()) if world == "all" else options.parse_list(world)
        chosen = options.parse_list(metrics) if metrics else list(WORLD_METRICS)
        for name in names:
            data = world_set(name, limit or 100, seed)
            opened = open_vit(model or f"bundled/{name}", weights, None, device, precision)
            fitting = {key: _for_world(value, target) for key, value in protocols.items()}
            runs.append((name, opened, data, fitting, chosen))
    else:
        if model is None:
            raise typer.BadParameter(
                "--model says which model to evaluate, for example timm/deit_tiny_patch16_224"
            )
        opened = open_vit(model, weights, image_size, device, precision, random_weights, class_names)
        data, skipped = _pictures(pictures or [], labels, boxes, masks, limit, opened)
        runs.append(("", opened, data, protocols, options.parse_list(metrics) if metrics else ["srg"]))
    documents = []
    for name, opened, data, fitting, chosen in runs:
        place = folder / name if name and len(runs) > 1 else folder
        boards = {}
        for key, each in fitting.items():
            rows = options.parse_list(methods)
            # Methods that carry their own options (gmar:norm=l1) are read, and checked, by the library.
            plain = [name for name in rows if name != "all" and ":" not in name]
            shared = share_options(choose_methods(",".join(plain), opened.anatomy), given) if plain else {}
            label = " ".join(part for part in ("evaluating", name, key) if part)
            boards[key] = _run(opened, data, rows, chosen, each, shared, batch_size, label)
            where = place if len(fitting) == 1 else place / key
            boards[key].save(where)
            boards[key].to_html(where / "index.html")
            if not json:
                _print(boards[key], f"{name} {key}".strip(), where)
        if len(boards) > 1:
            _compare(boards, place, quiet=json)
        documents += [_document(board, name, key) for key, board in boards.items()]
    if json:
        console.emit_json(
            {"out": str(folder), "boards": documents, "skipped": [[str(p), r] for p, r in skipped]}
        )
    raise typer.Exit(PARTIAL if skipped else OK)


def _for_world(protocol: Protocol, target: str) -> Protocol:
    """In a world the true class is explained, whose evidence is known, unless another is asked for."""
    return replace(protocol, target="label") if target == "top1" else protocol


def _pictures(
    places: list[str],
    labels: Path | None,
    boxes: Path | None,
    masks: Path | None,
    limit: int | None,
    vit: Any,
) -> tuple[EvaluationSet, list[tuple[Path, str]]]:
    """The readable pictures with what is known about them, and those that were skipped."""
    from vitscope.evaluation.truth import read_truth
    from vitscope.models import find_pictures, read_picture

    paths = find_pictures(places)[:limit]
    good: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for path in console.track(paths, "reading", len(paths)):
        try:
            read_picture(path)
            good.append(path)
        except PictureError as error:
            if len(paths) == 1:
                raise
            skipped.append((path, str(error)))
            console.note(f"skipped: {error}")
    if not good:
        raise PictureError(
            f"none of the {len(paths)} pictures can be read; the lines above give the reason of each"
        )
    return read_truth(good, labels, boxes, vit.anatomy.classes, masks), skipped


def _run(
    vit: Any,
    data: EvaluationSet,
    methods: list[str],
    metrics: list[str],
    protocol: Protocol,
    shared: dict[str, dict[str, Any]],
    batch_size: int,
    label: str,
) -> Leaderboard:
    import vitscope as vs

    with console.Meter(label, 0) as advance:
        meter: Any = getattr(advance, "__self__", None)
        seen = 0

        def progress(what: str, done: int, total: int) -> None:
            nonlocal seen
            if meter is not None:
                meter.total = total
                if meter.bar is not None:
                    meter.bar.update(meter.task, total=total)
            advance(done - seen)
            seen = done

        used = {name: chosen for name, chosen in shared.items() if chosen}
        return vs.evaluate(
            vit,
            data,
            None,
            methods,
            metrics,
            protocol,
            options=used,
            batch_size=batch_size,
            progress=progress,
        )


def _print(board: Leaderboard, title: str, where: Path) -> None:
    from vitscope.evaluation import get_metric
    from vitscope.rendering.typography import numeral

    arrows = {True: " ↑", False: " ↓", None: ""}
    best = {metric: set(board.best(metric)) for metric in board.metrics}
    rows = []
    for record in board.methods:
        kind = "control" if record.control else ("yes" if record.class_specific else "no")
        row = [record.name, kind]
        for metric in board.metrics:
            interval = board.interval(record.name, metric)
            if interval.n == 0:
                row.append("n/a")
                continue
            mark = " *" if record.name in best[metric] else ""
            spread = f" [{numeral(interval.low)}, {numeral(interval.high)}]" if interval.n > 1 else ""
            row.append(f"{numeral(interval.value)}{spread}{mark}")
        memory = "n/a" if record.memory != record.memory else f"{record.memory:.0f}"
        rows.append([*row, f"{1000 * record.seconds:.0f}", memory])
    columns = [
        "method",
        "class",
        *(f"{m}{arrows[get_metric(m).higher_is_better]}" for m in board.metrics),
        "ms",
        "MiB",
    ]
    console.table(columns, rows, title=title or None)
    protocol = board.protocol
    console.out().print(
        f"n = {protocol.pictures} · 95 % bootstrap intervals · * not told apart from the best (paired, Holm) · "
        f"{board.total_evaluations} model evaluations, {board.shared_evaluations} of them shared · "
        f"protocol {protocol.digest} · {where / 'index.html'}\n",
        markup=False,
    )


def _compare(boards: dict[str, Leaderboard], place: Path, quiet: bool) -> None:
    """Whether the ranking survives another removal: a table and a page."""
    from vitscope.evaluation import get_metric, protocol_agreement
    from vitscope.evaluation.report import agreement_page
    from vitscope.rendering.files import write_atomically

    first = next(iter(boards.values()))
    ranked = [metric for metric in first.metrics if get_metric(metric).higher_is_better is not None]
    tables = {metric: protocol_agreement(boards, metric) for metric in ranked}
    write_atomically(place / "index.html", agreement_page(tables, boards))
    for metric, table in tables.items():
        if not quiet:
            rows = [[name, *(f"{value:.2f}" for value in table.loc[name])] for name in table.index]
            console.table(
                ["", *table.columns], rows, title=f"Does the ranking by {metric} survive? Kendall's τ"
            )


def _document(board: Leaderboard, world: str, removal: str) -> dict[str, Any]:
    return {
        "world": world or None,
        "removal": removal,
        "protocol": {**board.protocol.to_dict(), "digest": board.protocol.digest},
        "evaluations": board.total_evaluations,
        "shared_evaluations": board.shared_evaluations,
        "scores": board.to_pandas().drop(columns="protocol").to_dict("records"),
    }


def _list_metrics(json: bool) -> None:
    from vitscope.evaluation import metrics

    words = {True: "higher", False: "lower", None: "described"}
    records = [
        {
            "name": info.name,
            "family": info.family,
            "better": words[info.higher_is_better],
            "needs": list(info.requires),
            "title": info.title,
            "citation": info.citation,
        }
        for info in metrics()
    ]
    if json:
        console.emit_json(records)
        return
    console.table(
        ["metric", "better", "needs", "what it is", "paper"],
        [[r["name"], r["better"], ", ".join(r["needs"]) or "-", r["title"], r["citation"]] for r in records],
    )
