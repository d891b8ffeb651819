"""Which passes the analyses of a stage will ask for, so that the first one over a batch keeps what all need."""

from __future__ import annotations

from torch import Tensor

from vitscope.methods import get_method
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.manifest import Stage
from vitscope.tracing import Foreseen


def foreseen(stage: Stage, desk: Desk, images: Tensor) -> list[Foreseen]:
    """The traces that will be asked for of one batch: those of the methods, and the plain one of the head analyses."""
    found = []
    options = stage.analyses.get("explain")
    if options is not None:
        for name, chosen in options["methods"].items():
            info = get_method(name)
            needs = info.needs_for(desk.vit, images, info.check_options(chosen))
            found.append(Foreseen(options["target"], needs.gradient, needs.rules, needs.capture))
    if stage.analyses.get("importance", {}).get("gradient"):
        found.append(Foreseen("top1"))
    return found
