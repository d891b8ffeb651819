"""Look at a ViT while it runs, without touching it: interception, traces, targets, ablation, removal, rules."""

from vitscope.tracing.changes.ablation import EntryAblation, HeadAblation
from vitscope.tracing.changes.removal import TokenRemoval
from vitscope.tracing.changes.rules import AttentionRule, Rules, constant_gate
from vitscope.tracing.open import open_model
from vitscope.tracing.passes.request import Capture
from vitscope.tracing.passes.resume import BlockCache
from vitscope.tracing.sharing import Foreseen, sharing_traces
from vitscope.tracing.site import AttentionSite
from vitscope.tracing.targets.class_name import ClassName, by_number
from vitscope.tracing.targets.classes import ClassIndex, LogitDifference, TopK
from vitscope.tracing.targets.custom import Custom
from vitscope.tracing.targets.parsing import parse_target
from vitscope.tracing.targets.similarity import Picture, Similarity, Text
from vitscope.tracing.targets.target import Target
from vitscope.tracing.trace import Trace
from vitscope.tracing.vit import Vit

__all__ = [
    "AttentionRule",
    "AttentionSite",
    "BlockCache",
    "Capture",
    "ClassIndex",
    "ClassName",
    "Custom",
    "EntryAblation",
    "Foreseen",
    "HeadAblation",
    "LogitDifference",
    "Picture",
    "Rules",
    "Similarity",
    "Target",
    "Text",
    "TokenRemoval",
    "TopK",
    "Trace",
    "Vit",
    "by_number",
    "constant_gate",
    "open_model",
    "parse_target",
    "sharing_traces",
]
