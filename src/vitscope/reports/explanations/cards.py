"""Explanations as the records of a page: a card for each picture, a summary for each method, what made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.methods import Explanation
from vitscope.options.door import checked
from vitscope.reports import words
from vitscope.reports.explanations.contents import by_method, kept_picture, place_of, refuse_film
from vitscope.reports.explanations.looks import Looks, colour_of, scaling_of
from vitscope.reports.explanations.records import Card, CardFlow, CardHeads, CardMap, MethodSummary


@checked(RenderingError)
def card(
    explanations: Explanation | Sequence[Explanation] | Mapping[str, Explanation],
    index: int = 0,
    *,
    name: str | None = None,
    picture: Image.Image | None = None,
    label: str | None = None,
    looks: Looks | None = None,
) -> Card:
    """Everything that a page shows of one picture.

    Args:
        explanations: One for each method, of the same pictures.
        index: Which of the pictures, from 0.
        name: What the picture is called; None takes its key.
        picture: What the model saw; None takes what the explanations keep.
        label: Its true class, where it is known.
        looks: How maps are drawn; a page takes the colour map from it, and the scaling of single maps.

    Returns:
        The card, for :class:`vitscope.reports.Report`.

    Raises:
        PictureError: Explanations of different pictures, or no picture to show.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images())
        >>> card = vs.reports.card(explained, name="first")
        >>> card.name, card.target
        ('first', 'heart')
    """
    given = by_method(explanations)
    first = next(iter(given.values()))
    index = place_of(first, index)
    for explanation in given.values():
        refuse_film(explanation)
    maps, flows, heads = [], [], []
    for method, explanation in given.items():
        maps.append(
            CardMap(
                method,
                np.asarray(explanation.maps[index]),
                scaling=scaling_of(method, looks),
                colour=colour_of(method, looks),
                prefix=words.prefix_shares(explanation, index),
                note="; ".join(explanation[index].notes),
                extent=explanation.extent,
            )
        )
        if explanation.flow is not None and words.accumulates(method):
            flows.append(
                _flow(
                    method,
                    explanation,
                    index,
                    colour_of(method, None if looks is None else replace(looks, scaling=None)),
                )
            )
        if "head_weights" in explanation.extras:
            weights = np.asarray(explanation.extras["head_weights"][index])
            rows, columns = weights.shape
            heads.append(CardHeads(method, weights, words.numbers(rows), words.numbers(columns)))
    keys = first.metadata.get("keys") or []
    return Card(
        name=name if name is not None else str(keys[index]) if keys else f"picture {index}",
        picture=picture if picture is not None else kept_picture(first, index),
        predictions=[
            (entry["name"] or f"class {entry['class']}", entry["probability"])
            for entry in words.predictions(first, index)
        ],
        target=words.explained(first, index),
        label=label,
        maps=maps,
        flows=flows,
        heads=heads,
    )


def _flow(method: str, explanation: Explanation, index: int, colour: str | None) -> CardFlow:
    assert explanation.flow is not None
    kind, count, first = words.flow_steps(explanation)
    return CardFlow(
        method,
        np.asarray(explanation.flow[index]),
        words.step_names(kind, count, first),
        words.step_places(kind, count, first),
        scaling=words.flow_scaling(method),
        colour=colour,
        extent=explanation.extent,
        step=kind,
    )


def method_summaries(names: Iterable[str]) -> list[MethodSummary]:
    """What the registry knows of methods; those that it does not know are left out."""
    described = []
    for name in names:
        info = words.known_method(name)
        if info is None:
            continue
        cost = f"{info.forwards:g} forward" + (f" + {info.backwards:g} backward" if info.backwards else "")
        details = {
            "class-specific": "yes" if info.class_specific else "no",
            "signed": "yes" if info.signed else "no",
            "cost": cost,
            "source": info.citation,
        }
        described.append(MethodSummary(name, info.title, info.summary.replace("``", ""), details))
    return described


def model_facts(explanation: Explanation) -> dict[str, Any]:
    """What a page says of the model that was explained, and of what made the maps."""
    known = explanation.metadata
    layout = explanation.layout
    return {
        "model": known.get("model", ""),
        "weights": known.get("fingerprint", ""),
        "tokens": layout.describe() if layout else "on no single grid",
        "blocks": f"{known.get('blocks', 'unknown')} with {known.get('heads', 'unknown')} heads",
        "vitscope": known.get("versions", {}).get("vitscope", ""),
    }
