"""Heads: which matter, how far they look, which patterns they have, and whether the scores agree.

The three analyses of Li et al., "How Does Attention Work in Vision Transformers?" (TVCG 2023, arXiv 2303.13731), on
any ViT, and the agreement between head scores.
"""

from __future__ import annotations

from vitscope.heads.agreement import Agreement, agree
from vitscope.heads.atlas import Pattern, PatternAtlas, PatternMapping
from vitscope.heads.autoencoder import AutoencoderOptions
from vitscope.heads.change_metrics import METRICS, MetricInfo
from vitscope.heads.collecting import collect_maps
from vitscope.heads.cumulative import CumulativePruning, cumulative_pruning
from vitscope.heads.errors import HeadsError
from vitscope.heads.importance import importance
from vitscope.heads.joint import joint_effect
from vitscope.heads.means import mean_outputs
from vitscope.heads.partial import PARTS, PartialPruning, partial_pruning
from vitscope.heads.patterns import fit_atlas, patterns
from vitscope.heads.prune_model import (
    PRUNED_FORMS,
    attention_modules,
    heads_to_remove,
    load_pruned,
    prune_module,
    save_pruned,
)
from vitscope.heads.sampling import MapSample
from vitscope.heads.scores import SCORES, agreement, head_scores
from vitscope.heads.shuffled_weights import null_mixes, shuffled_module
from vitscope.heads.strength import StrengthProfile, strength
from vitscope.heads.table import HeadTable

__all__ = [
    "METRICS",
    "PARTS",
    "PRUNED_FORMS",
    "SCORES",
    "Agreement",
    "AutoencoderOptions",
    "CumulativePruning",
    "HeadTable",
    "HeadsError",
    "MapSample",
    "MetricInfo",
    "PartialPruning",
    "Pattern",
    "PatternAtlas",
    "PatternMapping",
    "StrengthProfile",
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
    "mean_outputs",
    "null_mixes",
    "partial_pruning",
    "patterns",
    "prune_module",
    "save_pruned",
    "shuffled_module",
    "strength",
]
