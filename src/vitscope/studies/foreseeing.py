"""Which passes the analyses of a stage will ask for, so that the first one over a batch keeps what all need."""

from __future__ import annotations

from torch import Tensor

from vitscope.methods import get_method
from vitscope.methods.explaining.batch import foreseen as foreseen_of_methods
from vitscope.methods.explaining.batch import resolved
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.manifest import Stage
from vitscope.tracing import Capture, Foreseen, by_number, parse_target


def foreseen(stage: Stage, desk: Desk, images: Tensor) -> list[Foreseen]:
    """The traces that will be asked for of one batch: those of the methods, and the plain ones of head analyses."""
    found: list[Foreseen] = []
    explain, importance = stage.analyses.get("explain"), stage.analyses.get("importance")
    if explain is not None:
        methods = explain["methods"].items()
        chosen = {name: get_method(name).check_options(options) for name, options in methods}
        inputs = desk.vit.inputs(images)
        target = by_number(parse_target(explain["target"]), desk.vit.class_names, desk.vit.source)
        request = resolved(desk.vit, inputs, chosen)
        found += foreseen_of_methods(desk.vit, inputs, request, target, bool(explain["clean"]))
    if importance is not None and importance["gradient"]:
        found.append(Foreseen("top1"))
    if "features" in stage.analyses or (importance is not None and importance["exact"]):
        found.append(Foreseen(gradient=False, capture=Capture(streams=True)))
    return found
