"""Can this map be trusted? Metrics under a fixed protocol, controls in every table, intervals on every number."""

from vitscope.evaluation.board.agreement import Claim, agreement, claim, protocol_agreement
from vitscope.evaluation.board.leaderboard import Leaderboard, MethodRecord
from vitscope.evaluation.metric import Metric, MetricInfo, get_metric, metrics, register_metric
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.running.dataset import EvaluationSet, evaluation_set
from vitscope.evaluation.running.evaluate import evaluate
from vitscope.evaluation.running.worlds import evaluate_world, world_names, world_set

__all__ = [
    "Claim",
    "EvaluationSet",
    "Leaderboard",
    "MethodRecord",
    "Metric",
    "MetricInfo",
    "Protocol",
    "agreement",
    "claim",
    "evaluate",
    "evaluate_world",
    "evaluation_set",
    "get_metric",
    "metrics",
    "protocol_agreement",
    "register_metric",
    "world_names",
    "world_set",
]
