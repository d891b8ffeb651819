"""Heads: which matter, how far they look, which patterns they have, and whether the scores agree.

The three analyses of Li et al., "How Does Attention Work in Vision Transformers?" (TVCG 2023, arXiv 2303.13731), on
any ViT, and the agreement between head scores.
"""

from __future__ import annotations

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.atlas.autoencoder import AutoencoderOptions
from vitscope.heads.atlas.collecting import collect_maps
from vitscope.heads.atlas.fitting import fit_atlas
from vitscope.heads.atlas.mapping import PatternMapping
from vitscope.heads.atlas.pattern_names import Pattern
from vitscope.heads.atlas.patterns import patterns
from vitscope.heads.atlas.sampling import MapSample
from vitscope.heads.atlas.shuffled_weights import null_mixes, shuffled_module
from vitscope.heads.distance.strength import strength
from vitscope.heads.distance.strength_profile import StrengthProfile
from vitscope.heads.errors import HeadsError
from vitscope.heads.head_look import HeadLook
from vitscope.heads.looking import look
from vitscope.heads.pruning.change_metrics import METRICS, MetricInfo
from vitscope.heads.pruning.cumulative import CumulativePruning, cumulative_pruning
from vitscope.heads.pruning.entries import PARTS
from vitscope.heads.pruning.importance import importance
from vitscope.heads.pruning.joint import joint_effect
from vitscope.heads.pruning.joint_result import JointEffect
from vitscope.heads.pruning.means import mean_outputs
from vitscope.heads.pruning.output_means import MeanOutputs
from vitscope.heads.pruning.partial import partial_pruning
from vitscope.heads.pruning.partial_curves import PartialPruning
from vitscope.heads.pruning.prune_model import attention_modules, heads_to_remove, prune_module
from vitscope.heads.pruning.pruned_file import load_pruned, save_pruned
from vitscope.heads.rankings.agreement import Agreement, agree
from vitscope.heads.rankings.scores import SCORES, agreement, head_scores
from vitscope.heads.summed_table import SummedHeadTable
from vitscope.heads.table import HeadTable

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
