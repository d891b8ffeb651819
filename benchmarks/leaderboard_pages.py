"""docs/leaderboard from the measured boards: tables, the published claims in words, and pages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import vitscope as vs
from vitscope.evaluation import claim as decide
from vitscope.evaluation import get_metric, protocol_rank_correlation, world_names
from vitscope.evaluation.board.comparison import verdict
from vitscope.evaluation.board.paired_test import p_in_words, pictures_needed
from vitscope.evaluation.board.statistics import Difference, holm
from vitscope.storage import folders

ARROWS = {True: "↑", False: "↓", None: ""}
CAM_FAMILY = ("gradcam", "layercam", "hirescam", "xgradcam", "attention-gradcam")
Row = tuple[str, vs.Leaderboard, str]
"""Title, board, metric."""
REMOVALS = {"mask": "attention masking", "mean": "mean colour", "blur": "blur"}


def number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign, n/a when there is none."""
    return "n/a" if value != value else f"{value:.{digits}f}".replace("-", "−")


def cell(board: vs.Leaderboard, method: str, metric: str, best: Iterable[str]) -> str:
    """Value with its interval; an asterisk where it cannot be told from the best."""
    if method not in board.names:
        return ""
    interval = board.interval(method, metric)
    if interval.n == 0:
        return "n/a"
    spread = f" [{number(interval.low)}, {number(interval.high)}]" if interval.n > 1 else ""
    return f"{number(interval.value)}{spread}{' *' if method in best else ''}"


