"""What ``vitscope evaluate`` says: tables, the page over several protocols, JSON, and the list of metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitscope.cli.shared import console

if TYPE_CHECKING:
    from vitscope.evaluation import Leaderboard


def print_board(board: Leaderboard, title: str, where: Path) -> None:
    """The table on the console, controls below the methods, and what it was measured with."""
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
    star = "* not told apart from the best (paired, Holm) · " if any(best.values()) else ""
    console.say(
        f"n = {protocol.pictures} · 95 % bootstrap intervals · {star}"
        f"{board.total_evaluations} model evaluations, {board.shared_evaluations} of them shared · "
        f"protocol {protocol.digest} · {where / 'index.html'}"
    )
    from vitscope.reports.leaderboard.page import too_few

    for metric in board.metrics:
        if few := too_few(board, metric):
            console.say(f"{metric}: {few}; nothing is starred")
    console.say()


def compare(boards: dict[str, Leaderboard], place: Path, quiet: bool) -> None:
    """Whether the ranking survives another removal, score or seed: a table and a page."""
    from vitscope import reports
    from vitscope.evaluation import get_metric, protocol_rank_correlation

    reports.protocols_page(boards, place / "index.html")
    if quiet:
        return
    for metric in next(iter(boards.values())).metrics:
        if get_metric(metric).higher_is_better is None:
            continue
        table = protocol_rank_correlation(boards, metric)
        rows = [[name, *(f"{value:.2f}" for value in table.loc[name])] for name in table.index]
        console.table(["", *table.columns], rows, title=f"Does the ranking by {metric} survive? Kendall's τ")


def document(board: Leaderboard, world: str, name: str) -> dict[str, Any]:
    """A board as plain values for ``--json``; name: what tells its protocol from the others of the run."""
    return {
        "world": world or None,
        "name": name,
        "removal": board.protocol.removal,
        "protocol": {
            **board.protocol.to_dict(),
            "pictures": board.protocol.pictures,
            "model": board.protocol.model,
            "digest": board.protocol.digest,
        },
        "evaluations": board.total_evaluations,
        "shared_evaluations": board.shared_evaluations,
        "scores": board.to_pandas().drop(columns="protocol").to_dict("records"),
    }


def list_metrics(json: bool) -> None:
    """Every metric with what it needs and where it comes from."""
    from vitscope.evaluation import all_metrics

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
        for info in all_metrics()
    ]
    if json:
        console.emit_json(records)
        return
    console.table(
        ["metric", "better", "needs", "what it is", "paper"],
        [[r["name"], r["better"], ", ".join(r["needs"]) or "-", r["title"], r["citation"]] for r in records],
    )
