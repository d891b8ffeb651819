"""The web application of one server, as any ASGI server runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response

from vitscope.app.model.answer import Answer
from vitscope.app.routes import about, compare, exports, heads, jobs, looking, page, pictures, pruning
from vitscope.app.routes.replies import reply, tell_problems
from vitscope.app.security.guard import Guard
from vitscope.app.security.headers import headers_for
from vitscope.app.security.hosts import KnownHosts
from vitscope.app.security.tokens import Token
from vitscope.app.services import BESIDE, Services
from vitscope.app.settings import Settings
from vitscope.version import __version__

ROUTERS = (
    about.router,
    pictures.router,
    looking.router,
    heads.router,
    pruning.router,
    compare.router,
    exports.router,
    jobs.router,
)


def application(settings: Settings, folder: Path = page.PAGE) -> tuple[Guard, Services]:
    """The application behind its door, and the parts that it is made of.

    Args:
        settings: What is served, to whom, within which limits.
        folder: Where the page was built to.

    Raises:
        StudyError: A study cannot be opened.
    """
    services = Services(settings)
    inner = routed()
    inner.state.services = services
    if services.beside is not None:
        inner.mount(f"/{BESIDE}", alone(services.beside))
    inner.mount("/", page.Page(folder))
    token = None if settings.token is None else Token(settings.token, f"vitscope-{settings.port}")
    # Under any name only with a token, which no page of a stranger can have.
    hosts = KnownHosts(settings.host, settings.allowed_hosts, every=settings.embedded and token is not None)
    headers = headers_for("'self'" if settings.embedded else "'none'")
    return Guard(inner, hosts, token, settings.base_path, settings.upload_bytes, headers), services


def alone(services: Services) -> FastAPI:
    """The addresses of a study that lies beside another one, whose server begins and ends it."""
    made = routed()
    made.state.services = services
    return made


def routed() -> FastAPI:
    """The addresses with their types, without a model behind them: what the schema is made from."""
    made = FastAPI(
        title="vitscope",
        version=__version__,
        summary="A microscope for Vision Transformers.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_living,
        separate_input_output_schemas=False,
    )
    for router in ROUTERS:
        made.include_router(router)
    tell_problems(made)

    @made.get("/api/openapi.json", include_in_schema=False)
    async def schema(request: Request) -> Response:
        return reply(request, Answer.of_json(made.openapi()))

    return made


@asynccontextmanager
async def _living(made: FastAPI) -> AsyncIterator[None]:
    services: Services = made.state.services
    services.start()
    try:
        yield
    finally:
        await services.close()
