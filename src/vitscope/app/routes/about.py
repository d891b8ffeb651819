"""What is served: the model, the study, the methods, the classes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from vitscope.app.model.answer import Answer
from vitscope.app.model.facts import Facts
from vitscope.app.routes.replies import Given, reply
from vitscope.app.schemas.about import About, Classes, Limits, ModelAbout, StudyAbout
from vitscope.app.schemas.methods import Methods
from vitscope.app.services import Services
from vitscope.version import __version__

router = APIRouter()


@router.get("/api/about", response_model=About)
async def about(request: Request, services: Given) -> Response:
    """The server, its model and its study; answered as soon as the model is open."""
    facts = await services.facts()
    return reply(request, Answer.of_json(described(services, facts).model_dump(mode="json")))


@router.get("/api/methods", response_model=Methods)
async def methods(request: Request, services: Given) -> Response:
    """Every method; those that do not apply to the model with the reason."""
    desk = await services.model()
    return reply(request, Answer.of_json((await desk.opened()).methods))


@router.get("/api/classes", response_model=Classes)
async def classes(request: Request, services: Given) -> Response:
    """The names of the classes."""
    facts = await services.facts()
    names = None if facts is None or facts.class_names is None else list(facts.class_names)
    count = None if facts is None else facts.model["classes"]
    if facts is None and services.study is not None:
        count = services.study.manifest.model.classes
    return reply(request, Answer.of_json(Classes(count=count, names=names).model_dump()))


def described(services: Services, facts: Facts | None) -> About:
    """What is served, in one record."""
    settings, study = services.settings, services.study
    return About(
        version=__version__,
        model=None if facts is None else ModelAbout(**facts.model),
        study=None if study is None else StudyAbout(**study.described()),
        limits=Limits(
            upload_bytes=settings.upload_bytes,
            upload_pixels=settings.upload_pixels,
            cache_bytes=settings.cache_bytes,
        ),
        cache=services.cache(),
        extent=(0.0, 0.0, 1.0, 1.0) if facts is None else tuple(facts.model["extent"]),
        can_compute=facts is not None,
        why_not=None if facts is not None else services.why_not,
        seconds_forward=None if facts is None else facts.forward,
        seconds_backward=None if facts is None else facts.backward,
        video=facts is not None and facts.video,
    )
