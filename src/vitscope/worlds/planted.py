"""Planted-evidence worlds: pictures whose evidence is known by construction, drawn by code from a seed.

`world("shapes").sample(100, seed=3)` gives pictures, labels and the exact mask of what decides the label. Whatever
else varies (size, place, turn, colour, ground, number and kinds of distractors) is drawn without looking at the label.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitscope.errors import DataError, nearest
from vitscope.options.bounds import Count, Range, Seed
from vitscope.options.door import checked
from vitscope.worlds.painting import MARKS
from vitscope.worlds.scenes import SIZE, Draws, Recipe, draw_scenes
from vitscope.worlds.silhouettes import OBJECTS

TRAINING_SEEDS: Final = (
    2**40
)  # the bundled models were trained on seeds from here on; samples to test on use smaller ones
CHUNK: Final = 256  # pictures drawn at a time, to bound the memory; what is drawn does not depend on it


@dataclass(frozen=True)
class Sample:
    """Pictures of a world, with their labels and the exact masks of the evidence.

    Made by :meth:`World.sample`. It can be passed wherever vitscope takes pictures; labels and masks come with it.

    Args:
        pictures: (n, 96, 96, 3) uint8, RGB.
        labels: (n,) int64, class indices into ``classes``.
        masks: (n, 96, 96) bool, the evidence: the union of its parts.
        parts: (n, parts, 96, 96) bool, each piece of the evidence; pieces never overlap.
        distractors: (n, 96, 96) bool, objects that say nothing about the label.
        stage: (n, 96, 96, 3) uint8, the same pictures before the evidence was painted.
        classes: Names of the classes.
        nuisances: What was drawn at random without looking at the label, by name, each (n,) or (n, k).

    Example:
        >>> import vitscope as vs
        >>> sample = vs.worlds.world("shapes").sample(4, seed=1)
        >>> len(sample), sample.pictures.shape, sample.masks.shape
        (4, (4, 96, 96, 3), (4, 96, 96))
        >>> sample.names()
        ['heart', 'plus', 'ring', 'square']
    """

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
        """The pictures with some parts of the evidence taken away, the ground shown in their place.

        Args:
            parts: Indices of the parts to take away; none given takes away all of them.

        Returns:
            (n, 96, 96, 3) uint8.
        """
        gone = np.asarray(self.parts[:, list(parts)].any(axis=1)) if parts else self.masks
        return np.where(gone[..., None], self.stage, self.pictures)

    def images(self) -> list[Image.Image]:
        """The n pictures as Pillow images, RGB, 96 x 96 pixels."""
        return [Image.fromarray(picture) for picture in self.pictures]

    def names(self) -> list[str]:
        """The class name of each of the n pictures."""
        return [self.classes[label] for label in self.labels]


@dataclass(frozen=True)
class World:
    """A kind of picture whose evidence is known by construction.

    Get one by name with :func:`world`, and pictures of it with :meth:`sample`.

    Args:
        name: Its name.
        classes: Names of the classes, in the order of the labels.
        description: What decides the class, in a sentence.
        part_names: Names of the pieces of evidence, in the order of ``Sample.parts``.
        recipe: How its pictures are drawn.

    Example:
        >>> import vitscope as vs
        >>> world = vs.worlds.world("conjunction")
        >>> world.part_names, len(world.classes), world.size
        (('first object', 'second object'), 9, 96)
    """

    name: str
    classes: tuple[str, ...]
    description: str
    part_names: tuple[str, ...]
    recipe: Recipe = field(repr=False)

    @property
    def size(self) -> int:
        """The height and width of a picture, in pixels."""
        return SIZE

    def compatible(self, labels: NDArray[np.int64], *gone: int) -> NDArray[np.bool_]:
        """Which classes the remaining evidence still allows, once some parts are taken away.

        Args:
            labels: (n,) int64, the class of each picture.
            gone: Indices of the parts that are taken away; none given takes away all, and every class is allowed.

        Returns:
            (n, classes) bool.
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

    @checked(DataError)
    def sample(self, count: Count, seed: Annotated[int, Range(0, 2**63 - 1)] = 0) -> Sample:
        """Draw pictures with their truth: the same for the same seed on every machine.

        A longer sample begins with the pictures of a shorter one. Labels are balanced: every run of len(classes)
        pictures holds each class once, in random order.

        Args:
            count: How many pictures, 1 or more.
            seed: 0 or more. The bundled models were trained on seeds from 2^40 on.

        Returns:
            The pictures with labels, masks and all that was drawn at random.

        Raises:
            DataError: count below 1, or a negative seed.
        """
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
    """Names of all planted-evidence worlds.

    Returns:
        The names, in a fixed order.

    Example:
        >>> import vitscope as vs
        >>> vs.worlds.worlds()
        ('shapes', 'conjunction', 'redundancy', 'position', 'clever-hans')
    """
    return tuple(_WORLDS)


@checked(DataError)
def world(name: str) -> World:
    """The planted-evidence world of a name.

    Args:
        name: One of :func:`worlds`.

    Returns:
        The world, from which pictures are drawn.

    Raises:
        DataError: There is no such world; the message gives the nearest names.

    Example:
        >>> import vitscope as vs
        >>> vs.worlds.world("clever-hans").part_names
        ('mark',)
    """
    if name not in _WORLDS:
        raise DataError(
            f"There is no world '{name}'; the nearest names are {', '.join(nearest(name, _WORLDS))}"
        )
    return _WORLDS[name]


@checked(DataError)
def demo_pictures(count: Count = 6, seed: Seed = 11) -> Sample:
    """A few pictures of the shapes world, of different classes as long as there are enough classes.

    Args:
        count: How many pictures, 1 or more.
        seed: 0 or more.

    Returns:
        The pictures with labels and masks.

    Raises:
        DataError: count below 1, or a negative seed.

    Example:
        >>> import vitscope as vs
        >>> len(set(vs.worlds.demo_pictures(6).names()))
        6
    """
    return world("shapes").sample(count, seed)
