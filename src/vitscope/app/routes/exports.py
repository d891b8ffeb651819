"""What is on the screen, to be taken away: files, and the Python that gives the same numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from vitscope.app.exporting.files import TYPES
from vitscope.app.exporting.script import script
from vitscope.app.exporting.view import View, read_view
from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import ExportAsked, MapAsked
from vitscope.app.pictures.reference import PictureReference
from vitscope.app.routes.looking import checked, read_heads, read_options
from vitscope.app.routes.replies import PROBLEMS, Given, computed, reply
from vitscope.app.services import Services
from vitscope.reports import words

router = APIRouter(responses=PROBLEMS)
ViewText = Annotated[str, Query(description="What stands behind # in the page's address, percent-encoded.")]
Form = Literal["png", "svg", "gif", "webm", "csv", "parquet"]
FILES = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES.values()}


@router.get("/api/export/{form}", response_class=Response, responses={200: {"content": FILES}})
async def export(
    form: Form, view: ViewText, request: Request, services: Given, scale: Literal["1", "2", "4"] = "1"
) -> Response:
    """The map on the screen as a file, with model, weights, picture, method, options, target, normalisation and version
    inside. ``scale``: 1, 2 or 4 times the usual size."""
    state, asked = await _viewed(services, view)
    signed = words.is_signed(asked.method or "")
    wanted = ExportAsked(
        asked.picture,
        asked.off,
        asked.method,
        asked.options,
        asked.target,
        form=form,
        size=int(scale),
        looks=state.looks(signed),
    )
    return await computed(request, services, wanted)


@router.get("/api/python", response_class=PlainTextResponse)
async def python(view: ViewText, request: Request, services: Given) -> Response:
    """Python that gives the numbers on the screen."""
    state, asked = await _viewed(services, view)
    desk = await services.model()
    text = script(state, asked.picture, desk.opening, await desk.opened())
    return reply(request, Answer(text.encode("utf-8", "backslashreplace"), "text/plain; charset=utf-8"))


async def _viewed(services: Services, text: str) -> tuple[View, MapAsked]:
    view = read_view(text, read_heads)
    reference: PictureReference
    _, reference = services.shelf.opened(view.picture)
    asked = MapAsked(reference, view.off, view.method, read_options(view.options), view.target.strip())
    return view, await checked(services, asked)
