"""vitscope, a microscope for Vision Transformers.

``import vitscope as vs`` is all that a user needs; the names below are the public interface, and the rooms
behind them may move. Nothing heavy is imported until a name is used, so ``vitscope --help`` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vitscope.version import __version__

if TYPE_CHECKING:
    from vitscope import adapters as adapters
    from vitscope import evaluation as evaluation
    from vitscope import heads as heads
    from vitscope import models as models
    from vitscope import pictures as pictures
    from vitscope import progress as progress
    from vitscope import rendering as rendering
    from vitscope import reports as reports
    from vitscope import studies as studies
    from vitscope import tracing as tracing
    from vitscope import worlds as worlds
    from vitscope.app.notebook.view import view as view
    from vitscope.evaluation import Leaderboard as Leaderboard
    from vitscope.evaluation import Protocol as Protocol
    from vitscope.evaluation.running.evaluate import evaluate as evaluate
    from vitscope.evaluation.running.models import compare_models as compare_models
    from vitscope.methods import Explanation as Explanation
    from vitscope.methods import Explanations as Explanations
    from vitscope.methods import Relevance as Relevance
    from vitscope.methods import register as register
    from vitscope.methods.calibration import calibrate as calibrate
    from vitscope.methods.explaining.explain import explain as explain
    from vitscope.methods.room import MethodsRoom
    from vitscope.studies import Study as Study
    from vitscope.tracing import ClassIndex as ClassIndex
    from vitscope.tracing import Custom as Custom
    from vitscope.tracing import EntryAblation as EntryAblation
    from vitscope.tracing import HeadAblation as HeadAblation
    from vitscope.tracing import LogitDifference as LogitDifference
    from vitscope.tracing import TokenRemoval as TokenRemoval
    from vitscope.tracing import TopK as TopK
    from vitscope.tracing import Trace as Trace
    from vitscope.tracing import Vit as Vit
    from vitscope.tracing import open_model as open_model

    methods: MethodsRoom

_HOMES = {
    "open_model": "vitscope.tracing",
    "Vit": "vitscope.tracing",
    "Trace": "vitscope.tracing",
    "TopK": "vitscope.tracing",
    "ClassIndex": "vitscope.tracing",
    "LogitDifference": "vitscope.tracing",
    "Custom": "vitscope.tracing",
    "HeadAblation": "vitscope.tracing",
    "EntryAblation": "vitscope.tracing",
    "TokenRemoval": "vitscope.tracing",
    "explain": "vitscope.methods",
    "calibrate": "vitscope.methods.calibration",
    "Explanation": "vitscope.methods",
    "Explanations": "vitscope.methods",
    "Relevance": "vitscope.methods",
    "register": "vitscope.methods",
    "evaluate": "vitscope.evaluation",
    "compare_models": "vitscope.evaluation",
    "Protocol": "vitscope.evaluation",
    "Leaderboard": "vitscope.evaluation",
    "Study": "vitscope.studies",
    "view": "vitscope.app.notebook.view",
}
_ROOMS = (
    "adapters", "evaluation", "heads", "methods", "models", "pictures", "progress", "rendering", "reports", "studies",
    "tracing", "worlds",
)  # fmt: skip

__all__ = [
    "ClassIndex",
    "Custom",
    "EntryAblation",
    "Explanation",
    "Explanations",
    "HeadAblation",
    "Leaderboard",
    "LogitDifference",
    "Protocol",
    "Relevance",
    "Study",
    "TokenRemoval",
    "TopK",
    "Trace",
    "Vit",
    "__version__",
    "adapters",
    "calibrate",
    "compare_models",
    "evaluate",
    "explain",
    "heads",
    "methods",
    "open_model",
    "pictures",
    "progress",
    "register",
    "view",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"vitscope.{name}")
    raise AttributeError(f"module 'vitscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What a user is meant to see: no leftovers of this file."""
    return sorted({*__all__, *_ROOMS})
