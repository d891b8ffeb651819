"""Methods beside each other: the study's leaderboard, and how far the maps that it keeps agree."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from vitscope.app.answers.compare import agreement_answer, board_answer, no_agreement_answer, no_board_answer
from vitscope.app.answers.compare_models import models_answer, no_models_answer
from vitscope.app.model.answer import Answer
from vitscope.app.pictures.studied import StudyShown
from vitscope.app.routes.replies import PROBLEMS, Given, reply
from vitscope.app.routes.written import written, written_for
from vitscope.app.schemas.compare import Agreement, Board, Models
from vitscope.evaluation.map_agreement import Measure
from vitscope.studies import StudyError, pair
from vitscope.studies.paired import names_of

router = APIRouter(responses=PROBLEMS)
NO_STUDY = "no study is shown, so there are neither scores nor maps that are kept"
NO_OTHER = "one study is served, so there is no other model to hold it against"
MOST = 500
"""Pictures whose maps are held against each other."""


@router.get("/api/compare/board", response_model=Board)
@written
async def board(request: Request, services: Given) -> Response:
    """Scores with intervals, paired verdicts and curves of every method, as the study's own leaderboard has them."""
    study = services.study
    if study is None:
        return reply(request, Answer.of_json(no_board_answer((), NO_STUDY, "vitscope serve DIR")))
    return reply(request, Answer.of_json(await asyncio.to_thread(_board, study)))


@router.get("/api/compare/agreement", response_model=Agreement)
@written_for(lambda held: [{"measure": "rank"}, {"measure": "iou"}])
async def agreement(request: Request, services: Given, measure: Measure = "rank") -> Response:
    """How far the maps of every two methods agree, on pictures spread over the study."""
    study = services.study
    if study is None:
        return reply(request, Answer.of_json(no_agreement_answer(measure, NO_STUDY, "vitscope serve DIR")))
    return reply(request, Answer.of_json(await asyncio.to_thread(_agreement, study, measure)))


@router.get("/api/compare/models", response_model=Models)
@written
async def models(request: Request, services: Given) -> Response:
    """The study and the one that lies beside it, on the pictures that both have: scores, paired verdicts, agreement."""
    study, beside = services.study, services.beside
    if study is None or beside is None or beside.study is None:
        return reply(request, Answer.of_json(no_models_answer((), NO_OTHER, "vitscope serve DIR OTHER")))
    return reply(request, Answer.of_json(await asyncio.to_thread(_models, study, beside.study)))


def _models(study: StudyShown, other: StudyShown) -> dict[str, Any]:
    try:
        return models_answer(pair(study.study, other.study))
    except StudyError as error:
        model, images = other.manifest.model.name or "MODEL", study.manifest.input.url
        command = f"vitscope study create NEW --model {model} --images {images} --analyses explain,evaluate"
        return no_models_answer(names_of(study.study, other.study), str(error), command)


def _board(study: StudyShown) -> dict[str, Any]:
    evaluated = study.manifest.options_of("evaluate") is not None
    try:
        return board_answer(study.board(), study.methods)
    except StudyError as error:
        command = f"vitscope study run {study.place}" if evaluated else _anew(study, "explain,evaluate")
        return no_board_answer(study.methods, str(error), command)


def _agreement(study: StudyShown, measure: Measure) -> dict[str, Any]:
    if len(study.methods) < 2:
        count = f"maps of {study.methods[0]} alone" if study.methods else "no maps"
        why = f"this study keeps {count}; agreement is between two methods"
        return no_agreement_answer(measure, why, _anew(study, "explain"))
    maps, total = study.maps_together(MOST)
    if not maps:
        why = "no picture of this study is computed yet"
        return no_agreement_answer(measure, why, f"vitscope study run {study.place}")
    return agreement_answer(maps, measure, total)


def _anew(study: StudyShown, analyses: str) -> str:
    """The command that makes a study of the same pictures with more in it."""
    methods = ",".join(study.methods) or "dart,gmar"
    model = study.manifest.model.name or "MODEL"
    return (
        f"vitscope study create NEW --model {model} --images {study.manifest.input.url} --analyses {analyses} "
        f"--methods {methods}"
    )
