"""Can this map be trusted? Metrics under a fixed protocol, controls in every table, intervals on every number."""

from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.board.model_comparison import ModelComparison
from vitscope.evaluation.board.protocols import Claim, claim, protocol_rank_correlation
from vitscope.evaluation.board.records import MethodRecord
from vitscope.evaluation.board.statistics import rank_correlation
from vitscope.evaluation.metric import MetricInfo, all_metrics, get_metric, register_metric
from vitscope.evaluation.metric_state import Metric
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.running.dataset import EvaluationSet, evaluation_set
from vitscope.evaluation.running.evaluate import evaluate
from vitscope.evaluation.running.models import compare_models
from vitscope.evaluation.running.worlds import evaluate_world, world_names, world_set

__all__ = [
    "Claim",
    "EvaluationSet",
    "Leaderboard",
    "MethodRecord",
    "Metric",
    "MetricInfo",
    "ModelComparison",
    "Protocol",
    "all_metrics",
    "claim",
    "compare_models",
    "evaluate",
    "evaluate_world",
    "evaluation_set",
    "get_metric",
    "protocol_rank_correlation",
    "rank_correlation",
    "register_metric",
    "world_names",
    "world_set",
]
