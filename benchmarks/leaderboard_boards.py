"""What is on the leaderboards: which methods, on which pictures, by which metrics, in the order of their weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from splits import MODELS, Part, Photograph, open_real, photographs

import vitscope as vs
from vitscope.evaluation import EvaluationSet, world_names, world_set
from vitscope.evaluation.running.mosaics import mosaics_of
from vitscope.evaluation.running.worlds import WORLD_METRICS, WORLD_PROTOCOL

OURS = [
    *(
        "dart",
        "dart:centre=true",
        "dart-removal",
        "dart-removal:centre=true",
        "beta-dart",
        "beta-dart:centre=true",
    ),
    "gmar-plus",
]
"""What this project made. Their settings were chosen on the development pictures, so claims about them are decided on
the others."""
PUBLISHED = [
    *("gmar:norm=l1", "gmar:norm=l2", "rollout", "daam", "gae", "gradcam", "gradcam:relu=false", "legrad"),
    *(
        "attnlrp",
        "reslrp",
        "libra-fullgrad",
        "transformer-attribution",
        "gradient-rollout",
        "attcat",
        "tokentm",
    ),
]
CAM_FAMILY = ["layercam", "hirescam", "xgradcam", "attention-gradcam"]
REAL_METHODS = [*PUBLISHED, *OURS, *CAM_FAMILY]
# Up to several hundred model evaluations per map: on fewer pictures, in a table of their own beside four that are not.
BLACK_BOXES = ["leave-one-out", "occlusion", "rise", "kernel-shap", "integrated-gradients"]
BESIDE = ["dart", "libra-fullgrad", "gae", "gradcam"]
READ_AHEAD = 8
"""Threads that read pictures before their turn."""

REAL_BOARDS: dict[str, tuple[list[str], vs.Protocol]] = {
    "mask": (["srg"], vs.Protocol(removal="drop", steps=10)),
    "boxes": (["mass", "pointing", "max-box-acc-v2", "auroc"], vs.Protocol(target="label")),
    "mean": (["srg"], vs.Protocol(removal="mean", steps=5)),
    "blur": (["srg"], vs.Protocol(removal="blur", steps=5)),
    "mosaics": (["grid-pointing"], vs.Protocol(target="label")),
    "probability": (
        ["deletion-patch", "insertion-patch"],
        vs.Protocol(removal="zero", steps=10, score="probability"),
    ),
    "maps": (["class-sensitivity", "entropy", "gini"], vs.Protocol()),
}
"""Metrics and protocol by the board's name, the same for both models; ``drop`` has the value of ``mask``. Where pixels
are removed every step costs a whole picture, so there are fewer."""
PIXELS = ("mean", "blur")
RELATIVES = [
    "gradient-rollout",
    "attcat",
    "tokentm",
    "dart-removal:centre=true",
    "beta-dart:centre=true",
    *CAM_FAMILY,
]
"""Left out where pixels are removed."""


@dataclass(frozen=True)
class Board:
    """One table: methods by metrics on pictures, under one protocol."""

    name: str
    methods: list[str]
    metrics: list[str]
    protocol: vs.Protocol
    open_model: Callable[[str], vs.Vit]
    pictures: Callable[[vs.Vit], EvaluationSet]


def all_boards(extra: list[str]) -> dict[str, Board]:
    """Every board by its name, what matters most first. extra: methods that take part beside the listed ones."""
    more = [name for name in extra if name not in REAL_METHODS]
    boards = [
        Board(
            f"{model}-{kind}",
            [name for name in [*REAL_METHODS, *more] if kind not in PIXELS or name not in RELATIVES],
            metrics,
            protocol,
            lambda device, model=model: _opened(model, device),
            lambda vit, kind=kind, seed=protocol.seed: _real_pictures(vit, kind, seed),
        )
        for kind, (metrics, protocol) in REAL_BOARDS.items()
        for model in MODELS
    ]
    boards += [_on_world(name, "world", [*REAL_METHODS, *more], 200) for name in world_names()]
    boards += [
        Board(
            f"{model}-blackbox",
            ["leave-one-out", "rise", *BESIDE, *more],
            *REAL_BOARDS["mask"],
            lambda device, model=model: _opened(model, device),
            lambda vit: _real_pictures(vit, "mask", 0).part(0, 60),
        )
        for model in MODELS
    ]
    boards += [_on_world(name, "blackbox", [*BLACK_BOXES, *BESIDE], 20) for name in world_names()]
    return {board.name: board for board in boards}


@cache
def _opened(name: str, device: str) -> vs.Vit:
    return open_real(name, device=device) if name in MODELS else vs.open_model(name, device=device)


def _on_world(name: str, kind: str, methods: list[str], count: int) -> Board:
    return Board(
        f"{kind}-{name}",
        methods,
        list(WORLD_METRICS),
        replace(WORLD_PROTOCOL, steps=8),
        lambda device: _opened(f"bundled/{name}", device),
        lambda _: world_set(name, count),
    )


def _real_pictures(vit: vs.Vit, kind: str, seed: int) -> EvaluationSet:
    if kind == "boxes":
        chosen = mixed("confirmation", photographs("boxed-val", "confirmation"))
        chosen += mixed("development", photographs("boxed-val", "development"))
        return _set_of(chosen, boxes=True)
    data = _set_of(everything())
    return replace(mosaics_of(vit, data, seed), threads=READ_AHEAD) if kind == "mosaics" else data


def everything(parts: Sequence[Part] = ("confirmation", "development")) -> list[Photograph]:
    """All 400 photographs: those for reporting first, so that a board that is cut short was measured on them."""
    found = []
    for part in parts:
        found += mixed(part, photographs("sample", part) + photographs("boxed-val", part))
    return found


def mixed(part: str, chosen: list[Photograph]) -> list[Photograph]:
    """In a drawn order, so that the first n of them are of classes from everywhere."""
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(len(part)))
    return [chosen[place] for place in order.tolist()]


def _set_of(chosen: list[Photograph], boxes: bool = False) -> EvaluationSet:
    return EvaluationSet(
        [each.path for each in chosen],
        [each.key for each in chosen],
        [each.label for each in chosen],
        boxes=[each.boxes for each in chosen] if boxes else None,
        threads=READ_AHEAD,
    )
