"""From what was computed to what is sent: tags, types, waiting for the model, problems in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import xxhash
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from vitscope.app import tensors
from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import Asked
from vitscope.app.pictures.shelf import NoSuchPicture
from vitscope.app.schemas.jobs import Problem
from vitscope.app.security.guard import TooLarge
from vitscope.app.services import Services
from vitscope.app.work.job import JobFailed
from vitscope.errors import MissingExtraError, PictureError, SourceError, VitscopeError, brief, printable
from vitscope.storage.recipe import digest_of

Found = TypeVar("Found")
PROBLEM = "application/problem+json"
STATUS_OF_JOB = {
    "cancelled": 409,
    "input": 422,
    "extra": 501,
    "memory": 507,
    "model": 503,
    "died": 503,
    "bug": 500,
}
"""What is answered where a job has no answer, by the kind of its failure."""
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {"model": Problem, "description": "There is no answer."}
}


class TensorResponse(Response):
    """Arrays behind a JSON header, see ``vitscope.app.tensors``."""

    media_type = tensors.MEDIA_TYPE


class PngResponse(Response):
    """A picture."""

    media_type = "image/png"


class Gone(Exception):
    """The one who asked has closed the connection."""


def services_of(request: Request) -> Services:
    """The parts of the server that a request reached."""
    found: Services = request.app.state.services
    return found


Given = Annotated[Services, Depends(services_of)]


# ---- answers ---------------------------------------------------------------------------------------------------------
async def computed(request: Request, services: Services, asked: Asked) -> Response:
    """The answer to a question, from what is kept or from the model.

    Its tag is made from the question and the model, so that a browser that has the answer is told so at once. Raises
    JobFailed where there is none."""
    desk = await services.model()
    facts = await desk.opened()
    tag = digest_of([facts.identity, asked.tag])
    if (known := not_modified(request, tag)) is not None:
        return known
    kept = desk.kept.get(asked.tag) is not None
    answer = await while_connected(request, desk.ask(asked, services.expected(facts, asked)))
    return reply(request, answer, tag, {"X-Vitscope-Kept": "1" if kept else "0"})


def reply(
    request: Request, answer: Answer, tag: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer with its tag; nothing but the tag where the browser has it already."""
    tag = xxhash.xxh3_128_hexdigest(answer.content) if tag is None else tag
    if (known := not_modified(request, tag)) is not None:
        return known
    more = {"ETag": f'"{tag}"', "Cache-Control": "no-cache", **(headers or {})}
    if answer.name is not None:
        more["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(answer.name)}"
    return Response(answer.content, media_type=answer.media_type, headers=more)


def not_modified(request: Request, tag: str) -> Response | None:
    """304 where the browser says that it has this answer."""
    given = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if f'"{tag}"' not in given and "*" not in given:
        return None
    return Response(status_code=304, headers={"ETag": f'"{tag}"', "Cache-Control": "no-cache"})


async def while_connected(request: Request, work: Any) -> Any:
    """What ``work`` gives; it is given up as soon as the one who asked is gone. Raises Gone then."""
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Gone
    finally:
        for each in (task, left):
            each.cancel()
        await asyncio.gather(task, left, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


# ---- problems --------------------------------------------------------------------------------------------------------
def problem(status: int, message: str) -> Response:
    """Why there is no answer, with what mends it where the message says so."""
    title = printable(" ".join(message.split()))
    remedy = title.partition("; ")[2] or None
    body = {"title": title, "status": status, **({} if remedy is None else {"remedy": remedy})}
    return JSONResponse(body, status, media_type=PROBLEM, headers={"Cache-Control": "no-store"})


def tell_problems(application: FastAPI) -> None:
    """Answer every failure as a problem in one line."""

    @application.exception_handler(JobFailed)
    async def _job(request: Request, error: JobFailed) -> Response:
        return problem(STATUS_OF_JOB.get(error.kind, 500), str(error))

    @application.exception_handler(NoSuchPicture)
    async def _picture(request: Request, error: NoSuchPicture) -> Response:
        return problem(404, "there is no such picture here; it was forgotten, or is of another study")

    @application.exception_handler(TooLarge)
    async def _large(request: Request, error: TooLarge) -> Response:
        return problem(413, str(error))

    @application.exception_handler(Gone)
    async def _gone(request: Request, error: Gone) -> Response:
        return Response(status_code=499)

    @application.exception_handler(VitscopeError)
    async def _input(request: Request, error: VitscopeError) -> Response:
        if isinstance(error, MissingExtraError):
            return problem(501, str(error))
        return problem(502 if isinstance(error, SourceError) else status_of(error), str(error))

    @application.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return problem(422, f"{where}: {first['msg'].lower()}; see api/openapi.json")

    @application.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        words = {404: "there is nothing at this address", 405: "this method is not answered here"}
        return problem(error.status_code, words.get(error.status_code, str(error.detail)))

    @application.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> Response:
        return problem(
            500, f"{brief(error)}; this is a bug of vitscope, its terminal shows where it comes from"
        )


def status_of(error: VitscopeError) -> int:
    """What is answered for an error of the library in the server itself."""
    return 415 if isinstance(error, PictureError) else 422
