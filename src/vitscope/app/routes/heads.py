"""All heads of a study: what it keeps of them. What the model is asked beyond that: ``pruning``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from vitscope.app.answers.heads import (
    agreement_answer,
    atlas_answer,
    metric_of,
    strength_answer,
    table_answer,
)
from vitscope.app.answers.maps import Arrays
from vitscope.app.model.answer import Answer
from vitscope.app.pictures.studied_heads import NEEDS, StudiedHeads
from vitscope.app.routes.looking import read_heads
from vitscope.app.routes.places import read_places, read_rows
from vitscope.app.routes.replies import PROBLEMS, Given, TensorResponse, not_modified, reply
from vitscope.app.routes.written import with_analysis, written, written_for
from vitscope.app.schemas.heads import (
    AgreementHeader,
    AtlasHeader,
    CodesHeader,
    HeadPicturesHeader,
    HeadsAbout,
    HeadsPart,
    HeadTableHeader,
    PrototypeHeader,
    ResponseHeader,
    StrengthHeader,
    WalkHeader,
)
from vitscope.app.services import Services
from vitscope.storage.recipe import digest_of
from vitscope.studies import StudyError

router = APIRouter(responses=PROBLEMS)
RowsText = Annotated[
    str, Query(description="Rows of the study's pictures, such as 0-4,7. Left out: all that are computed.")
]


def heads_of(services: Services) -> StudiedHeads:
    """The heads of the study that is shown. Raises StudyError where none is."""
    if services.heads is None:
        raise StudyError("no study is shown here; start with vitscope serve STUDY")
    return services.heads


async def told(
    request: Request,
    heads: StudiedHeads,
    name: list[Any],
    make: Callable[[], tuple[Arrays, dict[str, Any]]],
) -> Response:
    """Arrays of the study, tagged with all that they depend on: the study, how many pictures it has, the question."""
    version, finished = await asyncio.to_thread(lambda: (heads.version(), heads.shown.finished))
    tag = digest_of([heads.study.manifest.study, version, finished, *name])
    if (known := not_modified(request, tag)) is not None:
        return known
    arrays, header = await asyncio.to_thread(make)
    return reply(request, Answer.of_tensors(arrays, header), tag)


# ---- what the study keeps --------------------------------------------------------------------------------------------
@router.get("/api/heads/study", response_model=HeadsAbout)
@written
async def study(request: Request, services: Given) -> Response:
    """Which analyses of heads are there, and what would add the others."""
    heads, facts = heads_of(services), await services.facts()
    reasons = {part: await asyncio.to_thread(heads.why_not, part) for part in NEEDS}
    reasons["model"] = services.why_not
    described = await asyncio.to_thread(heads.shown.described)
    counts = await asyncio.to_thread(heads.counts) if facts is None else facts.model["heads"]
    told = HeadsAbout(
        study=heads.shown.name,
        pictures=described["pictures"],
        computed=heads.version(),
        finished=described["finished"],
        heads=list(counts),
        asunder=None if facts is None else facts.model["asunder"],
        parts={name: HeadsPart(there=why is None, reason=why) for name, why in reasons.items()},
    )
    return reply(request, Answer.of_json(told.model_dump()))


@router.get("/api/heads/pictures", response_model=HeadPicturesHeader, response_class=TensorResponse)
@written
async def pictures(request: Request, services: Given) -> Response:
    """The computed pictures of the study, and where they lie by their class-token features."""
    heads = heads_of(services)

    def made() -> tuple[Arrays, dict[str, Any]]:
        listed, found = heads.listed(), heads.layout()
        arrays: Arrays = {"rows": heads.rows()}
        if found is not None:
            arrays["layout"] = found[0]
        return arrays, {"ids": [each.id for each in listed], "how": None if found is None else found[1]}

    return await told(request, heads, ["pictures"], made)


@router.get("/api/heads/table", response_model=HeadTableHeader, response_class=TensorResponse)
@written_for(with_analysis("importance"))
async def table(request: Request, services: Given, rows: RowsText = "") -> Response:
    """What every head matters by every metric, over all computed pictures or over some."""
    heads, chosen = heads_of(services), read_rows(rows)
    return await told(request, heads, ["table", chosen], lambda: table_answer(heads.table(chosen)))


@router.get("/api/heads/response", response_model=ResponseHeader, response_class=TensorResponse)
async def response(
    request: Request,
    services: Given,
    metric: str,
    heads: Annotated[str, Query(description="As block.head,block.head, from 0.")],
) -> Response:
    """How strongly each picture responds to some heads: what they matter there, by a metric, on average."""
    found, chosen = heads_of(services), read_heads(heads)

    def made() -> tuple[Arrays, dict[str, Any]]:
        values, rows = found.response(metric, chosen)
        return {"response": values, "rows": rows}, {"metric": metric_of(metric), "heads": len(chosen)}

    return await told(request, found, ["response", metric, chosen], made)


@router.get("/api/heads/agreement", response_model=AgreementHeader, response_class=TensorResponse)
@written_for(with_analysis("importance"))
async def agreement(
    request: Request,
    services: Given,
    metrics: Annotated[str, Query(description="Two or more, by commas; then with intervals.")] = "",
) -> Response:
    """How alike the metrics rank the heads."""
    heads = heads_of(services)
    names = [name.strip() for name in metrics.split(",") if name.strip()] or None
    return await told(request, heads, ["agreement", names], lambda: agreement_answer(heads.agreement(names)))


@router.get("/api/heads/strength", response_model=StrengthHeader, response_class=TensorResponse)
@written_for(with_analysis("strength"))
async def strength(request: Request, services: Given) -> Response:
    """How far every head looks."""
    heads = heads_of(services)
    return await told(request, heads, ["strength"], lambda: strength_answer(heads.strength()))


@router.get("/api/heads/patterns", response_model=AtlasHeader, response_class=TensorResponse)
@written_for(with_analysis("patterns"))
async def patterns(request: Request, services: Given) -> Response:
    """The patterns, their prototypes, and every head's mix of them."""
    heads = heads_of(services)

    def made() -> tuple[Arrays, dict[str, Any]]:
        shape = heads.codes()[1].shape
        return atlas_answer(heads.atlas(), (shape[1], shape[2]))

    return await told(request, heads, ["patterns"], made)


