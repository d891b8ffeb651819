"""Planted-evidence worlds: pictures whose evidence is known by construction, drawn by code from a seed.

`world("shapes").sample(100, seed=3)` gives pictures, labels and the exact mask of what decides the label. Whatever
else varies (size, place, turn, colour, ground, number and kinds of distractors) is drawn without looking at the label.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitscope.errors import DataError, nearest
from vitscope.worlds.painting import MARKS
from vitscope.worlds.scenes import SIZE, Draws, Recipe, draw_scenes
from vitscope.worlds.silhouettes import OBJECTS

TRAINING_SEEDS: Final = (
    2**40
)  # the bundled models were trained on seeds from here on; samples to test on use smaller ones
CHUNK: Final = 256  # pictures drawn at a time, to bound the memory; what is drawn does not depend on it


@dataclass(frozen=True)
class Sample:
    """n pictures of a world, and the truth about them."""

    pictures: NDArray[np.uint8]  # (n, 96, 96, 3)
    labels: NDArray[np.int64]  # (n,)
    masks: NDArray[np.bool_]  # (n, 96, 96): the evidence, the union of its parts
    parts: NDArray[np.bool_]  # (n, parts, 96, 96): each piece of evidence; pieces never overlap
    distractors: NDArray[np.bool_]  # (n, 96, 96): objects that say nothing about the label
    stage: NDArray[np.uint8]  # (n, 96, 96, 3): the same pictures before the evidence was painted
    classes: tuple[str, ...]
    nuisances: dict[
        str, NDArray[np.float64]
    ]  # what was drawn at random beside the label, each (n,) or (n, k)

    def __len__(self) -> int:
        return len(self.labels)

    def without(self, *parts: int) -> NDArray[np.uint8]:
        """The pictures with the named parts of the evidence (none named: all of it) gone, ground in their place."""
        gone = np.asarray(self.parts[:, list(parts)].any(axis=1)) if parts else self.masks
        return np.where(gone[..., None], self.stage, self.pictures)

    def images(self) -> list[Image.Image]:
        """The pictures as PIL images."""
        return [Image.fromarray(picture) for picture in self.pictures]

    def names(self) -> list[str]:
        """The class name of each picture."""
        return [self.classes[label] for label in self.labels]


@dataclass(frozen=True)
class World:
    """A kind of picture whose evidence is known. `part_names` are in the order of `Sample.parts`."""

    name: str
    classes: tuple[str, ...]
    description: str
    part_names: tuple[str, ...]
    recipe: Recipe = field(repr=False)

    @property
    def size(self) -> int:
        """Pixels along a side of a picture."""
        return SIZE

    def compatible(self, labels: NDArray[np.int64], *gone: int) -> NDArray[np.bool_]:
        """Which classes (n, classes) the rest of the evidence leaves open, once the named parts are gone.

        With no part named, all parts are gone and every class is left open.
        """
        hidden = set(gone) or set(range(self.recipe.parts))
        if not self.recipe.kinds or self.recipe.by_place or len(hidden) == self.recipe.parts:
            return np.ones((len(labels), len(self.classes)), dtype=bool)
        shown = [
            tuple(kind for part, kind in enumerate(kinds) if part not in hidden)
            for kinds in self.recipe.kinds
        ]
        same = np.array([[mine == other for other in shown] for mine in shown])
        return same[labels]

    def sample(self, count: int, seed: int = 0) -> Sample:
        """`count` pictures; equal for equal `seed` on every machine, and a longer sample begins with a shorter one.

        Labels are balanced: every run of len(classes) pictures holds each class once, in random order.

        Raises:
            DataError: when count is below 1 or seed is negative.
        """
        if count < 1 or seed < 0:
            raise DataError(
                f"A sample needs count >= 1 and seed >= 0, not count={count}, seed={seed}; give other numbers"
            )
        draws = Draws(tuple(_WORLDS).index(self.name), seed)
        rounds = -(-count // len(self.classes))
        order = draws.random("order", rounds, len(self.classes)).argsort(axis=1, kind="stable")
        labels = order.reshape(-1)[:count].astype(np.int64)
        scenes = [draw_scenes(self.recipe, labels[at : at + CHUNK], draws) for at in range(0, count, CHUNK)]
        parts = np.concatenate([scene.parts for scene in scenes])
        return Sample(
            pictures=np.concatenate([scene.pictures for scene in scenes]),
            labels=labels,
            masks=np.asarray(parts.any(axis=1)),
            parts=parts,
            distractors=np.concatenate([scene.distractors for scene in scenes]),
            stage=np.concatenate([scene.stage for scene in scenes]),
            classes=self.classes,
            nuisances={
                name: np.concatenate([scene.nuisances[name] for scene in scenes])
                for name in scenes[0].nuisances
            },
        )


_SHAPES = OBJECTS[:10]
_FIRST, _SECOND = ("disc", "triangle", "heart"), ("square", "star", "ring")
_PAIRS = tuple((first, second) for first in _FIRST for second in _SECOND)
_EITHER = tuple(zip(OBJECTS[:6], OBJECTS[6:], strict=True))
_PLACES = tuple(
    f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "centre", "right")
)

_WORLDS: Final[dict[str, World]] = {
    made.name: made
    for made in (
        World(
            "shapes", _SHAPES,
            "One object among distractors on textured ground; its silhouette is the class.",
            ("object",),
            Recipe(kinds=tuple((kind,) for kind in _SHAPES)),
        ),
        World(
            "conjunction", tuple(f"{first} and {second}" for first, second in _PAIRS),
            "Two objects; the class is the pair, either one alone leaves three classes open.",
            ("first object", "second object"),
            Recipe(kinds=_PAIRS, scales=(15.0, 19.0), distractors=(0, 2)),
        ),
        World(
            "redundancy", tuple(f"{first} or {second}" for first, second in _EITHER),
            "Two objects that belong together; either one alone tells the class.",
            ("first object", "second object"),
            Recipe(kinds=_EITHER, scales=(15.0, 19.0), distractors=(0, 2)),
        ),
        World(
            "position", _PLACES,
            "The same star in every picture; the class is the cell of a 3 x 3 grid in which its centre lies.",
            ("star",),
            Recipe(kinds=(("star",),) * 9, scales=(13.0, 17.0), by_place=True),
        ),
        World(
            "clever-hans", tuple(MARKS),
            "A small mark in one of the corners is the class; the large object in the picture is drawn at random.",
            ("mark",),
            Recipe(distractors=(0, 2), bystander=True),
        ),
    )
}  # fmt: skip


def worlds() -> tuple[str, ...]:
    """Names of all worlds."""
    return tuple(_WORLDS)


def world(name: str) -> World:
    """The world of that name.

    Raises:
        DataError: when there is no such world; the message names the nearest ones.
    """
    if name not in _WORLDS:
        raise DataError(
            f"There is no world '{name}'; the nearest names are {', '.join(nearest(name, _WORLDS))}"
        )
    return _WORLDS[name]


def demo_pictures(count: int = 6, seed: int = 11) -> Sample:
    """A handful of pictures of the shapes world, of different classes as far as there are as many."""
    return world("shapes").sample(count, seed)