def table(columns: list[tuple[str, vs.Leaderboard, str]], order: list[str] | None = None) -> str:
    """Markdown: methods down, (title, board, metric) across; ordered by the first column."""
    first = columns[0]
    names = order or first[1].ranking(first[2])
    for _, board, _ in columns[1:]:
        names += [name for name in board.names if name not in names]
    records = {record.name: record for _, board, _ in columns for record in board.methods}
    best = [set(board.best(metric)) for _, board, metric in columns]
    lines = [
        "| method | class | "
        + " | ".join(f"{title} {ARROWS[get_metric(m).higher_is_better]}" for title, _, m in columns)
        + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    for name in names:
        record = records[name]
        kind = "control" if record.control else ("yes" if record.class_specific else "no")
        cells = [cell(board, name, metric, best[i]) for i, (_, board, metric) in enumerate(columns)]
        lines.append(f"| {name} | {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Comparison:
    """A pair of methods on one board and metric, and what a paired test says of it."""

    place: str
    first: str
    second: str
    found: Difference
    higher_is_better: bool

    def word(self, p: float, needed: int) -> str:
        """better or worse at 5 %, else within noise; what is missing where there are too few pictures."""
        winner, words = verdict(replace(self.found, p_holm=p), self.higher_is_better, needed)
        if not winner:
            return "within noise" if words == "undecided" else words
        return "**better**" if winner == self.first else "**worse**"


def comparisons(rows: list[Row], pairs: list[tuple[str, str]]) -> list[Comparison]:
    """Each pair on each board that holds both methods."""
    return [
        Comparison(
            place,
            first,
            second,
            board.difference(first, second, metric),
            get_metric(metric).higher_is_better is not False,
        )
        for first, second in pairs
        for place, board, metric in rows
        if first in board.names and second in board.names
    ]


def claim(title: str, rows: list[Row], pairs: list[tuple[str, str]]) -> str:
    """One published claim: the verdict in words, the three removals, and every paired difference."""
    made = comparisons(rows, pairs)
    corrected = holm([one.found.p for one in made])
    family = sum(p == p for p in corrected)
    needed = pictures_needed(family)
    words = [one.word(p, needed) for one, p in zip(made, corrected, strict=True)]
    counts = {word: words.count(word) for word in ("**better**", "**worse**", "within noise")}
    total = sum(counts.values())
    if total == 0:
        return f"### {title}\n\nNot measured.\n"
    if counts["**better**"] == total:
        answer = "It holds in every comparison made here"
    elif counts["**better**"] == 0:
        answer = "No comparison made here shows it"
    else:
        answer = "It holds in some comparisons only"
    text = [
        f"### {title}",
        "",
        f"**{answer}**: better in {counts['**better**']}, worse in {counts['**worse**']}, within noise in "
        f"{counts['within noise']} of {total} (paired sign flips, 5 %, Holm's correction over {family})."
        + (
            f" {len(words) - total} more have too few pictures to tell anything."
            if len(words) > total
            else ""
        ),
        "",
    ]
    removals = {name: board for name, board, metric in rows if metric == "srg" and "DeiT" in name}
    if len(removals) >= 3:
        everywhere = set.intersection(*(set(board.names) for board in removals.values()))
        for first, second in pairs:
            if not {first, second} <= everywhere:
                continue
            answer = decide(removals, "srg", first, second).verdict
            text.append(
                f"- one sign beyond noise under all three removals, {first} over {second}: **{answer}**"
            )
        text.append("")
    text += [
        "| first − second | where | difference | p (Holm) | n | first is |",
        "|---|---|---:|---:|---:|---|",
    ]
    for one, p, word in zip(made, corrected, words, strict=True):
        found = one.found
        value = f"{number(found.difference, 3)} [{number(found.low, 3)}, {number(found.high, 3)}]"
        text.append(
            f"| {one.first} − {one.second} | {one.place} | {value if found.n else 'n/a'} | "
            f"{p_in_words(p)} | {found.n} | {word} |"
        )
    return "\n".join([*text, ""])


def claims(boards: dict[str, vs.Leaderboard]) -> str:
    """The published claims, each with the paired differences that speak to it."""

    def rows(candidates: Iterable[tuple[str, str, str]]) -> list[Row]:
        return [(title, boards[name], metric) for title, name, metric in candidates if name in boards]

    faithful = rows(
        [(f"DeiT-Tiny, SRG, {words}", f"deit-{name}", "srg") for name, words in REMOVALS.items()]
        + [("DeiT-Tiny, deletion by patches", "deit-probability", "deletion-patch")]
        + [("DeiT-Tiny, insertion by patches", "deit-probability", "insertion-patch")]
        + [(f"{name}, SRG", f"world-{name}", "srg") for name in world_names()]
    )
    places = rows(
        [("DeiT-Tiny, grid pointing", "deit-mosaics", "grid-pointing")]
        + [(f"DeiT-Tiny, boxes, {m}", "deit-boxes", m) for m in ("mass", "max-box-acc-v2")]
        + [(f"{name}, {m}", f"world-{name}", m) for name in world_names() for m in ("mass", "auroc")]
    )
    l1, l2 = "gmar:norm=l1", "gmar:norm=l2"
    rivals = ["gae", "gradcam", "dart"]
    return "\n".join(
        [
            "## The published claims, here\n",
            claim("“GMAR beats rollout”", faithful, [(l1, "rollout"), (l2, "rollout")]),
            claim("“GMAR-L2 beats GMAR-L1”", faithful, [(l2, l1)]),
            claim("“DAAM localises better than the CAM family”", places, [("daam", c) for c in CAM_FAMILY]),
            claim("“LeGrad leads”", faithful, [("legrad", name) for name in rivals]),
            claim("“ResLRP leads”", faithful, [("reslrp", name) for name in rivals]),
            claim(
                "Our own claim: “DART explains the decision better”",
                faithful,
                [("dart", name) for name in ("gae", "gradcam", "gradcam:relu=false", "libra-fullgrad")],
            ),
            claim(
                "Our own method, on place",
                places,
                [(ours, name) for ours in ("dart", "dart:centre=true") for name in ("gae", "gradcam")],
            ),
        ]
    )


def write_pages(results: Path, folder: Path) -> None:
    """Write README.md and the pages of the main boards."""
    boards = {
        place.name: vs.Leaderboard.load(place) for place in sorted(results.iterdir()) if folders.exists(place)
    }
    folder.mkdir(parents=True, exist_ok=True)
    worlds = [name for name in world_names() if f"world-{name}" in boards]
    text = [INTRODUCTION]
    text.append(claims(boards))
    if worlds:
        text += ["## Planted-evidence worlds", WORLDS]
        for kind, words in (("world", ""), ("blackbox", ", black boxes")):
            there = {name: boards[f"{kind}-{name}"] for name in worlds if f"{kind}-{name}" in boards}
            for metric, title in WORLD_TITLES.items() if there else ():
                text.append(f"### {title}{words}\n")
                text += [table([(name, board, metric) for name, board in there.items()]), ""]
            text += [f"- {name}{words}: {footnote(board)}" for name, board in there.items()]
            text.append("")
    faithful = [
        (f"SRG, {REMOVALS[n]}", boards[f"deit-{n}"], "srg") for n in REMOVALS if f"deit-{n}" in boards
    ]
    if faithful:
        text.append("## DeiT-Tiny on photographs: faithfulness\n")
        if "deit-probability" in boards:
            board = boards["deit-probability"]
            faithful += [("deletion", board, "deletion-patch"), ("insertion", board, "insertion-patch")]
        text += [table(faithful), ""]
        text += [f"- {title}: {footnote(board)}" for title, board, _ in faithful]
        text += ["", survival({n: boards[f"deit-{n}"] for n in REMOVALS if f"deit-{n}" in boards}), ""]
    other = [
        ("grid pointing (chance .25)", boards.get("deit-mosaics"), "grid-pointing"),
        ("class sensitivity", boards.get("deit-maps"), "class-sensitivity"),
        ("mass in boxes", boards.get("deit-boxes"), "mass"),
        ("pointing in boxes", boards.get("deit-boxes"), "pointing"),
        ("MaxBoxAccV2", boards.get("deit-boxes"), "max-box-acc-v2"),
    ]
    present = [(title, board, metric) for title, board, metric in other if board is not None]
    if present:
        text += ["## DeiT-Tiny on photographs: place and class\n", table(present), ""]
        text += [f"- {title}: {footnote(board)}" for title, board, _ in present]
        text.append("")
    text.append(speed(results))
    (folder / "README.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    for name in ("deit-mask", "world-shapes"):
        if name in boards:
            boards[name].to_html(folder / f"{name}.html")


def footnote(board: vs.Leaderboard) -> str:
    """What a reader must know of a table."""
    protocol = board.protocol
    return (
        f"n = {protocol.pictures}, removal {protocol.removal}, score {protocol.score}, target {protocol.target}, "
        f"{protocol.steps} steps, random control {protocol.random_draws} seeds, {board.total_evaluations} model "
        f"evaluations, protocol {protocol.digest}"
    )


def survival(boards: dict[str, vs.Leaderboard]) -> str:
    """Kendall's τ between the rankings under the removals."""
    if len(boards) < 2:
        return ""
    square = protocol_rank_correlation(boards, "srg")
    names = list(square.columns)
    lines = ["Does the ranking survive another removal? Kendall's τ of the SRG rankings:", ""]
    lines.append("| | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    lines += [
        f"| {name} | " + " | ".join(number(float(v)) for v in square.loc[name]) + " |" for name in names
    ]
    return "\n".join(lines)


INTRODUCTION = """# Leaderboard

Made by `benchmarks/leaderboard.py`; nothing here was typed in. Each value is a mean over pictures with its 95 %
bootstrap interval; * marks the best of a column and all that a paired test (sign flips, see
[metrics](../metrics.md#the-protocol), with Holm's correction over all pairs of the board) cannot tell from it. The
controls know nothing of the decision. SRG is the symmetric relevance gain ([metrics](../metrics.md#the-metrics)).
"class" says whether a map depends on the class asked for. `drop` has the value
of attention masking at half the cost. Small models only (n stands under each table): read the intervals, not the order.
The script goes on from where it stopped whenever it is given more time.

DART's rows here, as all others, are those of the measurement; its κ was then found on the first pictures of each board.
A κ that depends on the model alone moves them a little.
"""

WORLDS = """
The evidence is known by construction and each world has a small trained ViT of its own. Mass is the share of
positive relevance on the planted evidence, rank accuracy the share of the most relevant pixels on it, AUROC compares
pixels on it with pixels off it; SRG asks the model itself. Columns are worlds. Methods that run the model hundreds of
times per map have tables of their own on fewer pictures, beside four that do not; `leave-one-out` is the oracle.
`daam-self` is for models without classifier and has no row.
"""

WORLD_TITLES = {
    "mass": "Worlds: mass on the evidence",
    "auroc": "Worlds: AUROC",
    "rank-accuracy": "Worlds: rank accuracy",
    "srg": "Worlds: SRG",
}

SPEED = """## Speed

`python benchmarks/evaluation_peers.py` measures against Quantus, grad-cam and torch-cam: the same removals of the same
patches of the same pictures, in one run, everyone in turn, on one thread. First the values are compared, then the
times. {speed}
See [metrics](../metrics.md#the-same-as-others-measure).
"""


def speed(results: Path) -> str:
    """The section on speed, from what ``evaluation_peers.py`` measured."""
    file = results.parent / "evaluation_peers.json"
    if not file.is_file():
        return SPEED.format(speed="Not measured yet.")
    lines = [
        "Processor seconds over those of vitscope's first entry in the same round: median [lowest, highest].",
    ]
    for name, measured in json.loads(file.read_text())["settings"].items():
        lines += [
            "",
            f"DeiT-Tiny's blocks, {name}; {measured['pictures']} pictures, {measured['steps']} steps, "
            f"{measured['repeats']} rounds:"
            if name.startswith("3 blocks")
            else f"{name}; {measured['pictures']} pictures, {measured['steps']} steps, {measured['repeats']} rounds:",
            "",
            "| what | by | × vitscope | values differ by |",
            "|---|---|---:|---:|",
        ]
        for group, entries in measured["speed"].items():
            gaps = measured["disagreement"].get(group, {})
            for who, entry in entries.items():
                ratio = f"{number(entry['ratio'])} [{number(entry['lowest'])}, {number(entry['highest'])}]"
                gap = f"{gaps[who]:.0e}" if gaps.get(who) else ""
                lines.append(f"| {group} | {who} | {ratio} | {gap} |")
    lines += [
        "",
        "`plain forwards` is the model alone, asked as often as vitscope asks it. A removal curve costs what its",
        "model evaluations cost; so do the peers but for what they compute in numpy between them, and on a processor",
        "that is a small part. The bar of five times a numpy-bound peer is therefore **not met** on a processor and",
        "was not measured on a GPU. What does save time: removal by attention mask through the shorter sequence.",
        "ROAD's conjugate gradients are meant for many pictures on a device; on a processor they beat grad-cam's",
        "direct solve on small pictures and lose to it at 224 px.",
    ]
    return SPEED.format(speed="\n".join(lines))
