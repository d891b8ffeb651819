"""What is being computed: listed, told as it goes on, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from vitscope.app.model.answer import Answer
from vitscope.app.routes.replies import PROBLEMS, Given, problem, reply
from vitscope.app.schemas.jobs import JobAbout, Jobs
from vitscope.app.services import Services

router = APIRouter(responses=PROBLEMS)
BREATH = 15.0
"""Seconds after which a quiet stream says that it is alive."""
BETWEEN = 0.05
"""Seconds between two pieces of news."""


@router.get("/api/jobs", response_model=Jobs)
async def jobs(request: Request, services: Given) -> Response:
    """The questions on their way and the last ones that are over."""
    return reply(request, Answer.of_json(listed(services).model_dump(mode="json")))


@router.delete("/api/jobs/{id}", status_code=204)
async def cancel(id: int, services: Given) -> Response:
    """End a question; whoever waits for it is answered with 409."""
    job = None if services.desk is None else services.desk.find(id)
    if job is None or services.desk is None:
        return problem(404, f"there is no job {id}; it is over long since")
    services.desk.cancel(job)
    return Response(status_code=204)


@router.get("/api/events")
async def events(services: Given) -> StreamingResponse:
    """Server-sent events: ``jobs``, all that are on their way, and ``cache``, at every change."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_news(services), media_type="text/event-stream", headers=headers)


def listed(services: Services, *, live: bool = False) -> Jobs:
    """The jobs, the newest last; with ``live`` only those that are not over."""
    known = [] if services.desk is None else list(services.desk.jobs)
    return Jobs(jobs=[JobAbout.of(job) for job in known if job.live or not live], cache=services.cache())


async def _news(services: Services) -> AsyncIterator[str]:
    told: dict[str, str] = {}
    version = -1
    while not services.closing:
        found = listed(services, live=True)
        for name, data in (
            ("jobs", Answer.of_json([job.model_dump(mode="json") for job in found.jobs]).content.decode()),
            ("cache", found.cache.model_dump_json()),
        ):
            if told.get(name) != data:
                told[name] = data
                yield f"event: {name}\ndata: {data}\n\n"
        await asyncio.sleep(BETWEEN)
        try:
            version = await asyncio.wait_for(services.changed(version), BREATH)
        except TimeoutError:
            yield ": still here\n\n"
