"""The pictures: listed, added, forgotten, shown."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal
from urllib.parse import unquote

from fastapi import APIRouter, Header, Request, Response

from vitscope.app.exporting.shown import framed_png, thumbnail_png, whole_png
from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import TileAsked
from vitscope.app.pictures.listed import as_columns
from vitscope.app.routes.replies import (
    PROBLEMS,
    Given,
    PngResponse,
    TensorResponse,
    computed,
    not_modified,
    reply,
)
from vitscope.app.routes.written import of_maps, of_pictures, together, written, written_for
from vitscope.app.schemas.pictures import AddedPicture, Pictures
from vitscope.app.schemas.tensors import SimilarityHeader
from vitscope.app.services import Services
from vitscope.app.work.job import JobFailed
from vitscope.models.preparing.preprocessor import Preprocessor
from vitscope.storage.recipe import digest_of
from vitscope.studies import StudyError

router = APIRouter(responses=PROBLEMS)
ONE_FILE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
SIDE = 96
"""Longest side of a thumbnail, in pixels."""


@router.get("/api/pictures", response_model=Pictures)
@written
async def pictures(request: Request, services: Given) -> Response:
    """All pictures as columns: those that were added, the newest first, then the study's."""
    listed = await asyncio.to_thread(services.shelf.all)
    facts = await services.facts()
    columns = as_columns(listed, None if facts is None else facts.class_names)
    added = sum(each.row is None for each in listed)
    total = added + (0 if services.study is None else services.study.manifest.input.count)
    return reply(request, Answer.of_json({"count": len(listed), "total": total, "columns": columns}))


@router.get("/api/pictures/{id}/similarity", response_model=SimilarityHeader, response_class=TensorResponse)
async def similarity(id: str, request: Request, services: Given) -> Response:
    """How alike every picture of the study is to one of them, by the class-token features that the study keeps."""
    found = services.shelf.find(id)
    if services.study is None or found.row is None:
        raise StudyError("similarity is known between the pictures of a study; choose one of them")
    values = await asyncio.to_thread(services.study.similarities, found.row)
    known = {"picture": found.id, "measure": "cosine of class-token features"}
    return reply(request, Answer.of_tensors({"similarity": values}, known))


@router.post("/api/pictures", response_model=AddedPicture, status_code=201, openapi_extra=ONE_FILE)
async def add(
    request: Request,
    services: Given,
    x_filename: Annotated[str, Header(description="The file's name, percent-encoded.")] = "picture",
) -> Response:
    """Take in one picture: the body is its file. A picture that is there already is given back."""
    content = bytearray()
    async for part in request.stream():
        content += part
    found = await services.shelf.add(bytes(content), unquote(x_filename))
    made = AddedPicture(id=found.id, name=found.name, added=found.row is None)
    return Response(made.model_dump_json(), 201, media_type="application/json")


@router.delete("/api/pictures/{id}", status_code=204)
async def forget(id: str, services: Given) -> Response:
    """Take an added picture away."""
    services.shelf.forget(id)
    return Response(status_code=204)


@router.get("/api/pictures/{id}/image.png", response_class=PngResponse)
@written_for(of_pictures(size="model"))
async def image(
    id: str, request: Request, services: Given, size: Literal["model", "full"] = "model"
) -> Response:
    """The upright picture: whole, or exactly the pixels that the model sees."""
    _, reference = services.shelf.opened(id)
    preprocessor = await framing(services) if size == "model" else None
    if size == "model" and preprocessor is None:
        raise JobFailed("input", "how the model frames pictures is not known here; ask for size=full")
    frame = None if preprocessor is None else preprocessor.as_dict()
    tag = digest_of(["image", reference.content, size, frame])
    if (known := not_modified(request, tag)) is not None:
        return known
    if preprocessor is None:
        content = await asyncio.to_thread(whole_png, reference)
    else:
        content = await asyncio.to_thread(framed_png, reference, preprocessor)
    return reply(request, Answer(content, "image/png"), tag)


@router.get("/api/pictures/{id}/thumbnail.png", response_class=PngResponse)
@written_for(together(of_pictures(), of_maps("map")))
async def thumbnail(id: str, request: Request, services: Given, map: str | None = None) -> Response:
    """The picture, at most 96 pixels wide and high; with ``map``, the map of that method on what the model sees."""
    found, reference = services.shelf.opened(id)
    if (
        map is not None
        and found.row is not None
        and services.study is not None
        and map in services.study.methods
    ):
        return await studied_tile(request, services, found.row, id, map)
    if map is not None:
        return await computed(request, services, TileAsked(reference, method=map, side=SIDE))
    tag = digest_of(["thumbnail", reference.content, SIDE])
    if (known := not_modified(request, tag)) is not None:
        return known
    return reply(request, Answer(await asyncio.to_thread(thumbnail_png, reference, SIDE), "image/png"), tag)


async def studied_tile(request: Request, services: Given, row: int, id: str, method: str) -> Response:
    """A map that the study keeps, on what the model sees of its picture where that is known."""
    assert services.study is not None
    study = services.study
    _, reference = services.shelf.opened(id)
    facts = await services.facts()
    preprocessor = await framing(services)
    frame = None if preprocessor is None else preprocessor.as_dict()
    tag = digest_of(["tile", study.manifest.study, reference.content, row, method, SIDE, frame])
    if (known := not_modified(request, tag)) is not None:
        return known
    extent = None if facts is None else facts.model["extent"]

    def drawn() -> bytes:
        from vitscope.app.exporting.shown import tile_png

        return tile_png(study.maps(method, row)["map"], method, reference, preprocessor, extent, SIDE)

    return reply(request, Answer(await asyncio.to_thread(drawn), "image/png"), tag)


async def framing(services: Services) -> Preprocessor | None:
    """How the model frames pictures: as the model says, or, where it is not open, as its study recorded it."""
    facts = await services.facts()
    if facts is not None:
        return facts.preprocessor
    return None if services.study is None else services.study.preprocessor
