"""The tables of docs/methods/dart.md, from what was kept of each measurement.

    python benchmarks/dart_page.py

Which script measured what is said beside each table of the page. Nothing is computed but means, differences and half
95 % intervals of figures per picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from dart_srg import half_width
from dart_variants import WORLDS
from leaderboard_claims import on_pictures
from marked import between, cell, number
from splits import MODELS, ROOT, TITLES
from torch import Tensor

import vitscope as vs

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "methods" / "dart.md"
FIRST = "dart-removal"
REMOVALS = {"drop": "drop", "mean": "mean colour", "log-probability": "drop, of the log-probability"}
"""What is shown, and how it is called."""
SRG_TITLES = {
    "dart": "**`dart`** (κ = ½)",
    "dart:kappa=0.53": "`dart`, κ = .53, by conservation on these pictures",
    "dart:kappa=1,gate=False": "`dart`, κ = 1, no gate (Libra FullGrad+)",
}
KAPPA_TITLES = {
    "conservation, first 16 photographs": "conservation, 16 photographs",
    "constant 0.25": "constant ¼",
    "constant 0.5": "**constant ½**",
    "constant 0.75": "constant ¾",
    "constant 1": "constant 1",
    "conservation, reference scenes": "conservation, 16 rendered scenes",
    "conservation, reference noise": "conservation, 16 pictures of noise",
}
WEIGHTS = {
    "dart-removal@0": "w = 0: ρ alone",
    "dart-removal@0.25": "w = ¼",
    "dart-removal": "**w = ½: `dart-removal`**",
    "dart-removal@0.75": "w = ¾",
    "dart-removal@1": "w = 1",
    "dart-removal@removal": "Γ alone",
    "beta-dart": "`beta-dart`",
    "gae": "`gae`",
}
POINTING = {
    "centred": "`dart`, `centre=True`",
    "target log-odds": "`dart`, log-odds as target",
    "gradcam": "`gradcam`",
    "dart": "`dart`",
}
VARIANTS = {
    "centred": "**centred**",
    "target log-odds": "target log-odds, y_c − log Σ exp of the others",
    "target centred": "target y_c − mean_k y_k",
    "target runner-up": "target y_c minus the runner-up",
    "rho only": "ρ only, no gate",
    "gamma only": "γ only",
    "gamma only, plain gradient": "γ only, ordinary gradient (Γ)",
    "gamma x 4": "4 γ",
    "mean origin": "origin of ρ at the mean token of the picture",
    "empty origin": "origin of ρ at the tokens of a picture of the mean colour",
    "positive per block": "relu per block",
    "mean gradient": "one gradient for all patches, their mean, as Grad-CAM has it",
    "last 1 blocks": "last block alone",
    "last 2 blocks": "last 2 blocks",
    "last 4 blocks": "last 4 blocks",
    "kappa=1": "κ = 1",
    "per-neuron": "per-neuron bias rule instead of κ (0…1)",
    "libra-fullgrad": "`libra-fullgrad`",
    "gae": "`gae`",
    "gradcam libra": "Grad-CAM with constant gates",
}
WORLD_TITLES = {
    "centred": "`dart`, `centre=True`",
    "dart": "`dart`",
    "libra-fullgrad": "`libra-fullgrad`",
    "gae": "`gae`",
    "gradcam": "`gradcam`",
}
WORLD_METRICS = {"mass": "mass", "rank": "rank accuracy", "auroc": "AUROC"}
BOXES = {
    "dart:centre=true": "`dart`, `centre=True`",
    "dart-removal:centre=true": "`dart-removal`, `centre=True`",
    "dart": "`dart`",
    "dart-removal": "`dart-removal`",
    "beta-dart": "`beta-dart`",
}
OURS = ("dart", FIRST, "beta-dart")
BOX_METRICS = {"mass": "share", "pointing": "pointing", "auroc": "AUROC"}
SHAPES_METRICS = {
    "mass": "share in the mask",
    "rank-accuracy": "rank accuracy",
    "auroc": "AUROC",
    "srg": "SRG",
}


# ---- cells -----------------------------------------------------------------------------------------------------------
def of(values: Tensor, digits: int = 2, sign: bool = False) -> str:
    """The same of values per picture; undefined ones do not count."""
    known = values[values.isfinite()]
    return cell(float(known.mean()), half_width(known), digits, sign)


def rows(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def tensors(values: dict[str, list[float]]) -> dict[str, Tensor]:
    """Values per picture by candidate."""
    return {name: torch.tensor(each, dtype=torch.float64) for name, each in values.items()}


def kept(name: str) -> Any:
    """What a script left in its file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


