"""For every public function a call that works, on a model of two blocks of two heads and two pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch import Tensor

import vitscope as vs
from vitscope import adapters, evaluation, heads, methods, models, pictures, reports, tracing, worlds
from vitscope.pictures.planned import plan_pictures

Call = tuple[Callable[..., Any], dict[str, Any]]


@dataclass
class Given:
    """What the calls share."""

    vit: vs.Vit
    bare: vs.Vit
    images: Tensor
    folder: Path
    picture: Path
    explanation: vs.Explanation
    flow: vs.Explanation
    board: vs.Leaderboard
    table: heads.HeadTable
    sample: heads.MapSample
    atlas: heads.PatternAtlas
    pruned: Path
    cache: tracing.BlockCache
    compared: evaluation.ModelComparison


def given(folder: Path) -> Given:
    """Made once for all calls."""
    torch.manual_seed(0)
    size: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    name = "vit_tiny_patch16_224"
    vit = vs.open_model(timm.create_model(name, num_classes=5, **size), image_size=32)
    bare = vs.open_model(timm.create_model(name, num_classes=0, **size), image_size=32)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    Image.new("RGB", (40, 36), (200, 30, 90)).save(folder / "one.png")
    table = heads.importance(vit, images, [0, 1, 2])
    sample = heads.collect_maps(vit, images, per_head=3)
    quick = heads.AutoencoderOptions(latent=2, width=2, epochs=1, patience=0)
    atlas = heads.fit_atlas(sample, k=2, options=quick, repeats=0, display="pca")
    pruned = heads.save_pruned(
        vit.model, folder / "pruned.safetensors", architecture=f"timm/{name}", remove=[(0, 1)], form="masked"
    )
    return Given(
        vit, bare, images, folder, folder / "one.png", vs.explain(vit, images, "gmar"),
        vs.explain(vit, images, "rollout"), vs.evaluate(vit, images, methods=["rollout"], metrics=["entropy"]),
        table, sample, atlas, pruned, vit.cache(images),
        vs.compare_models(
            {"a": vit, "b": vit}, images, methods=["rollout"], metrics=["entropy"], controls=(), protocol=QUICK
        ),
    )  # fmt: skip


PREPARED = models.Preprocessor((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
QUICK = vs.Protocol(steps=2, random_draws=1)


def _heads(function: Callable[..., Any], **more: Any) -> Callable[[Given], Call]:
    return lambda g: (function, {"vit": g.vit, "images": g.images, **more})


NOT_CALLED = {
    "register": "a decorator that changes the registry",
    "evaluation.register_metric": "a decorator that changes the registry",
}

SLOW = ("reports.animation", "reports.write_flow", "reports.leaderboard_page")
"""Of these only what is refused is tried: each call that goes on writes films or pages."""

BASES: dict[str, Callable[[Given], Call]] = {
    "adapters.add_heatmaps": lambda g: (adapters.add_heatmaps, {"samples": [], "vit": g.vit, "field": "gae"}),
    "adapters.explain_func": lambda g: (
        adapters.explain_func, {"model": g.vit, "inputs": g.images, "targets": [0, 1, 2], "method": "gmar"},
    ),
    "adapters.heatmap": lambda g: (adapters.heatmap, {"explanation": g.explanation}),
    "open_model": lambda g: (vs.open_model, {"model": g.vit.model, "image_size": 32}),
    "view": lambda g: (vs.view, {"explanations": g.explanation}),
    "explain": lambda g: (vs.explain, {"vit": g.vit, "images": g.images, "method": "gmar"}),
    "evaluate": lambda g: (
        vs.evaluate,
        {"vit": g.vit, "images": g.images, "methods": ["rollout"], "metrics": ["entropy"], "controls": [],
         "protocol": QUICK},
    ),
    "compare_models": lambda g: (
        vs.compare_models,
        {"vits": {"a": g.vit, "b": g.vit}, "images": g.images, "methods": ["rollout"], "metrics": ["entropy"],
         "controls": [], "protocol": QUICK},
    ),
    "calibrate": lambda g: (vs.calibrate, {"vit": g.vit, "images": g.images}),
    "tracing.sharing_traces": lambda g: (vs.tracing.sharing_traces, {"vit": g.vit, "images": g.images}),
    "Protocol": lambda g: (vs.Protocol, {}),
    "TopK": lambda g: (vs.TopK, {}),
    "ClassIndex": lambda g: (vs.ClassIndex, {"index": 1}),
    "LogitDifference": lambda g: (vs.LogitDifference, {"a": 1, "b": 2}),
    "HeadAblation": lambda g: (vs.HeadAblation, {"keep": torch.ones(1, 2, 2)}),
    "EntryAblation": lambda g: (
        vs.EntryAblation, {"block": 0, "head": 1, "zero": torch.zeros(17, 17, dtype=torch.bool)},
    ),
    "TokenRemoval": lambda g: (vs.TokenRemoval, {"keep": torch.ones(1, 16, dtype=torch.bool)}),
    "Vit.trace": lambda g: (g.vit.trace, {"images": g.images}),
    "Vit.traces": lambda g: (g.vit.traces, {"images": g.images, "targets": [None, 1]}),
    "Vit.forward": lambda g: (g.vit.forward, {"images": g.images}),
    "Vit.score": lambda g: (
        g.vit.score, {"images": g.images, "target": g.vit.trace(g.images, gradient=False).resolved},
    ),
    "Vit.predict": lambda g: (g.vit.predict, {"images": g.images}),
    "Vit.cache": lambda g: (g.vit.cache, {"images": g.images}),
    "Vit.resume": lambda g: (g.vit.resume, {"cache": g.cache, "block": 1}),
    "Explanation.__getitem__": lambda g: (g.explanation.__getitem__, {"index": 1}),
    "Explanation.class_name": lambda g: (g.explanation.class_name, {"index": 1}),
    "Explanation.save": lambda g: (g.explanation.save, {"path": g.folder / "e"}),
    "HeadTable.order": lambda g: (g.table.order, {"metric": "js_divergence"}),
    "HeadTable.mean": lambda g: (g.table.mean, {"metric": "js_divergence"}),
    "HeadTable.only": lambda g: (g.table.only, {"pictures": g.table.pictures[:1]}),
    "HeadTable.with_columns": lambda g: (g.table.with_columns, {"extra": {}}),
    "HeadTable.save": lambda g: (g.table.save, {"path": g.folder / "t.csv"}),
    "heads.AutoencoderOptions": lambda g: (heads.AutoencoderOptions, {}),
    "heads.agree": lambda g: (heads.agree, {"table": g.table, "rounds": 3}),
    "heads.agreement": _heads(heads.agreement, rounds=3),
    "heads.attention_modules": lambda g: (heads.attention_modules, {"vit": g.vit}),
    "heads.collect_maps": _heads(heads.collect_maps, per_head=2),
    "heads.cumulative_pruning": lambda g: (
        heads.cumulative_pruning,
        {"vit": g.vit, "images": g.images, "orders": g.table, "metrics": ["js_divergence"], "random_orders": 0},
    ),
    "heads.fit_atlas": lambda g: (
        heads.fit_atlas,
        {"sample": g.sample, "k": 2, "options": heads.AutoencoderOptions(latent=2, width=2, epochs=1, patience=0),
         "repeats": 0, "display": "pca"},
    ),
    "heads.head_scores": _heads(heads.head_scores),
    "heads.heads_to_remove": lambda g: (
        heads.heads_to_remove, {"table": g.table, "metric": "js_divergence", "keep": 0.6},
    ),
    "heads.importance": _heads(heads.importance),
    "heads.joint_effect": _heads(heads.joint_effect, heads=[(0, 1), (1, 0)]),
    "heads.load_pruned": lambda g: (heads.load_pruned, {"path": g.pruned, "num_classes": 5, "img_size": 32,
        "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}),
    "heads.look": lambda g: (heads.look, {"vit": g.vit, "picture": g.images[:1]}),
    "heads.mean_outputs": _heads(heads.mean_outputs),
    "heads.null_mixes": lambda g: (
        heads.null_mixes, {"atlas": g.atlas, "vit": g.vit, "images": g.images, "per_head": 2},
    ),
    "heads.partial_pruning": _heads(heads.partial_pruning, block=0, head=1, parts=["whole_head"]),
    "heads.patterns": lambda g: (
        heads.patterns,
        {"vit": g.vit, "images": g.images, "per_head": 3, "k": 2, "repeats": 0, "display": "pca",
         "options": heads.AutoencoderOptions(latent=2, width=2, epochs=1, patience=0)},
    ),
    "heads.prune_module": lambda g: (heads.prune_module, {"vit": g.vit, "remove": [(0, 1)]}),
    "heads.save_pruned": lambda g: (
        heads.save_pruned,
        {"module": g.vit.model, "path": g.folder / "p.safetensors", "architecture": "timm/x", "remove": [(0, 1)],
         "form": "masked"},
    ),
    "heads.shuffled_module": lambda g: (heads.shuffled_module, {"module": g.vit.model}),
    "heads.strength": _heads(heads.strength),
    "evaluation.all_metrics": lambda g: (evaluation.all_metrics, {}),
    "evaluation.claim": lambda g: (
        evaluation.claim,
        {"boards": {"a": g.board}, "metric": "entropy", "first": "rollout", "second": "random"},
    ),
    "evaluation.evaluate_world": lambda g: (
        evaluation.evaluate_world,
        {"name": "shapes", "methods": ["centre-gaussian"], "metrics": ["entropy"], "count": 2, "protocol": QUICK},
    ),
    "evaluation.evaluation_set": lambda g: (evaluation.evaluation_set, {"images": g.images}),
    "evaluation.get_metric": lambda g: (evaluation.get_metric, {"name": "srg"}),
    "evaluation.protocol_rank_correlation": lambda g: (
        evaluation.protocol_rank_correlation, {"boards": {"a": g.board, "b": g.board}, "metric": "entropy"},
    ),
    "evaluation.rank_correlation": lambda g: (
        evaluation.rank_correlation, {"scores": {"a": {"x": 1.0, "y": 2.0}, "b": {"x": 2.0, "y": 1.0}}},
    ),
    "evaluation.world_names": lambda g: (evaluation.world_names, {}),
    "evaluation.world_set": lambda g: (evaluation.world_set, {"name": "shapes", "count": 2}),
    "methods.chained_methods": lambda g: (methods.chained_methods, {"anatomy": g.vit.anatomy}),
    "methods.default_method": lambda g: (methods.default_method, {"anatomy": g.vit.anatomy}),
    "methods.get_method": lambda g: (methods.get_method, {"name": "gmar"}),
    "methods.methods": lambda g: (methods.methods, {}),
    "methods.pictures_only": lambda g: (methods.pictures_only, {"anatomy": g.vit.anatomy}),
    "methods.token_methods": lambda g: (methods.token_methods, {"anatomy": g.vit.anatomy}),
    "pictures.as_picture": lambda g: (pictures.as_picture, {"value": Image.new("RGB", (8, 8))}),
    "pictures.find_pictures": lambda g: (pictures.find_pictures, {"paths": g.picture}),
    "pictures.picture_source": lambda g: (pictures.picture_source, {"images": g.picture}),
    "pictures.planned.plan_pictures": lambda g: (plan_pictures, {"images": g.picture}),
    "pictures.read_picture": lambda g: (pictures.read_picture, {"path": g.picture}),
    "tracing.by_number": lambda g: (tracing.by_number, {"target": vs.TopK(), "names": None}),
    "tracing.constant_gate": lambda g: (tracing.constant_gate, {}),
    "tracing.parse_target": lambda g: (tracing.parse_target, {"target": 3}),
    "models.as_preprocessor": lambda g: (models.as_preprocessor, {"value": PREPARED}),
    "models.fingerprint": lambda g: (models.fingerprint, {"module": g.vit.model}),
    "models.imagenet_names": lambda g: (models.imagenet_names, {}),
    "models.load_model": lambda g: (models.load_model, {"name_or_module": g.vit.model}),
    "models.model_names": lambda g: (models.model_names, {"prefix": "bundled"}),
    "models.to_batch": lambda g: (models.to_batch, {"images": g.images, "preprocessor": None}),
    "models.to_pictures": lambda g: (
        models.to_pictures, {"images": Image.new("RGB", (8, 8)), "preprocessor": PREPARED},
    ),
    "reports.animation": lambda g: (
        reports.animation, {"explanation": g.flow, "index": 0, "path": g.folder / "f.gif"},
    ),
    "reports.card": lambda g: (reports.card, {"explanations": {"gmar": g.explanation}}),
    "reports.frames": lambda g: (reports.frames, {"explanation": g.flow}),
    "reports.heads_sheet": lambda g: (reports.heads_sheet, {"seen": heads.look(g.vit, g.images[:1])}),
    "reports.leaderboard_page": lambda g: (reports.leaderboard_page, {"board": g.board}),
    "reports.models_page": lambda g: (reports.models_page, {"found": g.compared}),
    "reports.models_sheet": lambda g: (reports.models_sheet, {"found": g.compared}),
    "reports.overlay": lambda g: (reports.overlay, {"explanation": g.explanation}),
    "reports.overlay_svg": lambda g: (reports.overlay_svg, {"explanation": g.explanation}),
    "reports.page": lambda g: (reports.page, {"explanations": {"gmar": g.explanation}}),
    "reports.protocols_page": lambda g: (reports.protocols_page, {"boards": {"a": g.board, "b": g.board}}),
    "reports.sheet": lambda g: (reports.sheet, {"explanations": {"gmar": g.explanation}}),
    "reports.strip": lambda g: (reports.strip, {"explanation": g.flow}),
    "reports.tile": lambda g: (reports.tile, {"explanation": g.explanation}),
    "reports.write_flow": lambda g: (reports.write_flow, {"explanation": g.flow, "stem": g.folder / "w"}),
    "reports.write_maps": lambda g: (
        reports.write_maps, {"explanations": {"gmar": g.explanation}, "stem": g.folder / "m"},
    ),
    "worlds.cell_masks": lambda g: (worlds.cell_masks, {"size": (8, 8), "side": 2}),
    "worlds.demo_pictures": lambda g: (worlds.demo_pictures, {"count": 1}),
    "worlds.plan_mosaics": lambda g: (worlds.plan_mosaics, {"labels": [0, 1, 2, 3]}),
    "worlds.tile": lambda g: (worlds.tile, {"tiles": torch.zeros(4, 3, 4, 4), "side": 2}),
    "worlds.world": lambda g: (worlds.world, {"name": "shapes"}),
    "worlds.worlds": lambda g: (worlds.worlds, {}),
}  # fmt: skip
