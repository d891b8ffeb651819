"""One small result of every saved kind, made by hand, with how it is saved and loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch

from vitscope import Explanation, Leaderboard, Protocol, heads
from vitscope.evaluation import MethodRecord, Metric
from vitscope.evaluation.board.records import CurveRecord
from vitscope.heads import Pattern
from vitscope.heads.atlas.autoencoder import MapAutoencoder
from vitscope.heads.atlas.clustering import Clustering
from vitscope.heads.atlas.mapping import without_maps
from vitscope.heads.atlas.principal import PrincipalCoder
from vitscope.heads.atlas.records import HeadMeans, ModelRecord
from vitscope.methods.calibration import Calibration
from vitscope.methods.memory_bank import MemoryBank
from vitscope.models import TokenLayout
from vitscope.models.preparing.cells import Cells
from vitscope.storage.recipe import Recipe, digest_of
from vitscope.sums.moments import ExactSum, Moments


@dataclass(frozen=True)
class SavedKind:
    """How one kind is made, saved under a folder and loaded from there; the file or folder that ``save`` gives."""

    name: str
    make: Callable[[], Any]
    save: Callable[[Any, Path], Path]
    load: Callable[[Path], Any]


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def explanation() -> Explanation:
    flow = torch.from_numpy(floats(2, 1, 2, 3)).float()
    return Explanation(
        "gmar", flow[:, 0], flow, "top1", torch.tensor([3, 1]), torch.tensor([0.5, -2.0]), torch.randn(2, 4),
        TokenLayout(("class", "register"), (2, 3), Cells((32, 48), (0, 16, 32), (0, 16, 32, 48))),
        {"norm": "l1", "start_block": 5},
        {
            "model": "timm/näme", "prefix_share": [0.1, float("nan")], "diagnostics": [{"a": 1.0}, {"a": 2.0}],
            "keys": ["a", "b"], "ids": [digest_of("a"), digest_of("b")],
        },
        {"head_weights": torch.rand(2, 3, 2), "shared": flow[:, 0]}, torch.zeros(2, 4, 4, 3, dtype=torch.uint8),
        ("cat", "dog", "tench, Tinca tinca", "\x1b[31mred"),
        Recipe("explain", {"fingerprint": "0123"}, {"method": "gmar"}, "top1"),
    )  # fmt: skip


def bank() -> MemoryBank:
    made = Recipe("bank", {"fingerprint": "0123", "precision": "float32"}, count=5)
    return MemoryBank(
        torch.from_numpy(floats(5, 4)).half(), torch.arange(5), ("a", "b"), "timm/x", "0123", made
    )


def table() -> heads.HeadTable:
    values = floats(3, 2, 4).astype(np.float32)
    values[1, 0, 2] = np.nan
    return heads.HeadTable(
        {"js_divergence": values, "flip": floats(3, 2, 4, seed=1).astype(np.float32)},
        ("c", "a", "b"),
        {"model": "x"},
    )


def strength() -> heads.StrengthProfile:
    shapes = {
        "mass": (3,), "strength": (3,), "offsets": (3, 5), "to_prefix": (1,), "from_prefix": (1,), "prefix_self": (),
        "prefix_entropy": (), "expected_distance": (), "patch_distance": (), "entropy": (),
    }  # fmt: skip
    L, H = 2, 2

    def moments(shape: tuple[int, ...]) -> Moments:
        found = Moments()
        found.add(torch.from_numpy(floats(3, L, H, *shape)))
        return found

    return heads.StrengthProfile(
        {name: moments(shape) for name, shape in shapes.items()},
        {name: floats(*shape, seed=2) for name, shape in shapes.items()},
        {name: floats(3, L, H).astype(np.float32) for name in ("expected_distance", "patch_distance", "entropy")},
        (0, 3), ("class",), (2, 3), "chebyshev", ("c", "a", "b"), {"model": "x"},
    )  # fmt: skip


def agreement() -> heads.Agreement:
    def symmetric(seed: int) -> np.ndarray:
        half = floats(3, 3, seed=seed)
        full = (half + half.T) / 2
        np.fill_diagonal(full, 1)
        return full

    matrices = {s: (symmetric(0), symmetric(1), symmetric(2)) for s in ("spearman", "kendall")}
    scores = floats(3, 2, 2)
    scores[0, 1, 1] = np.nan
    return heads.Agreement(("a", "b", "c"), matrices, scores, np.abs(scores), "pictures", 7, {"model": "x"})


def partial() -> heads.PartialPruning:
    return heads.PartialPruning(
        1, 2, (("class_query", -1), ("at", 0), ("at", 1)),
        {"js_divergence": floats(3, 3).astype(np.float32), "flip": floats(3, 3, seed=1).astype(np.float32)},
        ("c", "a", "c"), {"model": "x"},
    )  # fmt: skip


def cumulative() -> heads.CumulativePruning:
    curves = pd.DataFrame(
        {
            "order": ["js", "js", "random"], "repeat": [0, 0, 1], "removed": [0, 2, 2], "kept_share": [1.0, 0.5, 0.5],
            "probability": floats(3), "accuracy": [np.nan] * 3, "same_prediction": floats(3),
            "js_divergence": floats(3),
        }
    )  # fmt: skip
    return heads.CumulativePruning(
        curves, {"js": [(1, 0), (0, 1)], "random": [(0, 1), (1, 0)]}, {"model": "x"}
    )


def atlas() -> heads.PatternAtlas:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MapAutoencoder(9, 2, 2).eval().requires_grad_(False)
    maps = pd.DataFrame(
        {
            "model": ["m"] * 4, "picture": ["a", "b"] * 2, "block": [0, 0, 1, 1], "head": [0, 1, 0, 1],
            "cluster": [0, 1, 0, 1], "pattern": ["row", "column"] * 2, "distance": floats(4).astype(np.float32),
        }
    )  # fmt: skip
    mixes = pd.DataFrame(
        {
            "model": ["m"] * 2, "block": [0, 1], "head": [0, 0], "pattern": ["row"] * 2, "purity": [0.5, 1.0],
            "content_dependence": [0.1, 0.2],
        }
    )  # fmt: skip
    return heads.PatternAtlas(
        model, PrincipalCoder(9, torch.zeros(81), torch.from_numpy(floats(2, 81)).float()), "pca", "pooled",
        Clustering(floats(2, 2).astype(np.float32)),
        (Pattern(0, "row", "why", 2, 0.1), Pattern(1, "column", "why", 2, float("nan"))),
        torch.rand(2, 9, 9), torch.rand(2, 9, 9), floats(4, 2).astype(np.float32), maps, mixes,
        {"verdict": "PCA wins", "coders": {"pca": {"seeds_ari": float("nan")}}}, mixes, {"models": [{"name": "m"}]},
    )  # fmt: skip


def board() -> Leaderboard:
    states, curves = {}, {}
    for index, method in enumerate(("gmar", "random")):
        states[method, "srg"] = Metric("srg")
        states[method, "srg"].update_rows(["c", "a", "b"], torch.from_numpy(floats(3, 2, seed=index)))
        curves[method, "mif"] = CurveRecord(
            torch.tensor([0.0, 0.5, 1.0]).double(),
            ["c", "a", "b"],
            torch.from_numpy(floats(3, 3, seed=index + 5)),
        )
    return Leaderboard(
        Protocol(steps=4, grid=(2, 3), recipe=Recipe("evaluate", {"fingerprint": "0123"}, count=3)),
        [MethodRecord("gmar", "gradient", True, False, 0.1, 2.0), MethodRecord("random", control=True)],
        ["srg"], states, {("gmar", "srg"): 12, ("random", "srg"): 12}, 5, curves,
        {"c": np.zeros((2, 2, 3), np.uint8)}, {("gmar", "c"): floats(2, 2).astype(np.float32)},
    )  # fmt: skip


def calibration() -> Calibration:
    made = Recipe("calibrate", {"fingerprint": "0123"}, {"way": "by hand"}, "top1", count=16)
    return Calibration(0.53, 3.25, 1 / 3, 16, made)


def joint() -> heads.JointEffect:
    sides = [
        {
            name: floats(3, seed=seed + i).astype(np.float32)
            for i, name in enumerate(("js_divergence", "flip"))
        }
        for seed in (0, 5)
    ]
    return heads.JointEffect(((0, 1), (2, 0)), sides[0], sides[1], ("c", "a", "b"))


def means() -> heads.MeanOutputs:
    sums = ExactSum(torch.from_numpy(floats(2, 3, 4)), torch.from_numpy(floats(2, 3, 4, seed=1)) * 1e-17)
    return heads.MeanOutputs(sums, ("c", "a", "b"))


def sample() -> heads.MapSample:
    root = torch.from_numpy(np.abs(floats(2, 5, 5)))
    return heads.MapSample(
        torch.from_numpy(floats(3, 5, 5)).half(), torch.from_numpy(floats(3, 4, 4)).half(),
        floats(3, 12).astype(np.float32), np.array([0, 0, 0]), np.array([1, 0, 1]), np.array([0, 0, 1]),
        np.array([0, 0, 0]), np.array([5, 9, -(2**62)]), ("a", "b"), (ModelRecord("m", "0123", (2, 3), (0, 1), 1, 2),),
        (HeadMeans(np.array([0, 1]), np.array([0, 0]), ExactSum(root, root * 1e-17), 2),), 2,
    )  # fmt: skip


def mapping() -> heads.PatternMapping:
    codes, distances = floats(3, 2).astype(np.float32), np.abs(floats(3)).astype(np.float32)
    return heads.PatternMapping(
        without_maps(sample()), np.array([0, 1, 1]), distances, codes, ("row", "column")
    )


def pruned() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model("vit_tiny_patch16_224", **TINY)


TINY: dict[str, Any] = {"img_size": 32, "num_classes": 2, "depth": 1, "embed_dim": 6, "num_heads": 3}


def save_pruned(module: torch.nn.Module, folder: Path) -> Path:
    return heads.save_pruned(
        module, folder / "m.safetensors", architecture="vit_tiny_patch16_224", remove=[(0, 1)], form="masked"
    )


def look() -> heads.HeadLook:
    maps, prefix = np.abs(floats(2, 3, 2, 3)).astype(np.float32), np.abs(floats(2, 3, 1)).astype(np.float32)
    return heads.HeadLook(
        maps, prefix, (0, 3), ("class",), "patch 1,2", np.zeros((4, 6, 3), np.uint8), (0.0, 0.0, 1.0, 0.9), ("a",),
        {"model": "x"},
    )  # fmt: skip


KINDS = [
    SavedKind("explanation", explanation, lambda e, p: e.save(p / "e"), Explanation.load),
    SavedKind("memory bank", bank, lambda b, p: b.save(p / "b"), MemoryBank.load),
    SavedKind("calibration", calibration, lambda c, p: c.save(p / "c.json"), Calibration.load),
    SavedKind("joint effect", joint, lambda j, p: j.save(p / "j"), heads.JointEffect.load),
    SavedKind("mean head outputs", means, lambda m, p: m.save(p / "m"), heads.MeanOutputs.load),
    SavedKind("sample of maps", sample, lambda s, p: s.save(p / "s"), heads.MapSample.load),
    SavedKind("pattern mapping", mapping, lambda m, p: m.save(p / "m"), heads.PatternMapping.load),
    SavedKind("head table", table, lambda t, p: t.save(p / "t.parquet"), heads.HeadTable.load),
    SavedKind("head look", look, lambda s, p: s.save(p / "l"), heads.HeadLook.load),
    SavedKind("strength profile", strength, lambda s, p: s.save(p / "s"), heads.StrengthProfile.load),
    SavedKind("agreement", agreement, lambda a, p: a.save(p / "a"), heads.Agreement.load),
    SavedKind("partial pruning", partial, lambda f, p: f.save(p / "p.parquet"), heads.PartialPruning.load),
    SavedKind(
        "cumulative pruning", cumulative, lambda f, p: f.save(p / "c.parquet"), heads.CumulativePruning.load
    ),
    SavedKind("pattern atlas", atlas, lambda a, p: a.save(p / "atlas"), heads.PatternAtlas.load),
    SavedKind("leaderboard", board, lambda b, p: b.save(p / "board"), Leaderboard.load),
    SavedKind("pruned model", pruned, save_pruned, lambda path: heads.load_pruned(path, **TINY)),
]