@router.get("/api/heads/codes", response_model=CodesHeader, response_class=TensorResponse)
@written_for(with_analysis("patterns"))
async def codes(request: Request, services: Given) -> Response:
    """Where the code of every map of every picture lies, and its cluster."""
    heads = heads_of(services)

    def made() -> tuple[Arrays, dict[str, Any]]:
        places, clusters, rows = heads.codes()
        return {"places": places, "clusters": clusters, "rows": rows}, {"how": "pca"}

    return await told(request, heads, ["codes"], made)


@router.get("/api/heads/walk", response_model=WalkHeader, response_class=TensorResponse)
async def walk(
    request: Request,
    services: Given,
    x: Annotated[float, Query(allow_inf_nan=False)],
    y: Annotated[float, Query(allow_inf_nan=False)],
) -> Response:
    """The map that is decoded at a place among the codes."""
    heads = heads_of(services)

    def made() -> tuple[Arrays, dict[str, Any]]:
        found, inside = heads.walked(x, y)
        return {"map": found}, {"form": heads.atlas().form, "inside": inside}

    return await told(request, heads, ["walk", x, y], made)


@router.get("/api/heads/prototype", response_model=PrototypeHeader, response_class=TensorResponse)
async def prototype(
    request: Request,
    services: Given,
    points: Annotated[
        str, Query(description="Places row · heads + head, as runs in base 128 and base64url.")
    ],
) -> Response:
    """What points have in common: the map that is decoded from the mean of their codes."""
    heads, places = heads_of(services), read_places(points)

    def made() -> tuple[Arrays, dict[str, Any]]:
        found, count = heads.prototype(places)
        return {"map": found}, {"form": heads.atlas().form, "maps": count}

    return await told(request, heads, ["prototype", points], made)
