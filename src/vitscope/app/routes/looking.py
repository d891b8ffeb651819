"""What the model does on one picture: its prediction, its map, its attention. Computed on demand, then kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from vitscope.app.answers.attention import CLASS, Direction
from vitscope.app.answers.importance import DEFAULT
from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import (
    PREDICTED,
    BlocksAsked,
    ImportanceAsked,
    MapAsked,
    MatrixAsked,
    Off,
    PredictionAsked,
    RowsAsked,
)
from vitscope.app.pictures.listed import ListedPicture
from vitscope.app.pictures.reference import PictureReference
from vitscope.app.routes.replies import PROBLEMS, Given, TensorResponse, computed, reply
from vitscope.app.routes.studied import studied_map, studied_prediction
from vitscope.app.routes.written import of_maps, of_pictures, written_for
from vitscope.app.schemas.methods import Estimate
from vitscope.app.schemas.pictures import Blocks, Prediction
from vitscope.app.schemas.tensors import ImportanceHeader, MapHeader, MatrixHeader, RowsHeader
from vitscope.app.services import Services, passes_of, seconds_of
from vitscope.errors import MethodError, TraceError, nearest
from vitscope.heads import METRICS, HeadsError

router = APIRouter(responses=PROBLEMS)

OffText = Annotated[str, Query(description="Heads that are switched off, as block.head,block.head, from 0.")]
OptionsText = Annotated[
    str, Query(description="The method's options as a JSON object; those left out keep defaults.")
]
TargetText = Annotated[
    str,
    Query(description="What is explained: predicted, the number of a class, or another target in writing."),
]
LONGEST = 10_000
"""Letters of options or of heads that are switched off."""


def map_wanted(
    method: str | None = None,
    options: OptionsText = "{}",
    target: TargetText = PREDICTED,
    off: OffText = "",
) -> Callable[[PictureReference], MapAsked]:
    """The question for a map, which wants a picture yet; what is written in it is read when the picture is known."""

    def of(picture: PictureReference) -> MapAsked:
        return MapAsked(picture, read_heads(off), method, read_options(options), target.strip())

    return of


Wanted = Annotated[Callable[[PictureReference], MapAsked], Depends(map_wanted)]


@router.get("/api/pictures/{id}/prediction", response_model=Prediction)
@written_for(of_pictures(top="5"))
async def prediction(
    id: str,
    request: Request,
    services: Given,
    off: OffText = "",
    top: Annotated[int, Query(ge=1, le=1000)] = 5,
) -> Response:
    """The most likely classes, and with heads off those of the changed model beside them."""
    found, reference = services.shelf.opened(id)
    if services.why_not is not None and services.study is not None:
        return await studied_prediction(request, services, found, read_heads(off), top)
    answer = await computed(
        request, services, PredictionAsked(reference, read_heads(off), count=top, label=found.label)
    )
    _remember(services, found, answer)
    return answer


@router.get(
    "/api/pictures/{id}/map",
    response_model=MapHeader,
    response_class=TensorResponse,
)
@written_for(of_maps("method", target=PREDICTED))
async def map_of(
    id: str,
    request: Request,
    services: Given,
    map_of_picture: Wanted,
    kept: Annotated[bool, Query(description="Only as the study keeps it; nothing is computed.")] = False,
) -> Response:
    """The map of a method, its flow block by block where it has one, and what is known of them."""
    found, reference = services.shelf.opened(id)
    asked = map_of_picture(reference)
    if kept and services.study is not None:
        return await studied_map(request, services, found, asked)
    if services.why_not is not None and services.study is not None:
        return await studied_map(request, services, found, asked)
    return await computed(request, services, await checked(services, asked))


@router.get("/api/pictures/{id}/blocks", response_model=Blocks)
async def blocks(id: str, request: Request, services: Given, off: OffText = "") -> Response:
    """How evenly, how far and how much at the class token every head looks."""
    _, reference = services.shelf.opened(id)
    return await computed(request, services, BlocksAsked(reference, read_heads(off)))


@router.get("/api/pictures/{id}/attention", response_model=RowsHeader, response_class=TensorResponse)
async def attention(
    id: str,
    request: Request,
    services: Given,
    block: Annotated[int, Query(ge=0)],
    query: str = CLASS,
    direction: Direction = "out",
    off: OffText = "",
) -> Response:
    """What one token looks at, or who looks at it, in every head of a block; over all tokens, prefix tokens first."""
    _, reference = services.shelf.opened(id)
    return await computed(
        request,
        services,
        RowsAsked(reference, read_heads(off), block=block, query=query.strip(), direction=direction),
    )


@router.get("/api/pictures/{id}/matrix", response_model=MatrixHeader, response_class=TensorResponse)
async def matrix(
    id: str,
    request: Request,
    services: Given,
    block: Annotated[int, Query(ge=0)],
    head: Annotated[int, Query(ge=0)],
    off: OffText = "",
) -> Response:
    """One head's whole attention matrix, in 8 bits with a scale for each row."""
    _, reference = services.shelf.opened(id)
    return await computed(request, services, MatrixAsked(reference, read_heads(off), block=block, head=head))


