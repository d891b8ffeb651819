"""Maps and predictions that a study keeps, for where there is no model to compute them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response

from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import PREDICTED, MapAsked, Off
from vitscope.app.pictures.listed import ListedPicture
from vitscope.app.routes.replies import reply
from vitscope.app.services import Services
from vitscope.app.work.job import JobFailed
from vitscope.reports import words

NOT_OPEN = "as the study keeps it; the model is not open, so nothing is computed anew"
UNFRAMED = "what the model sees of a picture is not known here, so that its maps stand alone"


async def studied_map(
    request: Request, services: Services, found: ListedPicture, asked: MapAsked
) -> Response:
    """The map of a method as the study made it. Raises JobFailed for anything that would have to be computed."""
    study = services.study
    assert study is not None
    method = asked.method or (study.methods[0] if study.methods else "")
    other = asked.off or asked.chosen() or asked.target != PREDICTED
    if found.row is None or other or method not in study.methods:
        why = services.why_not or "it was asked for as the study keeps it"
        raise JobFailed("model", f"there is no model to compute this with: {why}")
    arrays = await asyncio.to_thread(study.maps, method, found.row)
    identity = study.manifest.model.identity
    facts = await services.facts()
    name = called(None if facts is None else facts.class_names, found.prediction)
    explained = "the prediction" if found.prediction is None else name or f"class {found.prediction}"
    extent = [0.0, 0.0, 1.0, 1.0] if facts is None else list(facts.model["extent"])
    known: dict[str, Any] = {
        "method": method,
        "options": dict(study.options_of(method)),
        "target": None,
        "explained": explained,
        "score": None,
        "probability": found.confidence,
        "signed": words.is_signed(method),
        "accumulates": words.accumulates(method),
        "flow_of": "block",
        "first_block": 0,
        "grid": list(arrays["map"].shape),
        "extent": extent,
        "prefix": [],
        "notes": [
            *([] if services.why_not is None else [NOT_OPEN]),
            *([UNFRAMED] if facts is None and study.preprocessor is None else []),
        ],
        "model": identity.get("source"),
        "weights": identity.get("fingerprint"),
        "key": found.key,
        "picture": found.id,
        "recipe": None,
        "off": [],
        "source": "study",
    }
    if found.prediction is not None:
        known["target"] = {"class": found.prediction, "name": name, "text": explained}
    return reply(request, Answer.of_tensors(dict(arrays), known))


async def studied_prediction(
    request: Request, services: Services, found: ListedPicture, off: Off, top: int
) -> Response:
    """The most likely classes as the study keeps them. Raises JobFailed for what would have to be computed."""
    study = services.study
    assert study is not None
    if found.row is None or off:
        raise JobFailed("model", f"there is no model to compute this with: {services.why_not}")
    facts = await services.facts()
    names = None if facts is None else facts.class_names
    rows = await asyncio.to_thread(study.predictions_of, found.row)
    if not rows:
        raise JobFailed("input", "this study keeps no predictions of that picture")
    label = None if found.label is None else {"class": found.label, "name": called(names, found.label)}
    classes = [
        {"class": number, "name": called(names, number), "probability": share, "logit": logit}
        for number, share, logit in rows[:top]
    ]
    kind = "softmax" if facts is None else facts.model["probability"] or "softmax"
    told = {"top": classes, "entropy": found.entropy, "predicted": rows[0][0], "probability_kind": kind}
    return reply(request, Answer.of_json({**told, "label": label, "without": None}))


def called(names: Sequence[str] | None, number: int | None) -> str | None:
    """The name of a class, where it is known."""
    return None if number is None or not names or not 0 <= number < len(names) else names[number]
