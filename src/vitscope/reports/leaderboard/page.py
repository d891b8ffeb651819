"""The leaderboard as one self-contained page: tables, intervals, curves, rank correlation, worst and best pictures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.evaluation.board import gallery
from vitscope.evaluation.board.paired_test import p_in_words
from vitscope.evaluation.board.sum_state import SumState
from vitscope.evaluation.metric import get_metric
from vitscope.options.door import checked
from vitscope.rendering.maps.overlay import overlay
from vitscope.rendering.pages.page import Column, Measure, Page
from vitscope.rendering.plots.charts import bars, curves
from vitscope.reports import words
from vitscope.reports.leaderboard.cells import best_end, ends, measured

if TYPE_CHECKING:
    from vitscope.evaluation.board.leaderboard import Leaderboard

CURVE_METHODS = 8

_HOW_TO_READ = (
    "Every value is a mean over pictures with its 95 % bootstrap interval. Bold is the best number of a column and "
    "no more than that: under each metric stands which methods a paired test with Holm's correction cannot tell "
    "from it. Controls know nothing of the decision: a method that does not beat them has shown nothing. n/a: not "
    "defined for this method. There is no blended score."
)


@checked(RenderingError)
def leaderboard_page(
    board: Leaderboard, path: str | os.PathLike[str] | None = None, command: str = ""
) -> str:
    """A leaderboard as one self-contained HTML page: table, intervals, curves, and the worst and best pictures.

    Args:
        board: The leaderboard.
        path: Where to write the page, atomically; None writes nothing.
        command: What made the board, printed on the page.

    Returns:
        The HTML text.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import vitscope as vs
        >>> board = vs.evaluation.evaluate_world("shapes", ["dart"], ["mass"], count=2, controls=("uniform",))
        >>> "dart" in vs.reports.leaderboard_page(board)
        True
    """
    made = Page("Leaderboard", _subject(board))
    made.section("Scores", _HOW_TO_READ)
    _scores(made, board)
    made.section("Protocol", "Scores may be compared only where all of this is equal.")
    made.metadata(_protocol_entries(board))
    made.section("Metric by metric")
    for metric in board.metrics:
        _metric(made, board, metric)
    if board.curves:
        made.section("Curves", "Mean over pictures with its 95 % bootstrap band.")
        _curves(made, board)
    ranked = [m for m in board.metrics if get_metric(m).higher_is_better is not None]
    if len(ranked) > 1:
        made.section(
            "Do the metrics agree?",
            "Kendall's rank correlation between the rankings of the methods; 1 is the same ranking, 0 no relation.",
        )
        table = board.rank_correlation()
        made.heat_map(
            table.to_numpy(), list(table.index), list(table.columns), caption="Rank correlation", signed=True
        )
    _pictures(made, board)
    if command:
        made.section("Command that made this page").commands([(command, "")])
    return made.finish(path)


def _subject(board: Leaderboard) -> str:
    """What was evaluated on what."""
    model, protocol = board.recipe.model.get("source", ""), board.protocol
    of = f" · {model}, weights {protocol.model}" if model else ""
    return f"{len(board.names)} methods and controls on {protocol.pictures} pictures{of}"


def too_few(board: Leaderboard, metric: str) -> str:
    """That so few pictures tell nothing apart, and how many would; empty where enough are there."""
    largest = max((board.interval(name, metric).n for name in board.names), default=0)
    needed = board.by(metric).needed
    if get_metric(metric).higher_is_better is None or not 0 < largest < needed:
        return ""
    return f"{largest} pictures tell no two methods apart; from {needed} on the clearest difference could be"


def _scores(made: Page, board: Leaderboard) -> None:
    columns: list[Column | str] = [
        "method",
        Column("class", hint="whether the map depends on the class asked for"),
    ]
    for metric in board.metrics:
        info = get_metric(metric)
        direction = best_end(metric)
        arrow = {True: " ↑", False: " ↓", None: ""}[info.higher_is_better]
        columns.append(Column(f"{metric}{arrow}", True, direction, info.title))
    columns += [
        Column("ms", True, hint="wall time per picture on this machine"),
        Column("MiB", True, hint="peak memory of an explanation"),
    ]
    rows: list[list[Any]] = []
    for record in board.methods:
        kind = "control" if record.control else ("yes" if record.class_specific else "no")
        row: list[Any] = [
            record.name,
            kind,
            *(measured(board, record.name, metric) for metric in board.metrics),
        ]
        seconds = round(1000 * record.seconds, 1)
        row += [seconds, None if record.memory != record.memory else round(record.memory, 1)]
        rows.append(row)
    made.table(columns, rows, caption="All methods and controls")


def _protocol_entries(board: Leaderboard) -> dict[str, Any]:
    protocol, recipe = board.protocol, board.recipe
    entries = {k.replace("_", " "): v for k, v in protocol.choices().items() if v is not None}
    entries["pictures"], entries["model"] = protocol.pictures, recipe.model.get("source", "")
    entries["weights"], entries["precision"] = protocol.model, recipe.model.get("precision", "")
    entries["preprocessing"] = recipe.model.get("preprocessing") or "ready tensors"
    entries["versions"] = ", ".join(f"{name} {version}" for name, version in protocol.versions.items())
    entries["digest"] = board.protocol.digest
    entries["model evaluations"] = (
        f"{board.total_evaluations} ({board.shared_evaluations} shared by all methods)"
    )
    return entries


def _metric(made: Page, board: Leaderboard, metric: str) -> None:
    info = get_metric(metric)
    intervals = {name: board.interval(name, metric) for name in board.names}
    shown = [name for name in board.ranking(metric) if intervals[name].n > 0]
    if not shown:
        made.text(f"{metric}: n/a for every method here.")
        return
    best, controls = board.best(metric), [record.name for record in board.methods if record.control]
    values = [intervals[name].value for name in shown]
    between = [ends(intervals[name]) for name in shown]

    def draw(theme: str) -> Figure:
        return bars(
            shown,
            values,
            [low for low, _ in between],
            [high for _, high in between],
            title=metric,
            label={True: "higher is better", False: "lower is better", None: "described, not ranked"}[
                info.higher_is_better
            ],
            sort=False,
            highlight=[name for name in best if name not in controls],
            controls=controls,
            theme=theme,
        )

    smallest, largest = min(i.n for i in intervals.values() if i.n), max(i.n for i in intervals.values())
    count = f"n = {largest}" if smallest == largest else f"n from {smallest} to {largest}"
    few = too_few(board, metric)
    within = f" Best within noise: {', '.join(best)}." if best else f" {few}." if few else ""
    made.figure(
        draw,
        alt=f"{metric} of each method with intervals",
        caption=f"{metric}: {info.title}. {count}.{within} {info.citation}.",
    )
    if info.higher_is_better is not None:
        leader, pairs = shown[0], board.compare(metric)
        rows = [
            [
                row["second"],
                Measure(row["difference"], row["low"], row["high"]),
                p_in_words(row["p_holm"]),
                int(row["n"]),
                row["verdict"],
            ]
            for _, row in pairs[pairs["first"] == leader].iterrows()
        ]
        made.table(
            ["against", Column(f"{leader} minus it", True), "p (Holm)", Column("n", True), "verdict"],
            rows,
            caption=f"Paired differences of {metric} from {leader}; p of {_test(board, metric)}, corrected over all "
            f"{len(pairs)} pairs",
        )


def _test(board: Leaderboard, metric: str) -> str:
    sums = any(isinstance(board.states.get((name, metric)), SumState) for name in board.names)
    return "the normal distribution with the spread of 1,000 bootstrap samples" if sums else "sign flips"


def _curves(made: Page, board: Leaderboard) -> None:
    for curve in dict.fromkeys(name for _, name in board.curves):
        owners = [name for name in board.names if (name, curve) in board.curves]
        strong = owners[:CURVE_METHODS]
        first = board.curves[(owners[0], curve)]
        same = [n for n in owners if len(board.curves[(n, curve)].fractions) == len(first.fractions)]
        series = {name: board.curves[(name, curve)].mean() for name in same}
        seed = board.protocol.seed
        bands = {name: board.curves[(name, curve)].band(seed) for name in same if name in strong}

        def draw(
            theme: str,
            curve: str = curve,
            first: Any = first,
            series: Any = series,
            bands: Any = bands,
            strong: Any = strong,
        ) -> Figure:
            return curves(
                first.fractions.numpy(),
                series,
                bands,
                title=curve,
                x_label=words.curve_axis(curve),
                y_label=curve,
                highlight=strong,
                theme=theme,
            )

        starts = ", ".join(f"{name} {float(series[name][0]):.3g}" for name in same[:4])
        more = "" if len(owners) <= CURVE_METHODS else f" {len(owners) - CURVE_METHODS} more in grey."
        made.figure(
            draw, alt=f"{curve} of each method", caption=f"{words.curve_start(curve)}: {starts}.{more}"
        )


def _pictures(made: Page, board: Leaderboard) -> None:
    """The pictures on which the best method does worst and best."""
    metric = gallery.ordering_metric(board.metrics)
    controls = {record.name for record in board.methods if record.control}
    if metric is None or not board.pictures:
        return
    name = next((n for n in board.ranking(metric) if n not in controls and (n, metric) in board.states), None)
    if name is None:
        return
    state = board.states[(name, metric)]
    values = state.values_of(board.pictures)
    worst, best = gallery.extremes(state, {key: 0 for key in board.pictures if (name, key) in board.maps})
    if not worst:
        return
    made.section("Worst and best pictures", f"By {metric} of {name}.")
    for title, keys in (("worst", worst), ("best", best)):
        entries = []
        for key in keys:
            values_of = board.maps[(name, key)]
            scaling = words.map_scaling(name)
            drawn = overlay(values_of, Image.fromarray(board.pictures[key]), scaling=scaling)
            caption = f"{title}: {key}, {metric} {values[key]:.3g}"
            entries.append((drawn, f"map of {name} on {key}", caption))
        made.figures(entries)
