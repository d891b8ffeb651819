"""docs/leaderboard from the measured boards: tables, the published claims in words, and pages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import vitscope as vs
from vitscope.evaluation import claim as decide
from vitscope.evaluation import get_metric, protocol_agreement, world_names

ARROWS = {True: "↑", False: "↓", None: ""}
CAM_FAMILY = ("gradcam", "layercam", "hirescam", "xgradcam", "attention-gradcam")
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


def verdict(board: vs.Leaderboard, metric: str, first: str, second: str) -> str:
    """One line: the paired difference, and whether ``first`` is better, worse, or cannot be told from ``second``."""
    if first not in board.names or second not in board.names:
        return f"{first} and {second} were not both measured"
    found = board.difference(first, second, metric)
    if found.n == 0:
        return f"{first} − {second}: n/a"
    sign = -1 if get_metric(metric).higher_is_better is False else 1
    word = "not told apart"
    if found.p < 0.05:
        word = "**better**" if sign * found.difference > 0 else "**worse**"
    return (
        f"{first} − {second} = {number(found.difference, 3)} [{number(found.low, 3)}, {number(found.high, 3)}], "
        f"p = {found.p:.3g}, n = {found.n}: {word}"
    )


def claims(boards: dict[str, vs.Leaderboard]) -> str:
    """The published claims, each with the paired differences that speak to it."""
    faithful = [
        (f"DeiT-Tiny, SRG, {REMOVALS[name]}", boards[f"deit-{name}"], "srg")
        for name in REMOVALS
        if f"deit-{name}" in boards
    ]
    if "deit-probability" in boards:
        board = boards["deit-probability"]
        faithful += [("DeiT-Tiny, deletion by patches", board, "deletion-patch")]
        faithful += [("DeiT-Tiny, insertion by patches", board, "insertion-patch")]
    worlds = [
        (f"world {name}, SRG", boards[f"world-{name}"], "srg")
        for name in world_names()
        if f"world-{name}" in boards
    ]
    places = []
    if "deit-mosaics" in boards:
        places.append(("DeiT-Tiny, grid pointing", boards["deit-mosaics"], "grid-pointing"))
    if "deit-boxes" in boards:
        places += [(f"DeiT-Tiny, boxes, {m}", boards["deit-boxes"], m) for m in ("mass", "max-box-acc-v2")]
    places += [
        (f"world {name}, mass", boards[f"world-{name}"], "mass")
        for name in world_names()
        if f"world-{name}" in boards
    ]
    l1, l2 = "gmar:norm=l1", "gmar:norm=l2"
    text = ["## The published claims, here", ""]

    def claim(title: str, rows: list[tuple[str, vs.Leaderboard, str]], pairs: list[tuple[str, str]]) -> None:
        text.extend([f"### {title}", "", summary(rows, pairs), ""])
        removals = {name: board for name, board, metric in rows if metric == "srg" and "DeiT" in name}
        if len(removals) >= 3:
            words = {True: "holds", False: "the opposite holds", None: "undecided"}
            for first, second in pairs:
                answer = words[decide(removals, "srg", first, second).holds]
                text.append(f"- three removals of one sign beyond noise, {first} over {second}: **{answer}**")
        for name, board, metric in rows:
            for first, second in pairs:
                text.append(f"- {name}: {verdict(board, metric, first, second)}")
        text.append("")

    claim("“GMAR beats rollout”", faithful + worlds, [(l1, "rollout")])
    claim("“GMAR-L2 beats GMAR-L1”", faithful + worlds, [(l2, l1)])
    claim("“DAAM localises better than the CAM family”", places, [("daam", name) for name in CAM_FAMILY])
    rivals = ["gae", "gradcam", "dart"]
    claim(
        "“LeGrad and ResLRP lead”", faithful + worlds, [(a, b) for a in ("legrad", "reslrp") for b in rivals]
    )
    claim(
        "Our own claim: “DART leads”",
        faithful + worlds,
        [("dart", name) for name in ("gae", "gradcam", "libra-fullgrad")],
    )
    return "\n".join(text)


def summary(rows: list[tuple[str, vs.Leaderboard, str]], pairs: list[tuple[str, str]]) -> str:
    """How often the first of a pair was better, worse, or could not be told from the second."""
    counts = {"better": 0, "worse": 0, "not told apart": 0}
    for _, board, metric in rows:
        for first, second in pairs:
            words = verdict(board, metric, first, second)
            for word in counts:
                counts[word] += words.rstrip("*").endswith(word)
    total = sum(counts.values())
    if total == 0:
        return "Not measured."
    if counts["better"] == total:
        answer = "It holds in every comparison made here"
    elif counts["better"] == 0:
        answer = "No comparison made here shows it"
    else:
        answer = "It holds in some comparisons only"
    return (
        f"{answer}: better in {counts['better']}, worse in {counts['worse']}, not told apart in "
        f"{counts['not told apart']} of {total} (each at 5 %, paired bootstrap, not corrected for their number)."
    )


def write_pages(results: Path, folder: Path) -> None:
    """Write README.md and the pages of the main boards."""
    boards = {
        place.name: vs.Leaderboard.load(place)
        for place in sorted(results.iterdir())
        if (place / "protocol.json").is_file()
    }
    folder.mkdir(parents=True, exist_ok=True)
    worlds = [name for name in world_names() if f"world-{name}" in boards]
    text = [INTRODUCTION]
    text.append(claims(boards))
    if worlds:
        text += ["## Planted-evidence worlds", WORLDS]
        for name in worlds:
            board = boards[f"world-{name}"]
            text.append(f"### {name} (n = {board.protocol.pictures})\n")
            columns = [(metric, board, metric) for metric in board.metrics]
            text += [table(columns), "", footnote(board), ""]
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
    text.append(SPEED)
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
    square = protocol_agreement(boards, "srg")
    names = list(square.columns)
    lines = ["Does the ranking survive another removal? Kendall's τ of the SRG rankings:", ""]
    lines.append("| | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    lines += [
        f"| {name} | " + " | ".join(number(float(v)) for v in square.loc[name]) + " |" for name in names
    ]
    return "\n".join(lines)


INTRODUCTION = """# Leaderboard

Made by `benchmarks/leaderboard.py`; nothing here was typed in. Each value is a mean over pictures with its 95 %
bootstrap interval; * marks the best of a column and all that a paired test with Holm's correction cannot tell from
it. The controls know nothing of the decision. "class" says whether a map depends on the class asked for. `drop` has
the value of attention masking at half the cost. One small model and few pictures (n stands under each table): read
the intervals, not the order. Below n = 6 no difference can be told apart at 5 %, however large; the machine that these
were measured on was shared by many, and the script goes on from where it stopped whenever it is given more time.
"""

WORLDS = """
The evidence is known by construction and each world has a small trained ViT of its own. `mass` is the share of
positive relevance on the planted evidence, `rank-accuracy` the share of the most relevant pixels on it, `auroc`
compares pixels on it with pixels off it; SRG asks the model itself. `leave-one-out` is the black-box oracle.
"""

UNMEASURED = """
Not measured yet: `python benchmarks/leaderboard.py worlds` measures every method on every world, shard by shard, and
`python benchmarks/leaderboard.py pages` adds the tables here.
"""

SPEED = """## Speed

`python benchmarks/evaluation_peers.py` measures SRG and deletion against Quantus, grad-cam and torch-cam on the same
removals in one run, after checking that the values are equal (they are). Times are not published yet. See
[metrics](../metrics.md#the-same-as-others-measure).
"""
