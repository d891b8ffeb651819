"""The published leaderboards: planted-evidence worlds, and DeiT-Tiny on the sample photographs.

    python benchmarks/leaderboard.py worlds --seconds 120       # per world
    python benchmarks/leaderboard.py blackboxes --seconds 200   # the same for the dear methods, on fewer pictures
    python benchmarks/leaderboard.py deit --seconds 600         # per board
    python benchmarks/leaderboard.py add dart:centre=true deit-mosaics world-shapes    # one method, finished boards
    python benchmarks/leaderboard.py pages                      # docs/leaderboard from what was measured

Pictures are evaluated in small shards that are merged and saved as they come, until ``--seconds`` are over or all
pictures are done; n says how far a board got. A later call with more time goes on where the last one ended. Real
weights and photographs are looked for in VITSCOPE_ASSETS (default ../shared).
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import vitscope as vs
from vitscope.errors import VitscopeError
from vitscope.evaluation import EvaluationSet, world_names, world_set
from vitscope.evaluation.running.mosaics import mosaics_of
from vitscope.evaluation.running.worlds import WORLD_METRICS, WORLD_PROTOCOL
from vitscope.pictures import picture_source
from vitscope.storage import folders

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "leaderboard"
ASSETS = Path(os.environ.get("VITSCOPE_ASSETS", ROOT.parent / "shared"))

# What the published claims are about, and their relatives.
CLAIMED = [
    *("gmar:norm=l1", "gmar:norm=l2", "gmar-plus", "rollout", "gradient-rollout", "daam", "gae"),
    *("gradcam", "layercam", "legrad", "attcat", "tokentm", "transformer-attribution"),
    *("attnlrp", "reslrp", "libra-fullgrad", "dart"),
]
CAM_FAMILY = ["hirescam", "xgradcam", "attention-gradcam"]
# Up to several hundred model evaluations per map: on fewer pictures, in a table of their own beside four that are not.
BLACK_BOXES = ["leave-one-out", "occlusion", "rise", "kernel-shap", "integrated-gradients"]
BESIDE = ["dart", "libra-fullgrad", "gae", "gradcam"]
DEIT_BOARDS: dict[str, dict[str, Any]] = {
    "mask": {"metrics": ["srg"], "protocol": vs.Protocol(removal="drop", steps=10)},
    "mean": {"metrics": ["srg"], "protocol": vs.Protocol(removal="mean", steps=5)},
    "blur": {"metrics": ["srg"], "protocol": vs.Protocol(removal="blur", steps=5)},
    "probability": {
        "metrics": ["deletion-patch", "insertion-patch"],
        "protocol": vs.Protocol(removal="zero", steps=5, score="probability"),
    },
    "maps": {"metrics": ["class-sensitivity", "entropy", "gini"], "protocol": vs.Protocol()},
    "mosaics": {"metrics": ["grid-pointing"], "protocol": vs.Protocol(target="label")},
    "boxes": {"metrics": ["mass", "pointing", "max-box-acc-v2"], "protocol": vs.Protocol()},
}
PLACES = ("maps", "mosaics", "boxes")  # cheap: no removals, so the whole CAM family takes part
PIXELS = ("mean", "blur", "probability")  # dear: whole pictures for every step, so no relatives of relatives
RELATIVES = ("gradient-rollout", "attcat", "tokentm")


def world_methods() -> list[str]:
    """Every method of the registry that is not a control (those are in each table anyway) and no black box."""
    names = [info.name for info in vs.methods() if info.family != "control" and info.name not in BLACK_BOXES]
    return [
        "gmar:norm=l1",
        "gmar:norm=l2",
        *(name for name in names if name not in ("gmar", "raw-attention")),
    ]


def known_methods(names: list[str], vit: vs.Vit) -> list[str]:
    """Those that this version has and that apply to the model."""
    registered = {info.name: info for info in vs.methods()}
    chosen = []
    for name in names:
        info = registered.get(name.partition(":")[0])
        if info is not None and info.why_not(vit.anatomy) is None:
            chosen.append(name)
        else:
            print(f"  left out: {name}")
    return chosen


def grow(
    place: Path,
    data: EvaluationSet,
    make: Callable[[EvaluationSet], vs.Leaderboard],
    seconds: float,
    shard: int,
) -> bool:
    """Evaluate shard after shard (at least one), adding each to what ``place`` holds, until time or pictures are
    over. Whether all pictures are done."""
    board = vs.Leaderboard.load(place) if folders.exists(place) else None
    done = 0 if board is None else board.protocol.pictures
    start = time.monotonic()
    while done < len(data):
        part = make(data.part(done, min(done + shard, len(data))))
        try:
            board = part if board is None else board.merge(part)
        except VitscopeError as error:
            print(f"  {place.name} begins anew: {error}")
            board, done = None, 0
            continue
        done = board.protocol.pictures
        board.save(place)
        print(f"  {place.name}: {done} of {len(data)}, {time.monotonic() - start:.0f} s", flush=True)
        if time.monotonic() - start >= seconds:
            break
    return done >= len(data)


def run_worlds(seconds: float, count: int, only: list[str], black_boxes: bool) -> None:
    for name in only or list(world_names()):
        vit = vs.open_model(f"bundled/{name}")
        print(name)
        data = world_set(name, count)
        methods = known_methods([*BLACK_BOXES, *BESIDE] if black_boxes else world_methods(), vit)
        protocol = replace(WORLD_PROTOCOL, steps=8)

        def make(
            part: EvaluationSet, vit: Any = vit, methods: Any = methods, protocol: Any = protocol
        ) -> vs.Leaderboard:
            return vs.evaluate(vit, part, None, methods, WORLD_METRICS, protocol, batch_size=10)

        place = RESULTS / f"{'blackbox' if black_boxes else 'world'}-{name}"
        grow(place, data, make, seconds, 5 if black_boxes else 10)


def sample_photographs() -> EvaluationSet:
    folder = ASSETS / "images" / "sample"
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Every n pictures hold classes from everywhere, not the first hundred of fishes and birds.
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    paths = [folder / rows[i]["file"] for i in order]
    keys = picture_source(paths, root=folder).keys
    return EvaluationSet(paths, keys, [int(rows[i]["class_index"]) for i in order])


def deit_tiny() -> vs.Vit:
    return vs.open_model(
        "timm/deit_tiny_patch16_224", weights=ASSETS / "models" / "deit_tiny_patch16_224.safetensors"
    )


def deit_pictures(boards: list[str]) -> dict[str, EvaluationSet]:
    """What each board is measured on."""
    sets = dict.fromkeys(boards, sample_photographs())
    if "mosaics" in sets:
        sets["mosaics"] = mosaics_of(deit_tiny(), sets["mosaics"], DEIT_BOARDS["mosaics"]["protocol"].seed)
    if "boxes" in sets:
        from vitscope.evaluation.running.truth import read_truth

        folder = ASSETS / "images" / "boxed"
        files = sorted(folder.glob("*.JPEG"))
        sets["boxes"] = read_truth(
            files, boxes=folder / "boxes.csv", keys=picture_source(files, root=folder).keys
        )
    return sets


def run_deit(seconds: float, only: list[str]) -> None:
    vit = deit_tiny()
    claimed, family = known_methods(CLAIMED, vit), known_methods(CAM_FAMILY, vit)
    sets = deit_pictures(only or list(DEIT_BOARDS))
    start, open_boards = time.monotonic(), dict(sets)
    while open_boards and time.monotonic() - start < seconds:
        # One shard of each board in turn, so that all boards grow alike.
        for name, data in list(open_boards.items()):
            setting = DEIT_BOARDS[name]
            methods = claimed + (family if name in PLACES else [])
            if name in PIXELS:
                methods = [method for method in methods if method not in RELATIVES]

            def make(part: EvaluationSet, setting: Any = setting, methods: Any = methods) -> vs.Leaderboard:
                return vs.evaluate(
                    vit, part, None, methods, setting["metrics"], setting["protocol"], batch_size=10
                )

            if grow(RESULTS / f"deit-{name}", data, make, 0, 6 if name == "boxes" else 10):
                del open_boards[name]


def add_method(method: str, names: list[str]) -> None:
    """Score one more method on the pictures of finished boards; these cannot grow afterwards."""
    for name in names:
        board = vs.Leaderboard.load(RESULTS / name)
        kind, _, place = name.partition("-")
        if kind == "deit":
            vit, data = deit_tiny(), deit_pictures([place])[place]
        else:
            vit, data = vs.open_model(f"bundled/{place}"), world_set(place, board.protocol.pictures)
        part = data.part(0, board.protocol.pictures)
        found = vs.evaluate(
            vit, part, None, [method], board.metrics, board.protocol, controls=(), batch_size=10
        )
        board.join(found).save(RESULTS / name)
        print(f"  {name}: {method} on {len(part)} pictures", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["worlds", "blackboxes", "deit", "add", "pages"])
    parser.add_argument(
        "only", nargs="*", help="worlds or boards; all of them by default. add: a method, then boards"
    )
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--count", type=int, default=60, help="most pictures of a world")
    arguments = parser.parse_args()
    if arguments.part in ("worlds", "blackboxes"):
        run_worlds(arguments.seconds, arguments.count, arguments.only, arguments.part == "blackboxes")
    elif arguments.part == "add":
        add_method(arguments.only[0], arguments.only[1:])
    elif arguments.part == "deit":
        run_deit(arguments.seconds, arguments.only)
    else:
        from leaderboard_pages import write_pages

        write_pages(RESULTS, ROOT / "docs" / "leaderboard")


if __name__ == "__main__":
    main()