# ---- tables ----------------------------------------------------------------------------------------------------------
def srg() -> str:
    """SRG of 100 photographs, and the eight subsets of ``refined`` on 64 of them."""
    found = kept("dart_srg")["methods"]
    order = sorted(found, key=lambda name: (name != "dart", -found[name]["srg"]))
    body = []
    for name in order:
        own = found[name]
        apart = cell(own["dart_minus_this"], own["difference_half_width_95"], sign=True)
        better = f"{100 * own['dart_better_on']:.0f} %"
        shown = SRG_TITLES.get(name, f"`{name}`")
        beside = ["", ""] if name == "dart" else [apart, better]
        body.append([shown, cell(own["srg"], own["half_width_95"]), *beside])
    return rows(["method", "SRG", "`dart` minus this", "`dart` better on"], body)


def refined() -> str:
    """``refined=8`` beside plain DART."""
    found = kept("dart_refined")["methods"]
    plain, more = found["dart"], found["dart:refined=8"]
    apart = cell(-more["dart_minus_this"], more["difference_half_width_95"], sign=True)
    return rows(
        ["", "SRG", "difference", "better on"],
        [
            ["`dart`", cell(plain["srg"], plain["half_width_95"]), "", ""],
            [
                "`refined=8`",
                cell(more["srg"], more["half_width_95"]),
                f"**{apart}**",
                f"{100 * (1 - more['dart_better_on']):.0f} %",
            ],
        ],
    )


def kappa() -> str:
    """What each choice of kappa gives, less kappa by conservation on the photographs themselves."""
    found = kept("dart_kappa")["confirm"]
    head = ["κ"]
    for title in TITLES.values():
        head += [f"{title}: κ", "SRG", "pointing"]
    body = []
    for rule, title in KAPPA_TITLES.items():
        line = [title]
        for model in MODELS.values():
            sides = {name: found[model][name]["rules"][rule] for name in ("srg", "pointing")}
            line.append(f"{sides['srg']['kappa']:.2f}")
            for name, digits in (("srg", 2), ("pointing", 3)):
                base = rule == "conservation, first 16 photographs"
                line.append(cell(*sides[name]["mean" if base else "minus photographs"], digits, not base))
        body.append(line)
    return rows(head, body)


def weights() -> str:
    """SRG on the development photographs by the weight of Gamma, less that of DART."""
    found = kept("dart_second_model")["development"]
    values = {model: tensors(found[model]["drop"]["values"]["srg"]) for model in TITLES}
    body = [["`dart`", *(of(values[model]["dart"]) for model in TITLES)]]
    for name, title in WEIGHTS.items():
        body.append(
            [title, *(of(values[model][name] - values[model]["dart"], sign=True) for model in TITLES)]
        )
    return rows(["", *TITLES.values()], body)


def two_models() -> str:
    """SRG of each method by removal and model, with its paired difference to ``dart-removal``."""
    found = kept("dart_second_model")["confirmation"]
    head = ["removal", "method"]
    for title in TITLES.values():
        head += [title, ""]
    body = []
    for part, title in REMOVALS.items():
        known = {model: tensors(found[model][part]["values"]["srg"]) for model in TITLES}
        means = {name: float(values.mean()) for name, values in known["deit"].items()}
        for place, name in enumerate(sorted(means, key=lambda each: (each != FIRST, -means[each]))):
            line = ["" if place else title, f"`{name}`"]
            for values in known.values():
                apart = values[name] - values[FIRST]
                line += [of(values[name]), "" if name == FIRST else of(apart, sign=True)]
            body.append(line)
    return rows(head, body)


def shapes() -> str:
    """Planted shapes, another seed than any choice was made on: what the two newer forms add to DART."""
    found = kept("dart_second_model")["confirmation"]["shapes"]["world"]["values"]
    values = {metric: tensors(found[metric]) for metric in SHAPES_METRICS}
    body = [["`dart`", *(of(values[metric]["dart"], 3) for metric in SHAPES_METRICS)]]
    for name in ("dart-removal", "beta-dart", "gae", "rollout"):
        apart = [of(values[metric][name] - values[metric]["dart"], 3, True) for metric in SHAPES_METRICS]
        body.append([f"`{name}`", *apart])
    return rows(["", *SHAPES_METRICS.values()], body)


