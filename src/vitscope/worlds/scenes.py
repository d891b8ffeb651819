"""Drawing the scenes of a planted-evidence world: ground, distractors, then the evidence on top of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitscope.worlds import grounds
from vitscope.worlds.painting import MARK_SIDE, NUMBERS, Things, paint, paint_marks
from vitscope.worlds.placing import CANDIDATES, Floats, Placed, nothing_placed, place_beside, place_group
from vitscope.worlds.silhouettes import DISTRACTORS, KINDS, OBJECTS, templates

SIZE: Final = 96  # pixels along a side of every world's pictures
OBJECT_REACH: Final = (
    0.9  # no object is wider than this circumradius at scale 1; room is kept for the widest of all
)
DISTRACTOR_SCALES: Final = (15.0, 21.0)
# Where the centre of an object may lie in the left, middle and right third of a picture: well inside, never cut off.
THIRDS: Final = ((16.0, 34.0, 66.0), (30.0, 62.0, 80.0))


@dataclass(frozen=True)
class Recipe:
    """What a world paints. `kinds[c]` are the silhouettes that make class c, one per part; empty: a corner mark."""

    kinds: tuple[tuple[str, ...], ...] = ()
    scales: tuple[float, float] = (17.0, 24.0)  # square root of an object's area, in pixels
    distractors: tuple[int, int] = (
        1,
        3,
    )  # fewest and most that are tried; one that finds no room is left out
    bystander: bool = False  # a plausible object that says nothing about the class
    by_place: bool = (
        False  # class c is the c-th cell of a 3 x 3 grid, row by row, that the object's centre lies in
    )

    @property
    def parts(self) -> int:
        return len(self.kinds[0]) if self.kinds else 1


class Draws:
    """Named streams of random numbers: what one stream is asked never changes what another one answers."""

    NAMES: Final = (
        *("order", "ground", "lattice", "grain", "count", "parts", "places", "bystander"),
        *(f"distractor {slot}" for slot in range(8)),
    )

    def __init__(self, world: int, seed: int) -> None:
        self._generators = {
            name: np.random.Generator(np.random.PCG64([world, seed, stream]))
            for stream, name in enumerate(self.NAMES)
        }

    def random(self, name: str, *shape: int) -> Floats:
        """Uniform numbers in [0, 1); the first axis counts pictures, so a longer draw begins with a shorter one."""
        return self._generators[name].random(shape)

    def bytes(self, name: str, *shape: int) -> NDArray[np.uint8]:
        return np.frombuffer(self._generators[name].bytes(int(np.prod(shape))), dtype=np.uint8).reshape(shape)


@dataclass(frozen=True)
class Scene:
    """n drawn pictures with their masks, and what was drawn at random beside the class."""

    pictures: NDArray[np.uint8]
    stage: NDArray[np.uint8]  # the pictures before the evidence was painted
    parts: NDArray[np.bool_]  # (n, parts, size, size)
    distractors: NDArray[np.bool_]
    nuisances: dict[str, Floats]


def draw_scenes(recipe: Recipe, labels: NDArray[np.int64], draws: Draws) -> Scene:
    """Draw one picture per label (n,)."""
    count = len(labels)
    numbers = draws.random("ground", count, grounds.NUMBERS + 1)
    ground = (numbers[:, -1] * len(grounds.GROUNDS)).astype(np.intp)
    lattice = draws.random("lattice", count, grounds.LATTICE, grounds.LATTICE).astype(np.float32)
    stage = grounds.draw_grounds(ground, numbers, lattice, draws.bytes("grain", count, SIZE, SIZE))

    nuisances: dict[str, Floats] = {"ground": ground.astype(np.float64), "ground hue": numbers[:, 2]}
    evidence, corners, taken = _place_evidence(recipe, labels, draws)
    distractors = _paint_distractors(recipe, stage, taken, draws, nuisances)
    pictures = stage.copy()
    if corners is None:
        parts = np.stack([paint(pictures, things) for things in evidence], axis=1)
    else:
        parts = paint_marks(pictures, labels.astype(np.intp), corners[0], corners[1], evidence[0].looks)[
            :, None
        ]
    nuisances |= {
        "x": np.stack([things.x for things in evidence], axis=1).astype(np.float64),
        "y": np.stack([things.y for things in evidence], axis=1).astype(np.float64),
        "scale": np.stack([things.scale for things in evidence], axis=1).astype(np.float64),
        "turn": np.stack([things.looks[:, 0] for things in evidence], axis=1),
        "hue": np.stack([things.looks[:, 1] for things in evidence], axis=1),
    }
    return Scene(pictures, stage, parts, distractors, nuisances)


Corners = tuple[NDArray[np.intp], NDArray[np.intp]]


def _place_evidence(
    recipe: Recipe, labels: NDArray[np.int64], draws: Draws
) -> tuple[list[Things], Corners | None, Placed]:
    """Where and how the evidence will be painted; nothing here but the silhouettes (or the cell) knows the label."""
    count, parts = len(labels), recipe.parts
    looks = draws.random("parts", count, parts, NUMBERS + 1)
    tries = draws.random("places", count, CANDIDATES, parts, 2)
    if not recipe.kinds:
        return _place_marks(looks[:, 0], tries[:, 0, 0])
    low, high = recipe.scales
    scale = low + (high - low) * looks[..., NUMBERS]
    margin = high * OBJECT_REACH + 0.5
    if recipe.by_place:
        starts, ends = (np.array(bound) for bound in THIRDS)
        column, row = labels % 3, labels // 3
        x = starts[column, None, None] + (ends - starts)[column, None, None] * tries[..., 0]
        y = starts[row, None, None] + (ends - starts)[row, None, None] * tries[..., 1]
    else:
        x, y = (margin + (SIZE - 2.0 * margin) * tries[..., axis] for axis in (0, 1))
    radius = scale * OBJECT_REACH
    x, y, fits = place_group(x, y, radius)
    # No arrangement fitted (never seen for the shipped worlds): put the parts along the diagonal.
    diagonal = np.linspace(margin, SIZE - margin, parts)
    x, y = np.where(fits[:, None], x, diagonal), np.where(fits[:, None], y, diagonal)
    kinds = np.array([[KINDS.index(name) for name in names] for names in recipe.kinds], dtype=np.intp)[labels]
    evidence = [
        Things(kinds[:, part], x[:, part].astype(np.float32), y[:, part].astype(np.float32),
               scale[:, part].astype(np.float32), looks[:, part, :NUMBERS])
        for part in range(parts)
    ]  # fmt: skip
    return evidence, None, nothing_placed(count).also(x, y, radius)


def _place_marks(looks: Floats, numbers: Floats) -> tuple[list[Things], Corners, Placed]:
    """A mark 2 to 5 pixels away from the sides of one of the four corners."""
    corner = (numbers[:, 0] * 4.0).astype(np.intp)
    inset = 2 + (numbers[:, 1] * 16.0).astype(np.intp)
    far = SIZE - MARK_SIDE
    left = np.where(corner % 2 == 0, 2 + (inset - 2) % 4, far - 2 - (inset - 2) % 4)
    top = np.where(corner // 2 == 0, 2 + (inset - 2) // 4, far - 2 - (inset - 2) // 4)
    x, y = left + MARK_SIDE / 2.0, top + MARK_SIDE / 2.0
    side = np.full(len(looks), float(MARK_SIDE))
    things = Things(
        np.full(len(looks), -1, dtype=np.intp), x.astype(np.float32), y.astype(np.float32),
        side.astype(np.float32), looks[:, :NUMBERS],
    )  # fmt: skip
    return [things], (left, top), nothing_placed(len(looks)).also(x, y, side * 0.75)


def _paint_distractors(
    recipe: Recipe, stage: NDArray[np.uint8], taken: Placed, draws: Draws, nuisances: dict[str, Floats]
) -> NDArray[np.bool_]:
    """Paint bystander and distractors on the stage, in place, beside what is taken; returns where they are."""
    count = len(stage)
    mask = np.zeros(stage.shape[:3], dtype=bool)
    if recipe.bystander:
        things, taken = _place_one(
            "bystander", OBJECTS, recipe.scales, np.ones(count, dtype=bool), taken, draws
        )
        mask |= paint(stage, things)
        nuisances["bystander"] = things.kind.astype(np.float64)
    fewest, most = recipe.distractors
    wanted = fewest + (draws.random("count", count) * (most - fewest + 1)).astype(np.intp)
    kinds = np.full((count, most), -1.0)
    for slot in range(most):
        things, taken = _place_one(
            f"distractor {slot}", DISTRACTORS, DISTRACTOR_SCALES, slot < wanted, taken, draws
        )
        mask |= paint(stage, things)
        kinds[:, slot] = things.kind
    nuisances["distractor kinds"] = kinds
    nuisances["distractor count"] = (kinds >= 0).sum(axis=1).astype(np.float64)
    return mask


def _place_one(
    stream: str, names: tuple[str, ...], scales: tuple[float, float], wanted: NDArray[np.bool_], taken: Placed,
    draws: Draws,
) -> tuple[Things, Placed]:  # fmt: skip
    """One object of a random kind where it is wanted and finds room."""
    count = len(wanted)
    looks = draws.random(stream, count, NUMBERS + 2 + 2 * CANDIDATES)
    kind = np.array([KINDS.index(name) for name in names], dtype=np.intp)[
        (looks[:, 6] * len(names)).astype(np.intp)
    ]
    scale = scales[0] + (scales[1] - scales[0]) * looks[:, 7]
    radius = scale * templates()[1][kind].astype(np.float64)
    margin = (radius + 0.5)[:, None]
    tries = looks[:, NUMBERS + 2 :].reshape(count, CANDIDATES, 2)
    x, y = (margin + (SIZE - 2.0 * margin) * tries[..., axis] for axis in (0, 1))
    x, y, fits = place_beside(taken, x, y, radius)
    present = fits & wanted
    things = Things(
        np.where(present, kind, -1), x.astype(np.float32), y.astype(np.float32), scale.astype(np.float32),
        looks[:, :NUMBERS],
    )  # fmt: skip
    nowhere = np.full(count, np.inf)
    return things, taken.also(
        np.where(present, x, nowhere), np.where(present, y, nowhere), np.where(present, radius, 0.0)
    )
