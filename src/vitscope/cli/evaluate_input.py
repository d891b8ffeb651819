"""What ``vitscope evaluate`` works on: pictures or worlds, what is known about them, and under which protocols."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vitscope.cli import console, options
from vitscope.errors import EvaluationError, PictureError

if TYPE_CHECKING:
    from vitscope.evaluation import EvaluationSet, Protocol

Skipped = list[tuple[Path, str]]


@dataclass(frozen=True)
class Job:
    """One model on one set of pictures under one or several protocols. name: of the world, empty for pictures."""

    name: str
    vit: Any
    data: EvaluationSet
    protocols: dict[str, Protocol]
    metrics: list[str]

    def where(self, place: Path, key: str) -> Path:
        """The folder of one protocol's results."""
        return place if len(self.protocols) == 1 else place / key


def protocols(removal: str, score: str, seed: str, settings: dict[str, Any]) -> dict[str, Protocol]:
    """Every combination of the comma lists, named by what differs; a removal alone by its own name."""
    from vitscope.evaluation import Protocol

    lists = [options.parse_list(text) for text in (removal, score, seed)]
    if not all(lists):
        raise typer.BadParameter("--removal, --score and --seed name at least one each")
    for text in lists[2]:
        if not text.removeprefix("-").isdigit():
            raise typer.BadParameter(f"--seed is a whole number or a comma list of them, not {text!r}")
    made = {}
    for chosen in itertools.product(*lists):
        words = [word for word, all_ in zip(chosen, lists, strict=True) if len(all_) > 1]
        if len(lists[2]) > 1:
            words[-1] = f"seed{words[-1]}"
        made["-".join(words) or chosen[0]] = Protocol(
            removal=chosen[0], score=chosen[1], seed=int(chosen[2]), **settings
        )
    return made


def parse_colour(text: str | None) -> tuple[float, float, float] | None:
    """``"0.5,0.4,0.3"`` to three numbers in 0..1; None for nothing and for ``data``, which the pictures tell."""
    if text is None or text == "data":
        return None
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        red = green = blue = -1.0
    if not all(0 <= part <= 1 for part in (red, green, blue)):
        raise typer.BadParameter(f"--mean-colour is data or three numbers from 0 to 1, not {text!r}")
    return red, green, blue


def read_jobs(
    opened: Callable[[str], Any],
    model: str | None,
    pictures: list[str] | None,
    world: str | None,
    limit: int | None,
    metrics: str | None,
    labels: Path | None,
    boxes: Path | None,
    masks: Path | None,
    variants: dict[str, Protocol],
    own_colour: bool,
) -> tuple[list[Job], Skipped]:
    """The work to do, and the pictures that could not be read."""
    if world:
        return _worlds(opened, model, world, limit, metrics, variants), []
    if model is None:
        raise typer.BadParameter(
            "--model says which model to evaluate, for example timm/deit_tiny_patch16_224"
        )
    chosen = options.parse_list(metrics) if metrics else ["srg"]
    needs = _needs(chosen, variants)
    paths, skipped = _readable(pictures or [], limit)
    vit = opened(model)
    from vitscope.evaluation.truth import read_truth

    data = read_truth(
        paths, labels, boxes, vit.anatomy.classes, masks,
        class_names=vit.class_names, needs=needs - {"boxes"} if masks is not None else needs, tell=console.note,
    )  # fmt: skip
    if own_colour:
        from vitscope.evaluation.dataset import mean_colour

        colour = mean_colour(data)
        variants = {key: replace(each, mean_colour=colour) for key, each in variants.items()}
    return [Job("", vit, data, variants, chosen)], skipped


def _worlds(
    opened: Callable[[str], Any],
    model: str | None,
    world: str,
    limit: int | None,
    metrics: str | None,
    variants: dict[str, Protocol],
) -> list[Job]:
    from vitscope.evaluation.worlds import WORLD_METRICS, world_names, world_set

    chosen = options.parse_list(metrics) if metrics else list(WORLD_METRICS)
    _needs(chosen, variants)
    jobs = []
    names = list(world_names()) if world == "all" else options.parse_list(world)
    unknown = [name for name in names if name not in world_names()]
    if unknown:
        raise EvaluationError(f"there is no world {unknown[0]!r}; known: {', '.join(world_names())}")
    for name in names:
        # In a world the true class is explained, whose evidence is known, unless another is asked for.
        fitting = {
            key: replace(each, target="label") if each.target == "top1" else each
            for key, each in variants.items()
        }
        seed = next(iter(variants.values())).seed
        jobs.append(
            Job(name, opened(model or f"bundled/{name}"), world_set(name, limit or 100, seed), fitting, chosen)
        )
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


def _readable(places: list[str], limit: int | None) -> tuple[list[Path], Skipped]:
    """The pictures that can be read, and the others with the reason."""
    from vitscope.models import find_pictures, read_picture

    paths = find_pictures(places)[:limit]
    good: list[Path] = []
    skipped: Skipped = []
    for path in console.track(paths, "reading", len(paths)):
        try:
            read_picture(path)
            good.append(path)
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
