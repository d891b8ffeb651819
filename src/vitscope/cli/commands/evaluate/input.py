"""What ``vitscope evaluate`` works on: pictures or worlds, what is known about them, and under which protocols."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vitscope.cli.commands.evaluate.options import EvaluatedModel, EvaluatedPictures
from vitscope.cli.shared import console
from vitscope.cli.shared.options import PictureOptions
from vitscope.cli.shared.paths import require_there
from vitscope.cli.shared.progress import track
from vitscope.cli.shared.session import open_vit
from vitscope.cli.shared.usage import Values
from vitscope.cli.shared.values import parse_list, whole_number
from vitscope.errors import EvaluationError, PictureError

if TYPE_CHECKING:
    from vitscope.evaluation import EvaluationSet, Protocol
    from vitscope.evaluation.metric import MetricInfo
    from vitscope.tracing import Vit

Skipped = list[tuple[Path, str]]

STEPPED = ("removal", "insertion-deletion", "flow")
"""Families of metrics that take patches away in ``--steps``."""


@dataclass(frozen=True)
class Truth:
    """Files of what is known about the pictures; None where it is to be found beside them."""

    labels: Path | None
    boxes: Path | None
    masks: Path | None


@dataclass(frozen=True)
class Job:
    """One model on one set of pictures under one or several protocols. name: of the world, empty for pictures."""

    name: str
    vit: Vit
    data: EvaluationSet
    protocols: dict[str, Protocol]
    metrics: list[str]

    def where(self, place: Path, key: str) -> Path:
        """The folder of one protocol's results."""
        return place if len(self.protocols) == 1 else place / key


def protocols(removal: str, score: str, seed: str, settings: dict[str, Any]) -> dict[str, Protocol]:
    """Every combination of the comma lists, named by what differs; a removal alone by its own name."""
    from vitscope.evaluation import Protocol

    asked = (("--removal", removal), ("--score", score), ("--seed", seed))
    lists = [parse_list(text, option) for option, text in asked]
    for text in lists[2]:
        whole_number(text, "--seed")
    made = {}
    for chosen in itertools.product(*lists):
        words = [word for word, all_ in zip(chosen, lists, strict=True) if len(all_) > 1]
        if len(lists[2]) > 1:
            words[-1] = f"seed{words[-1]}"
        named: dict[str, Any] = {"removal": chosen[0], "score": chosen[1], "seed": int(chosen[2])}
        made["-".join(words) or chosen[0]] = Protocol(**named, **settings)
    return made


@dataclass(frozen=True)
class Request:
    """What is to be evaluated on what. world, metrics, mean_colour, target: as they were typed."""

    pictures: EvaluatedPictures
    model: EvaluatedModel
    world: str | None
    metrics: str | None
    truth: Truth
    protocols: dict[str, Protocol]
    mean_colour: str | None
    target: str

    def finished(self, protocols: dict[str, Protocol], vit: Vit, data: EvaluationSet) -> dict[str, Protocol]:
        """Protocols with what only the open model and its pictures tell: a class's number, the pictures' colour."""
        from vitscope.evaluation.running.aim import aimed

        named = {key: aimed(each, vit) for key, each in protocols.items()}
        return _coloured(named, self.mean_colour, vit, data)


def read_jobs(request: Request) -> tuple[list[Job], Skipped]:
    """The work to do, and the pictures that could not be read."""
    if request.world:
        return _worlds(request, request.world), []
    if request.model.model is None:
        raise typer.BadParameter(
            "--model says which model to evaluate, for example timm/deit_tiny_patch16_224"
        )
    chosen = parse_list(request.metrics, "--metrics") if request.metrics else ["srg"]
    needs = _needs(chosen, request.protocols)
    require_there(request.truth.labels, request.truth.boxes, request.truth.masks)
    named, skipped = _readable(request.pictures)
    vit = open_vit(request.model)
    from vitscope.evaluation.running.truth import read_truth

    truth, max_pixels = request.truth, request.pictures.max_pixels
    data = read_truth(
        list(named.values()), truth.labels, truth.boxes, vit.anatomy.classes, truth.masks, keys=list(named),
        class_names=vit.class_names, needs=needs - {"boxes"} if truth.masks is not None else needs, tell=console.note,
    )  # fmt: skip
    # What can no longer be read when its turn comes costs that picture.
    data = replace(data, skip=True, max_pixels=data.max_pixels if max_pixels is None else max_pixels)
    return [Job("", vit, data, request.finished(request.protocols, vit, data), chosen)], skipped