def boxes() -> str:
    """Where the object lies, by the boards of both models without the development photographs."""
    left_out = kept("leaderboard/parts")["development"]
    boards = {
        model: on_pictures(vs.Leaderboard.load(RESULTS / "leaderboard" / f"{model}-boxes"), left_out)
        for model in TITLES
    }
    head = [""]
    for title in BOX_METRICS.values():
        head += [f"{title}: DeiT", "AugReg"]
    places = [(metric, board) for metric in BOX_METRICS for board in boards.values()]

    def value(board: vs.Leaderboard, name: str, metric: str) -> float:
        return float(board.interval(name, metric).value)

    def best_other(board: vs.Leaderboard, metric: str) -> str:
        others = [name for name in board.names if name.partition(":")[0] not in OURS]
        return max(others, key=lambda name: value(board, name, metric))

    def difference(board: vs.Leaderboard, metric: str, name: str, base: str) -> str:
        apart = board.compare(metric, [(name, base)]).iloc[0]
        return cell(apart["difference"], (apart["high"] - apart["low"]) / 2, 3, True)

    body = [
        [title, *(number(value(board, name, metric), 3) for metric, board in places)]
        for name, title in BOXES.items()
    ]
    best = [(board, metric, best_other(board, metric)) for metric, board in places]
    body.append(
        [
            "the best other",
            *(f"{number(value(board, name, metric), 3)} `{name}`" for board, metric, name in best),
        ]
    )
    for name in ("dart:centre=true", FIRST):
        apart = [difference(board, metric, name, "dart") for metric, board in places]
        body.append([f"{BOXES[name]} − {BOXES['dart']}", *apart])
    return rows(head, body)


def pointing() -> str:
    """Grid pointing of the variants that were confirmed."""
    found = kept("dart_variants")["confirm"]["grid-pointing"]
    body = []
    for name, title in POINTING.items():
        own = found["variants"][name]
        line = [title, cell(own["mean"], own["half_width_95"], 3)]
        against = own.get("minus gradcam")
        line += ["", ""] if against is None else [cell(*against[:2], 3, True), f"{against[2]:.3f}"]
        against = own.get("minus dart")
        line.append("" if against is None else cell(*against[:2], 3, True))
        body.append(line)
    return rows([f"{found['n']} photographs", "grid pointing", "minus `gradcam`", "p", "minus `dart`"], body)


def variants() -> str:
    """All variants on the development photographs: what each adds to DART."""
    found = kept("dart_variants")["develop"]
    rounds = [found["grid-pointing, first round"]["variants"], found["grid-pointing"]["variants"]]
    order = found["srg"]["variants"]

    def added(name: str, places: Sequence[dict[str, Any]], digits: int) -> str:
        known = next((place[name] for place in places if name in place), None)
        return "" if known is None else cell(*known["minus dart"][:2], digits, True)

    body = []
    for name, title in VARIANTS.items():
        same = name == "centred"  # which changes no order
        body.append([title, added(name, rounds, 3), "0" if same else added(name, [order], 2)])
    return rows(["variant", "grid pointing", "SRG"], body)


def world_means() -> str:
    """The share of the relevance in the mask, by world."""
    found = kept("dart_variants")["confirm"]
    body = []
    for name, title in WORLD_TITLES.items():
        known = [found[f"{world} mass"]["variants"][name] for world in WORLDS]
        body.append([title, *(cell(each["mean"], each["half_width_95"], 3) for each in known)])
    return rows(["share in the mask", *WORLDS], body)


def world_differences() -> str:
    """What each method adds to DART, by world and metric; bold where it is more, p < .05 by Holm."""
    found = kept("dart_variants")["confirm"]
    body = []
    for metric, title in WORLD_METRICS.items():
        for name in ("centred", "libra-fullgrad", "gae", "gradcam"):
            if name == "centred" and metric != "mass":  # its order is DART's
                continue
            line = [f"{title}: {WORLD_TITLES[name]}"]
            for world in WORLDS:
                mean, half, p = found[f"{world} {metric}"]["variants"][name]["minus dart"]
                text = cell(mean, half, 3, True)
                line.append(f"**{text}**" if mean > 0 and p < 0.05 else text)
            body.append(line)
    return rows(["less `dart`", *WORLDS], body)


TABLES: dict[str, Callable[[], str]] = {
    "srg": srg,
    "kappa": kappa,
    "weights": weights,
    "two models": two_models,
    "shapes": shapes,
    "boxes": boxes,
    "pointing": pointing,
    "variants": variants,
    "world means": world_means,
    "world differences": world_differences,
    "refined": refined,
}
"""By the name in the marks of the page."""


def with_tables(page: str) -> str:
    """The page with every table between its marks."""
    for name, made in TABLES.items():
        page = between(page, f"<!-- {name}: begin -->", f"<!-- {name}: end -->", made())
    return page


def main() -> None:
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