@router.get("/api/heads/importance", response_model=ImportanceHeader, response_class=TensorResponse)
async def importance(picture: str, request: Request, services: Given, metric: str = DEFAULT) -> Response:
    """What every head matters on one picture."""
    if metric not in METRICS:
        raise HeadsError(
            f"there is no metric {metric[:60]!r}; nearest: {', '.join(nearest(metric, METRICS))}"
        )
    _, reference = services.shelf.opened(picture)
    return await computed(request, services, ImportanceAsked(reference, metric=metric))


@router.get("/api/estimate", response_model=Estimate)
async def estimate(
    picture: str,
    request: Request,
    services: Given,
    map_of_picture: Wanted,
) -> Response:
    """What a map will cost, told before it is asked for."""
    _, reference = services.shelf.opened(picture)
    asked = await checked(services, map_of_picture(reference))
    desk = await services.model()
    facts = await desk.opened()
    known = next(each for each in facts.methods["methods"] if each["name"] == asked.method)
    kept = desk.kept.get(asked.tag) is not None
    forwards, backwards = passes_of(known, asked.chosen())
    told = Estimate(
        method=known["name"],
        forwards=forwards,
        backwards=backwards,
        seconds=0.0 if kept else seconds_of((forwards, backwards), facts),
        kept=kept,
    )
    return reply(request, Answer.of_json(told.model_dump()))


# ---- reading what was asked ------------------------------------------------------------------------------------------
async def checked(services: Services, asked: MapAsked) -> MapAsked:
    """The question with the default method put in; the rest is the library's to check.

    Raises MethodError for a method that there is not, and for an option that no page may set."""
    facts = await (await services.model()).opened()
    known = {each["name"]: each for each in facts.methods["methods"]}
    name = asked.method or facts.methods["default"]
    if name not in known:
        raise MethodError(f"unknown method {name[:60]!r}; nearest: {', '.join(nearest(name, known))}")
    settable = {each["name"]: each["settable"] for each in known[name]["options"]}
    for option, value in asked.chosen().items():
        closed = settable.get(option) is False or (
            isinstance(value, str | list | dict) and option not in settable
        )
        if closed and value is not None:
            raise MethodError(f"option '{option[:60]}' of '{name}' cannot be set from a page; leave it out")
    return MapAsked(asked.picture, asked.off, name, asked.options, asked.target)


def read_options(text: str) -> str:
    """Options in their one form: equal options are equal texts. Raises MethodError for what is no JSON object."""
    try:
        found = json.loads(text) if len(text) <= LONGEST else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MethodError("options are a JSON object by the names of the method's options; write {} for none")
    return json.dumps(found, sort_keys=True)


def read_heads(text: str) -> Off:
    """``3.1,5.0`` as heads, each once and in their order. Raises TraceError for anything else."""
    if not text.strip():
        return ()
    if len(text) > LONGEST or not re.fullmatch(r"\s*\d{1,4}\.\d{1,4}\s*(,\s*\d{1,4}\.\d{1,4}\s*)*", text):
        raise TraceError(f"heads are written block.head,block.head and counted from 0, got {text[:60]!r}")
    found = {(int(block), int(head)) for block, head in re.findall(r"(\d+)\.(\d+)", text)}
    return tuple(sorted(found))


def _remember(services: Services, found: ListedPicture, answer: Any) -> None:
    """Let the list of pictures show what the model said."""
    if answer.status_code != 200:
        return
    told = json.loads(answer.body)
    first = told["top"][0]
    services.shelf.tell(found.id, told["predicted"], first["probability"], told["entropy"])
