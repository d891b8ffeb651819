"""All heads of a study: what it keeps of them, and what the model is asked beyond that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from vitscope.app.answers.heads import agreement_answer, atlas_answer, strength_answer, table_answer
from vitscope.app.answers.maps import Arrays
from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import AblationAsked, Asked, PartialAsked
from vitscope.app.pictures.studied_heads import NEEDS, StudiedHeads
from vitscope.app.routes.looking import read_heads
from vitscope.app.routes.places import read_places, read_rows
from vitscope.app.routes.replies import PROBLEMS, Given, TensorResponse, computed, not_modified, reply
from vitscope.app.routes.written import with_analysis, written, written_for
from vitscope.app.schemas.heads import (
    Ablation,
    AgreementHeader,
    AtlasHeader,
    CodesHeader,
    HeadPicturesHeader,
    HeadsAbout,
    HeadsPart,
    HeadTableHeader,
    PartialHeader,
    PrototypeHeader,
    StrengthHeader,
    WalkHeader,
    WorkEstimate,
)
from vitscope.app.services import Services
from vitscope.heads import HeadsError
from vitscope.storage.recipe import digest_of
from vitscope.studies import StudyError

router = APIRouter(responses=PROBLEMS)
MOST = 2_000
"""Pictures of one question to the model."""
RESUMED = 0.5
"""The share of a full forward that a changed copy costs, about: it resumes from the block that is changed."""
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


# ---- what the model is asked -----------------------------------------------------------------------------------------
@router.get("/api/heads/ablation", response_model=Ablation)
async def ablation(request: Request, services: Given, off: str, rows: RowsText = "") -> Response:
    """What happens to the pictures without some heads, together and one by one."""
    return await computed(request, services, await ablation_asked(services, off, rows))


@router.get("/api/heads/partial", response_model=PartialHeader, response_class=TensorResponse)
async def partial(
    request: Request,
    services: Given,
    block: Annotated[int, Query(ge=0)],
    head: Annotated[int, Query(ge=0)],
    rows: RowsText = "",
    queries: Annotated[
        str, Query(description="Patches whose own row is taken away, row by row from 0.")
    ] = "",
) -> Response:
    """What happens to the pictures without parts of one head's attention, by hops and by query."""
    asked = await partial_asked(services, block, head, rows, queries)
    return await computed(request, services, asked)


@router.get("/api/heads/estimate", response_model=WorkEstimate)
async def estimate(
    request: Request,
    services: Given,
    off: str = "",
    block: int | None = None,
    head: int | None = None,
    rows: RowsText = "",
    queries: str = "",
) -> Response:
    """What one of these two questions will cost: that for ``off``, or that for ``block`` and ``head``."""
    asked: Asked
    facts = await (await services.model()).opened()
    if block is not None and head is not None:
        asked = await partial_asked(services, block, head, rows, queries)
        grid = facts.model["grid"] or (1, 1)
        copies = 4 + 3 * max(grid) + len(asked.queries)
    else:
        asked = await ablation_asked(services, off, rows)
        copies = len(asked.off) + 1
    pictures = len(asked.picture.parts)  # type: ignore[attr-defined]
    forwards = pictures * (1 + RESUMED * copies)
    kept = (await services.model()).kept.get(asked.tag) is not None
    found = WorkEstimate(
        pictures=pictures, forwards=forwards, seconds=0.0 if kept else forwards * facts.forward, kept=kept
    )
    return reply(request, Answer.of_json(found.model_dump()))


async def ablation_asked(services: Services, off: str, rows: str) -> AblationAsked:
    """The question what happens without heads. Raises HeadsError where none is named."""
    chosen = read_heads(off)
    if not chosen:
        raise HeadsError("expected heads to switch off, got none; give off=block.head,block.head")
    heads = heads_of(services)
    return AblationAsked(await asyncio.to_thread(heads.references, wanted(heads, rows)), chosen)


async def partial_asked(services: Services, block: int, head: int, rows: str, queries: str) -> PartialAsked:
    """The question what happens without parts of a head. Raises HeadsError for queries that are no numbers."""
    if queries.strip() and not re.fullmatch(r"\d{1,5}(,\d{1,5}){0,999}", queries.strip()):
        raise HeadsError(f"expected patches such as 0,17, got {queries[:60]!r}; count row by row from 0")
    heads = heads_of(services)
    found = tuple(sorted({int(each) for each in queries.split(",") if each.strip()}))
    picture = await asyncio.to_thread(heads.references, wanted(heads, rows))
    return PartialAsked(picture, block=block, head=head, queries=found)


def wanted(heads: StudiedHeads, text: str) -> list[int]:
    """The rows that are asked for, or all. Raises HeadsError for more than the model is asked for at a time."""
    rows = read_rows(text)
    found = [int(row) for row in heads.rows()] if rows is None else rows
    if len(found) > MOST:
        raise HeadsError(f"{len(found):,} pictures are too many for one question; choose up to {MOST:,}")
    return found
