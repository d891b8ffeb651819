"""The planted-evidence worlds: equal everywhere, exact masks, and nothing but the evidence tells the class."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vitscope.errors import DataError
from vitscope.worlds import Sample, demo_pictures, world, worlds
from vitscope.worlds.grounds import BRIGHTEST
from vitscope.worlds.planted import TRAINING_SEEDS

# First bytes of the SHA-256 of 20 pictures of seed 5: the same on every machine.
FINGERPRINTS = {
    "shapes": "2dbcbd7ef530a364",
    "conjunction": "8b5b792b3f39ff70",
    "redundancy": "137be6ea89d4eb82",
    "position": "42833c5973e8b25b",
    "clever-hans": "0e31fc35738df077",
}


@pytest.fixture(scope="module", params=worlds())
def sample(request: pytest.FixtureRequest) -> tuple[str, Sample]:
    return request.param, world(request.param).sample(600, seed=21)


def test_there_are_five_worlds_of_the_promised_kind() -> None:
    assert worlds() == ("shapes", "conjunction", "redundancy", "position", "clever-hans")
    assert len(world("shapes").classes) >= 10 and world("shapes").size == 96
    assert [len(world(name).part_names) for name in worlds()] == [1, 2, 2, 1, 1]


@pytest.mark.parametrize("name", worlds())
def test_equal_seeds_give_equal_bytes_on_every_machine(name: str) -> None:
    pictures = world(name).sample(20, seed=5).pictures
    assert hashlib.sha256(pictures.tobytes()).hexdigest()[:16] == FINGERPRINTS[name]


@settings(max_examples=6, deadline=None)
@given(name=st.sampled_from(worlds()), count=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_a_longer_sample_begins_with_the_shorter_one(name: str, count: int, seed: int) -> None:
    short, long = world(name).sample(count, seed), world(name).sample(count + 7, seed)
    assert np.array_equal(short.pictures, long.pictures[:count])
    assert np.array_equal(short.labels, long.labels[:count])
    assert np.array_equal(short.parts, long.parts[:count])


def test_other_seeds_give_other_pictures_and_training_seeds_are_set_apart() -> None:
    first, second = (world("shapes").sample(50, seed).pictures for seed in (1, 2))
    assert not any(np.array_equal(a, b) for a in first for b in second)
    trained = world("shapes").sample(50, TRAINING_SEEDS + 1).pictures
    assert not any(np.array_equal(a, b) for a in first for b in trained)


def test_shapes_and_types(sample: tuple[str, Sample]) -> None:
    name, drawn = sample
    parts = len(world(name).part_names)
    assert drawn.pictures.shape == drawn.stage.shape == (600, 96, 96, 3) and drawn.pictures.dtype == np.uint8
    assert drawn.masks.shape == drawn.distractors.shape == (600, 96, 96) and drawn.masks.dtype == bool
    assert drawn.parts.shape == (600, parts, 96, 96)
    assert drawn.labels.shape == (600,) and len(drawn) == 600
    assert drawn.names()[0] == world(name).classes[drawn.labels[0]]
    assert drawn.images()[0].size == (96, 96) and drawn.images()[0].mode == "RGB"


def test_every_run_of_classes_is_balanced(sample: tuple[str, Sample]) -> None:
    name, drawn = sample
    classes = len(world(name).classes)
    for start in range(0, 600 - classes, classes):
        assert sorted(drawn.labels[start : start + classes]) == list(range(classes))


def test_the_mask_is_exactly_where_painting_changed_the_picture(sample: tuple[str, Sample]) -> None:
    _, drawn = sample
    assert np.array_equal((drawn.pictures != drawn.stage).any(axis=-1), drawn.masks)


def test_parts_make_up_the_mask_and_nothing_overlaps(sample: tuple[str, Sample]) -> None:
    _, drawn = sample
    assert np.array_equal(drawn.parts.sum(axis=1), drawn.masks.astype(int))
    assert not (drawn.masks & drawn.distractors).any()
    assert drawn.parts.any(axis=(2, 3)).all(), "each part is in each picture"
    border = np.concatenate(
        [drawn.masks[:, 0], drawn.masks[:, -1], drawn.masks[:, :, 0], drawn.masks[:, :, -1]]
    )
    assert not border.any(), "no evidence is cut off by the border"


def test_taking_parts_away_restores_their_ground_alone(sample: tuple[str, Sample]) -> None:
    _, drawn = sample
    assert np.array_equal(drawn.without(), drawn.stage)
    for part in range(drawn.parts.shape[1]):
        gone = drawn.without(part)
        assert np.array_equal((gone != drawn.pictures).any(axis=-1), drawn.parts[:, part])
        assert np.array_equal(gone[drawn.parts[:, part]], drawn.stage[drawn.parts[:, part]])


def test_grounds_are_muted_so_that_objects_stand_out(sample: tuple[str, Sample]) -> None:
    _, drawn = sample
    ground = drawn.stage[~drawn.distractors]
    assert ground.max() <= BRIGHTEST
    assert drawn.distractors.any(axis=(1, 2)).mean() > 0.6


@pytest.mark.parametrize("name", worlds())
def test_what_varies_is_independent_of_the_class(name: str) -> None:
    """Chi-squared and one-way tests of every nuisance against the label; the draws are fixed, so is the verdict."""
    drawn = world(name).sample(1200, seed=77)
    by_class = [drawn.labels == label for label in range(len(drawn.classes))]
    chances: dict[str, float] = {}
    for key, values in drawn.nuisances.items():
        columns = values.reshape(len(drawn), -1).T
        for place, column in enumerate(columns):
            if name == "position" and key in ("x", "y", "distractor count", "distractor kinds"):
                continue  # the place is the class here, and a star in a corner leaves more room than one in the middle
            distinct = np.unique(column)
            if len(distinct) == 1:
                continue
            if len(distinct) <= 20:
                table = [[int((column[chosen] == value).sum()) for value in distinct] for chosen in by_class]
                chances[f"{key} {place}"] = float(stats.chi2_contingency(table).pvalue)
            else:
                chances[f"{key} {place}"] = float(
                    stats.kruskal(*(column[chosen] for chosen in by_class)).pvalue
                )
    assert len(chances) >= 5
    assert min(chances.values()) > 0.01 / len(chances), chances


def test_the_area_of_an_object_says_nothing_about_its_class() -> None:
    drawn = world("shapes").sample(2000, seed=78)
    relative = drawn.masks.sum(axis=(1, 2)) / drawn.nuisances["scale"][:, 0] ** 2
    means = np.array([relative[drawn.labels == label].mean() for label in range(10)])
    # Silhouettes have equal area; the mask adds the touched pixels of the outline, so long outlines add a little.
    assert means.max() / means.min() < 1.12


def test_a_picture_without_its_evidence_tells_nothing() -> None:
    """A linear classifier on the stage (pooled pixels and distractor places) does no better than chance."""
    from sklearn.linear_model import LogisticRegression

    drawn = world("shapes").sample(1600, seed=79)
    pooled = drawn.stage.reshape(1600, 8, 12, 8, 12, 3).mean(axis=(2, 4)).reshape(1600, -1)
    crowd = drawn.distractors.reshape(1600, 8, 12, 8, 12).mean(axis=(2, 4)).reshape(1600, -1)
    seen = np.concatenate([pooled / 128.0, crowd], axis=1)
    fitted = LogisticRegression(C=0.01, max_iter=100).fit(seen[:1100], drawn.labels[:1100])
    assert fitted.score(seen[1100:], drawn.labels[1100:]) < 0.1 + 3.0 * np.sqrt(0.09 / 500)


def test_position_is_the_cell_of_the_centre() -> None:
    drawn = world("position").sample(450, seed=3)
    column = np.floor(drawn.nuisances["x"][:, 0] / 32.0)
    row = np.floor(drawn.nuisances["y"][:, 0] / 32.0)
    assert np.array_equal(row * 3 + column, drawn.labels)


def test_marks_lie_in_every_corner_and_decide_alone() -> None:
    drawn = world("clever-hans").sample(400, seed=3)
    corner = (drawn.nuisances["x"][:, 0] > 48) * 2 + (drawn.nuisances["y"][:, 0] > 48)
    assert (np.bincount(corner.astype(int), minlength=4) > 60).all()
    assert (drawn.masks.sum(axis=(1, 2)) == 12 * 12).all()
    assert (drawn.nuisances["bystander"] >= 0).all(), "each picture holds a plausible object"


def test_what_is_left_when_a_part_goes() -> None:
    conjunction, redundancy, shapes = world("conjunction"), world("redundancy"), world("shapes")
    labels = np.arange(len(conjunction.classes))
    for part in (0, 1):
        left = conjunction.compatible(labels, part)
        assert (left.sum(axis=1) == 3).all() and left[labels, labels].all()
    assert conjunction.compatible(labels).all() and conjunction.compatible(labels, 0, 1).all()
    labels = np.arange(len(redundancy.classes))
    assert np.array_equal(redundancy.compatible(labels, 1), np.eye(len(labels), dtype=bool))
    assert shapes.compatible(np.arange(10)).all()


def test_demo_pictures_are_of_different_classes() -> None:
    drawn = demo_pictures(6)
    assert len(set(drawn.names())) == 6
    assert np.array_equal(drawn.pictures, demo_pictures(6).pictures)


@pytest.mark.parametrize(("count", "seed"), [(0, 1), (-3, 1), (4, -1)])
def test_impossible_samples_are_refused(count: int, seed: int) -> None:
    with pytest.raises(DataError, match=r"expected (count|seed) as a whole number from [01] to"):
        world("shapes").sample(count, seed)


def test_an_unknown_world_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no world 'shape'.*shapes"):
        world("shape")
