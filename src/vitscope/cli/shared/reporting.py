"""Explanations as the plain records that the HTML report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from vitscope.cli.shared.session import explained_label, top_predictions

if TYPE_CHECKING:
    from PIL import Image

    from vitscope.methods import Explanation
    from vitscope.pictures.bands import Bands
    from vitscope.reports.explanations.page import ReportMethod, ReportPicture
    from vitscope.tracing import Vit

ACCUMULATING = ("daam", "daam-self", "dart")
"""Methods whose flow adds up: each block's map holds those before it."""


def report_picture(
    vit: Vit, single: Mapping[str, Explanation], shown: Image.Image, name: str, label: str | None = None
) -> ReportPicture:
    """All that is known of one picture; ``single`` holds one explanation of one picture per method."""
    from vitscope.reports.explanations.page import ReportFlow, ReportHeads, ReportMap, ReportPicture

    first = next(iter(single.values()))
    predictions = top_predictions(vit, first.logits[0]) if first.logits is not None else []
    maps, flows, heads = [], [], []
    for method, explanation in single.items():
        signed = is_signed(method)
        maps.append(
            ReportMap(
                method,
                np.asarray(explanation.maps[0]),
                scaling="signed" if signed else "minmax",
                prefix=prefix_shares(explanation),
                note="; ".join(explanation.metadata.get("notes", [])),
                extent=explanation.extent,
            )
        )
        if explanation.flow is not None and method in ACCUMULATING:
            scaling = "signed" if signed else "daam"
            values = np.asarray(explanation.flow[0])
            flows.append(ReportFlow(method, values, scaling=scaling, extent=explanation.extent))
        if "head_weights" in explanation.extras:
            weights = np.asarray(explanation.extras["head_weights"][0])
            heads.append(ReportHeads(method, weights))
    return ReportPicture(
        name=name,
        picture=shown,
        predictions=[
            (entry["name"] or f"class {entry['class']}", entry["probability"]) for entry in predictions
        ],
        target=explained_label(vit, first),
        label=label,
        maps=maps,
        flows=flows,
        heads=heads,
    )


def report_methods(names: list[str]) -> list[ReportMethod]:
    """What the registry knows of the methods of a report."""
    from vitscope.methods import get_method
    from vitscope.reports.explanations.page import ReportMethod

    described = []
    for name in names:
        info = get_method(name)
        cost = f"{info.forwards:g} forward" + (f" + {info.backwards:g} backward" if info.backwards else "")
        details = {
            "class-specific": "yes" if info.class_specific else "no",
            "signed": "yes" if info.signed else "no",
            "cost": cost,
            "source": info.citation,
        }
        described.append(ReportMethod(name, info.title, info.summary, details))
    return described


def report_metadata(vit: Vit) -> dict[str, Any]:
    """What every report says about the model."""
    from vitscope.version import __version__

    anatomy = vit.anatomy
    return {
        "model": vit.source,
        "weights": vit.fingerprint,
        "tokens": anatomy.layout.describe() if anatomy.layout else "on no single grid",
        "blocks": f"{len(anatomy.blocks)} with {anatomy.heads} heads",
        "vitscope": __version__,
    }


def is_signed(method: str) -> bool:
    """Whether the registry says that a method's values have a sign."""
    from vitscope.methods import get_method

    return get_method(method).signed


def prefix_shares(explanation: Explanation) -> dict[str, float] | None:
    """The share of the whole that lies on prefix tokens, None where there are none."""
    shares = explanation.metadata.get("prefix_share")
    prefix = explanation.metadata.get("prefix") or []
    if not shares or not prefix:
        return None
    return {f"{prefix[0]} token" if len(prefix) == 1 else "prefix tokens": float(shares[0])}


def shown_picture(vit: Vit, picture: Image.Image | Bands) -> Image.Image:
    """What the model sees of a picture, for drawing on."""
    if vit.preprocessor is None:
        return cast("Image.Image", picture)  # other channels are read only for a preprocessor that has them
    shown: Image.Image = vit.preprocessor.display(picture)
    return shown
