"""What happens to a study's pictures without heads, or parts of one: asked of the model, with an estimate first."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import AblationAsked, Asked, CumulativeAsked, PartialAsked
from vitscope.app.pictures.ranked_heads import order_of
from vitscope.app.pictures.studied_heads import StudiedHeads
from vitscope.app.routes.heads import RowsText, heads_of
from vitscope.app.routes.looking import read_heads
from vitscope.app.routes.places import read_rows
from vitscope.app.routes.replies import PROBLEMS, Given, TensorResponse, computed, reply
from vitscope.app.schemas.heads import Ablation, CumulativeHeader, PartialHeader, WorkEstimate
from vitscope.app.services import Services
from vitscope.heads import HeadsError

router = APIRouter(responses=PROBLEMS)
MOST = 2_000
"""Pictures of one question to the model."""
RESUMED = 0.5
"""The share of a full forward that a changed copy costs, about: it resumes from the block that is changed."""
RankingText = Annotated[
    str,
    Query(
        description="Metrics by whose order heads are removed, by commas; by the first one from both ends."
    ),
]
OverText = Annotated[
    str, Query(description="Rows of the pictures over which the heads are ranked. Left out: all.")
]
Steps = Annotated[int, Query(ge=1, le=400, description="Points of a curve besides the whole model.")]


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


@router.get("/api/heads/cumulative", response_model=CumulativeHeader, response_class=TensorResponse)
async def cumulative(
    request: Request,
    services: Given,
    ranking: RankingText,
    rows: RowsText = "",
    over: OverText = "",
    steps: Steps = 12,
) -> Response:
    """What remains of the answers while more and more heads are removed, by rankings and at random."""
    return await computed(request, services, await cumulative_asked(services, ranking, rows, over, steps))


@router.get("/api/heads/estimate", response_model=WorkEstimate)
async def estimate(
    request: Request,
    services: Given,
    off: str = "",
    block: int | None = None,
    head: int | None = None,
    ranking: RankingText = "",
    rows: RowsText = "",
    over: OverText = "",
    queries: str = "",
    steps: Steps = 12,
) -> Response:
    """What one of these questions will cost: that for ``off``, for ``block`` and ``head``, or for a ``ranking``."""
    asked: Asked
    facts = await (await services.model()).opened()
    if ranking:
        asked = await cumulative_asked(services, ranking, rows, over, steps)
        # Removed from everywhere: nearly every changed copy runs through all blocks.
        copies = (len(asked.orders) + asked.random) * steps / RESUMED
    elif block is not None and head is not None:
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


async def cumulative_asked(
    services: Services, ranking: str, rows: str, over: str, steps: int
) -> CumulativeAsked:
    """The question what happens without more and more heads. Raises HeadsError for a metric that the study has not."""
    names = list(dict.fromkeys(name.strip() for name in ranking.split(",") if name.strip()))
    if not names:
        raise HeadsError("expected metrics to remove heads by, got none; give ranking=js_divergence")
    heads, ranked_over = heads_of(services), read_rows(over)

    def ordered() -> CumulativeAsked:
        orders = [(name, False, order_of(heads, name, ranked_over)) for name in names]
        first, _, order = orders[0]
        picture = heads.references(wanted(heads, rows))
        return CumulativeAsked(picture, orders=(*orders, (first, True, order[::-1])), steps=steps)

    return await asyncio.to_thread(ordered)


def wanted(heads: StudiedHeads, text: str) -> list[int]:
    """The rows that are asked for, or all. Raises HeadsError for more than the model is asked for at a time."""
    rows = read_rows(text)
    found = [int(row) for row in heads.rows()] if rows is None else rows
    if len(found) > MOST:
        raise HeadsError(f"{len(found):,} pictures are too many for one question; choose up to {MOST:,}")
    return found
