"""Heads: which matter, how far they look, which patterns they have, and whether the scores agree.

The three analyses of Li et al., "How Does Attention Work in Vision Transformers?" (TVCG 2023, arXiv 2303.13731), on
any ViT, and the agreement between head scores. A name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitscope.heads.atlas.atlas import PatternAtlas as PatternAtlas
    from vitscope.heads.atlas.autoencoder import AutoencoderOptions as AutoencoderOptions
    from vitscope.heads.atlas.collecting import collect_maps as collect_maps
    from vitscope.heads.atlas.fitting import fit_atlas as fit_atlas
    from vitscope.heads.atlas.mapping import PatternMapping as PatternMapping
    from vitscope.heads.atlas.pattern_names import Pattern as Pattern
    from vitscope.heads.atlas.patterns import patterns as patterns
    from vitscope.heads.atlas.sampling import MapSample as MapSample
    from vitscope.heads.atlas.shuffled_weights import null_mixes as null_mixes
    from vitscope.heads.atlas.shuffled_weights import shuffled_module as shuffled_module
    from vitscope.heads.distance.strength import strength as strength
    from vitscope.heads.distance.strength_profile import StrengthProfile as StrengthProfile
    from vitscope.heads.errors import HeadsError as HeadsError
    from vitscope.heads.head_look import HeadLook as HeadLook
    from vitscope.heads.looking import look as look
    from vitscope.heads.pruning.change_metrics import METRICS as METRICS
    from vitscope.heads.pruning.change_metrics import MetricInfo as MetricInfo
    from vitscope.heads.pruning.cumulative import CumulativePruning as CumulativePruning
    from vitscope.heads.pruning.cumulative import cumulative_pruning as cumulative_pruning
    from vitscope.heads.pruning.entries import PARTS as PARTS
    from vitscope.heads.pruning.importance import importance as importance
    from vitscope.heads.pruning.joint import joint_effect as joint_effect
    from vitscope.heads.pruning.joint_result import JointEffect as JointEffect
    from vitscope.heads.pruning.means import mean_outputs as mean_outputs
    from vitscope.heads.pruning.output_means import MeanOutputs as MeanOutputs
    from vitscope.heads.pruning.partial import partial_pruning as partial_pruning
    from vitscope.heads.pruning.partial_curves import PartialPruning as PartialPruning
    from vitscope.heads.pruning.prune_model import attention_modules as attention_modules
    from vitscope.heads.pruning.prune_model import heads_to_remove as heads_to_remove
    from vitscope.heads.pruning.prune_model import prune_module as prune_module
    from vitscope.heads.pruning.pruned_file import load_pruned as load_pruned
    from vitscope.heads.pruning.pruned_file import save_pruned as save_pruned
    from vitscope.heads.rankings.agreement import Agreement as Agreement
    from vitscope.heads.rankings.agreement import agree as agree
    from vitscope.heads.rankings.scores import SCORES as SCORES
    from vitscope.heads.rankings.scores import agreement as agreement
    from vitscope.heads.rankings.scores import head_scores as head_scores
    from vitscope.heads.summed_table import SummedHeadTable as SummedHeadTable
    from vitscope.heads.table import HeadTable as HeadTable

_HOMES = {
    "Agreement": "rankings.agreement",
    "AutoencoderOptions": "atlas.autoencoder",
    "CumulativePruning": "pruning.cumulative",
    "HeadLook": "head_look",
    "HeadTable": "table",
    "HeadsError": "errors",
    "JointEffect": "pruning.joint_result",
    "METRICS": "pruning.change_metrics",
    "MapSample": "atlas.sampling",
    "MeanOutputs": "pruning.output_means",
    "MetricInfo": "pruning.change_metrics",
    "PARTS": "pruning.entries",
    "PartialPruning": "pruning.partial_curves",
    "Pattern": "atlas.pattern_names",
    "PatternAtlas": "atlas.atlas",
    "PatternMapping": "atlas.mapping",
    "SCORES": "rankings.scores",
    "StrengthProfile": "distance.strength_profile",
    "SummedHeadTable": "summed_table",
    "agree": "rankings.agreement",
    "agreement": "rankings.scores",
    "attention_modules": "pruning.prune_model",
    "collect_maps": "atlas.collecting",
    "cumulative_pruning": "pruning.cumulative",
    "fit_atlas": "atlas.fitting",
    "head_scores": "rankings.scores",
    "heads_to_remove": "pruning.prune_model",
    "importance": "pruning.importance",
    "joint_effect": "pruning.joint",
    "load_pruned": "pruning.pruned_file",
    "look": "looking",
    "mean_outputs": "pruning.means",
    "null_mixes": "atlas.shuffled_weights",
    "partial_pruning": "pruning.partial",
    "patterns": "atlas.patterns",
    "prune_module": "pruning.prune_model",
    "save_pruned": "pruning.pruned_file",
    "shuffled_module": "atlas.shuffled_weights",
    "strength": "distance.strength",
}

__all__ = [
    "METRICS",
    "PARTS",
    "SCORES",
    "Agreement",
    "AutoencoderOptions",
    "CumulativePruning",
    "HeadLook",
    "HeadTable",
    "HeadsError",
    "JointEffect",
    "MapSample",
    "MeanOutputs",
    "MetricInfo",
    "PartialPruning",
    "Pattern",
    "PatternAtlas",
    "PatternMapping",
    "StrengthProfile",
    "SummedHeadTable",
    "agree",
    "agreement",
    "attention_modules",
    "collect_maps",
    "cumulative_pruning",
    "fit_atlas",
    "head_scores",
    "heads_to_remove",
    "importance",
    "joint_effect",
    "load_pruned",
    "look",
    "mean_outputs",
    "null_mixes",
    "partial_pruning",
    "patterns",
    "prune_module",
    "save_pruned",
    "shuffled_module",
    "strength",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vitscope.heads' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vitscope.heads.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
