"""Maps that a study keeps, for where there is no model to compute them."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request, Response

from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import PREDICTED, MapAsked
from vitscope.app.pictures.listed import ListedPicture
from vitscope.app.routes.replies import reply
from vitscope.app.services import Services
from vitscope.app.work.job import JobFailed
from vitscope.reports import words


async def studied_map(
    request: Request, services: Services, found: ListedPicture, asked: MapAsked
) -> Response:
    """The map of a method as the study made it. Raises JobFailed for anything that would have to be computed."""
    study = services.study
    assert study is not None
    method = asked.method or (study.methods[0] if study.methods else "")
    other = asked.off or asked.chosen() or asked.target != PREDICTED
    if found.row is None or other or method not in study.methods:
        raise JobFailed("model", f"there is no model to compute this with: {services.why_not}")
    arrays = await asyncio.to_thread(study.maps, method, found.row)
    identity = study.manifest.model.identity
    known: dict[str, Any] = {
        "method": method,
        "options": dict(study.options_of(method)),
        "target": None,
        "explained": "the prediction" if found.prediction is None else f"class {found.prediction}",
        "score": None,
        "probability": found.confidence,
        "signed": words.is_signed(method),
        "accumulates": words.accumulates(method),
        "flow_of": "block",
        "first_block": 0,
        "grid": list(arrays["map"].shape),
        "extent": [0.0, 0.0, 1.0, 1.0],
        "prefix": [],
        "notes": ["as the study keeps it; the model is not open, so nothing is computed anew"],
        "model": identity.get("source"),
        "weights": identity.get("fingerprint"),
        "key": found.key,
        "picture": found.id,
        "recipe": None,
        "off": [],
        "source": "study",
    }
    if found.prediction is not None:
        known["target"] = {"class": found.prediction, "name": None, "text": known["explained"]}
    return reply(request, Answer.of_tensors(dict(arrays), known))
