"""What is served: the model, the study, the methods, the classes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from vitscope.app.answers.methods import kept_methods_answer
from vitscope.app.model.answer import Answer
from vitscope.app.model.facts import Facts
from vitscope.app.routes.replies import Given, reply
from vitscope.app.routes.written import written
from vitscope.app.schemas.about import About, BesideAbout, Classes, Limits, ModelAbout, StudyAbout
from vitscope.app.schemas.methods import Methods
from vitscope.app.services import BESIDE, Services
from vitscope.studies.paired import names_of
from vitscope.version import __version__

router = APIRouter()


@router.get("/api/about", response_model=About)
@written
async def about(request: Request, services: Given) -> Response:
    """The server, its model and its study; answered as soon as the model is open."""
    facts = await services.facts()
    return reply(request, Answer.of_json(described(services, facts).model_dump(mode="json")))


@router.get("/api/methods", response_model=Methods)
@written
async def methods(request: Request, services: Given) -> Response:
    """Every method; those that do not apply with the reason. Without a model, those apply that the study keeps."""
    facts = await services.facts()
    if services.why_not is None:
        assert facts is not None
        return reply(request, Answer.of_json(facts.methods))
    if services.study is None:
        await services.model()  # says why there is none
        raise AssertionError
    known = None if facts is None else facts.methods
    return reply(
        request, Answer.of_json(kept_methods_answer(services.study.methods, services.why_not, known))
    )


@router.get("/api/classes", response_model=Classes)
@written
async def classes(request: Request, services: Given) -> Response:
    """The names of the classes."""
    facts = await services.facts()
    names = None if facts is None or facts.class_names is None else list(facts.class_names)
    count = None if facts is None else facts.model["classes"]
    if facts is None and services.study is not None:
        count = services.study.manifest.model.classes
    return reply(request, Answer.of_json(Classes(count=count, names=names).model_dump()))


def beside(services: Services) -> BesideAbout | None:
    """The study that lies beside; None where none does."""
    if services.study is None or services.beside is None or services.beside.study is None:
        return None
    other = services.beside.study
    names = names_of(services.study.study, other.study)
    return BesideAbout(study=other.name, place=str(other.study.place), names=names, path=BESIDE)


def described(services: Services, facts: Facts | None) -> About:
    """What is served, in one record."""
    settings, study = services.settings, services.study
    return About(
        version=__version__,
        model=None if facts is None else ModelAbout(**facts.model),
        study=None if study is None else StudyAbout(**study.described()),
        beside=beside(services),
        limits=Limits(
            upload_bytes=settings.upload_bytes,
            upload_pixels=settings.upload_pixels,
            cache_bytes=settings.cache_bytes,
        ),
        cache=services.cache(),
        extent=(0.0, 0.0, 1.0, 1.0) if facts is None else tuple(facts.model["extent"]),
        can_compute=services.why_not is None,
        why_not=services.why_not,
        seconds_forward=None if facts is None else facts.forward,
        seconds_backward=None if facts is None else facts.backward,
        video=services.why_not is None and facts is not None and facts.video,
    )