def _coloured(
    variants: dict[str, Protocol], given: str | None, vit: Vit, data: EvaluationSet
) -> dict[str, Protocol]:
    """The protocols with the pictures' own mean colour where it was asked for.

    A usage error where no mean colour is used: tokens that are masked away leave none, unless no token stays."""
    if given is None:
        return variants
    if all(each.removal in ("mask", "drop") for each in variants.values()) and _keeps_a_token(vit):
        raise typer.BadParameter(
            "--mean-colour would not be used: masked tokens have no colour; take --removal mean"
        )
    if given != "data":
        return variants
    from vitscope.evaluation.running.colours import mean_colour

    colour = mean_colour(data)
    return {key: replace(each, mean_colour=colour) for key, each in variants.items()}


def _keeps_a_token(vit: Vit) -> bool:
    layout = vit.anatomy.layout
    return layout is not None and bool(layout.prefix)


def metrics_of(given: Values) -> list[MetricInfo]:
    """The metrics that a command line asks for. Raises EvaluationError for an unknown one."""
    from vitscope.evaluation import get_metric
    from vitscope.evaluation.running.worlds import WORLD_METRICS

    standard = list(WORLD_METRICS) if given["world"] else ["srg"]
    names = parse_list(given["metrics"], "--metrics") if given["metrics"] else standard
    infos = [get_metric(name) for name in names]
    return [*infos, *(get_metric(other) for info in infos for other in info.beside)]


def needs_of(given: Values) -> set[str]:
    """What the metrics and the target of a command line need to know of the pictures."""
    needs = {need for info in metrics_of(given) for need in info.requires}
    return needs | ({"labels"} if given["target"].strip() == "label" else set())


def _worlds(request: Request, world: str) -> list[Job]:
    from vitscope.evaluation.running.worlds import WORLD_METRICS, world_names, world_set

    variants = request.protocols
    chosen = parse_list(request.metrics, "--metrics") if request.metrics else list(WORLD_METRICS)
    _needs(chosen, variants)
    jobs = []
    names = list(world_names()) if world == "all" else parse_list(world, "--world")
    unknown = [name for name in names if name not in world_names()]
    if unknown:
        raise EvaluationError(f"there is no world {unknown[0]!r}; known: {', '.join(world_names())}")
    for name in names:
        # In a world the true class is explained, whose evidence is known, unless another is asked for.
        fitting = {
            key: replace(each, target="label") if request.target == "top1" else each
            for key, each in variants.items()
        }
        seed = next(iter(variants.values())).seed
        vit = open_vit(replace(request.model, model=request.model.model or f"bundled/{name}"))
        data = world_set(name, request.pictures.limit or 100, seed)
        jobs.append(Job(name, vit, data, request.finished(fitting, vit, data), chosen))
    return jobs


def _needs(metrics: list[str], variants: dict[str, Protocol]) -> set[str]:
    """What must be known about the pictures, of labels and boxes. Raises EvaluationError for an unknown metric."""
    from vitscope.evaluation import get_metric

    infos = [get_metric(name) for name in metrics]
    asked = {need for info in infos for need in info.requires}
    needs = {"labels"} if asked & {"labels", "mosaics"} else set()
    if any(each.target == "label" for each in variants.values()):
        needs.add("labels")
    return needs | ({"boxes"} if asked & {"masks", "boxes"} else set())


def _readable(pictures: PictureOptions) -> tuple[dict[str, Path], Skipped]:
    """The pictures that can be read, by key, and the others with the reason."""
    from vitscope.pictures import read_picture

    source = pictures.source()
    paths = list(source.items)
    good: dict[str, Path] = {}
    skipped: Skipped = [(Path(folder), reason) for folder, reason in source.skipped.items()]
    for _, reason in skipped:
        console.note(f"skipped: {reason}")
    for key, path in zip(source.keys, track(paths, "reading", len(paths)), strict=True):
        try:
            read_picture(path, max_pixels=source.max_pixels)
            good[key] = path
        except PictureError as error:
            if len(paths) == 1:
                raise
            skipped.append((path, str(error)))
            console.note(f"skipped: {error}")
    if not good:
        raise PictureError(
            f"none of the {len(paths)} pictures can be read; the lines above give the reason of each"
        )
    return good, skipped
