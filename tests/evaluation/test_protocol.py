"""The protocol: frozen, hashed, and the gate of every table."""

from __future__ import annotations

import dataclasses
import json

import pytest

from vitscope.errors import EvaluationError
from vitscope.evaluation import Protocol, all_metrics, get_metric
from vitscope.storage.recipe import Recipe, pictures_digest, truth_digest

MADE = Recipe(
    "evaluate",
    {"fingerprint": "a"},
    {"methods": {"gmar": {"norm": "l1"}}},
    "top1",
    pictures_digest("abc", "123"),
    {"labels": truth_digest("abc", [0, 1, 2])},
    3,
    {"torch": "1"},
)


def test_frozen_and_hashed() -> None:
    protocol = Protocol()
    with pytest.raises(dataclasses.FrozenInstanceError):
        protocol.steps = 3  # type: ignore[misc]
    assert hash(protocol) == hash(Protocol())
    assert protocol.digest == Protocol().digest


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Protocol)])
def test_every_field_counts(field: str) -> None:
    other = {
        "removal": "blur", "score": "probability", "target": 3, "steps": 7, "seed": 1, "random_draws": 3, "mosaic": 3,
        "upsampling": "nearest", "mean_colour": (0.1, 0.2, 0.3), "grid": (3, 3),
        "recipe": dataclasses.replace(MADE, model={"fingerprint": "b"}),
    }  # fmt: skip
    plain = Protocol(recipe=MADE)
    changed = dataclasses.replace(plain, **{field: other[field]})
    assert changed.digest != plain.digest and changed.shard_digest != plain.shard_digest
    assert len(plain.differences(changed)) == 1
    with pytest.raises(
        EvaluationError, match=f"cannot share a table.*{'weights' if field == 'recipe' else field}"
    ):
        plain.require_equal(changed)
    with pytest.raises(EvaluationError, match="cannot be added"):
        plain.merged(changed)


@pytest.mark.parametrize(
    ("changed", "words", "is_shard"),
    [
        (
            {"options": {"methods": {"gmar": {"norm": "l2"}}}},
            r"options\.methods\.gmar\.norm: 'l1' against 'l2'",
            False,
        ),
        (
            {"options": {"methods": {"gmar": {"norm": "l1"}, "gae": {}}}},
            "gae: {} against|none against {}",
            False,
        ),
        ({"versions": {"torch": "2"}}, "versions.torch: '1' against '2'", False),
        ({"pictures": "1" * 32}, "other pictures", True),
        ({"truth": {"labels": "1" * 32}}, "other labels", True),
        ({"count": 4}, "number of pictures: 3 against 4", True),
        ({"truth": {}}, "labels known of one only", False),
    ],
)
def test_what_the_recipe_says_counts(changed: dict[str, object], words: str, is_shard: bool) -> None:
    first = Protocol(recipe=MADE)
    second = Protocol(recipe=dataclasses.replace(MADE, **changed))  # type: ignore[arg-type]
    assert first.digest != second.digest
    with pytest.raises(EvaluationError, match=words):
        first.require_equal(second)
    assert (first.shard_digest == second.shard_digest) == is_shard
    if is_shard:
        assert first.merged(second).pictures == 3 + second.pictures
    else:
        with pytest.raises(EvaluationError, match=words):
            first.merged(second)


def test_what_is_said_of_the_run_comes_from_the_recipe() -> None:
    protocol = Protocol(recipe=MADE)
    assert (protocol.pictures, protocol.model, protocol.images) == (3, "a", MADE.pictures)
    assert protocol.versions == {"torch": "1"}
    assert (Protocol().pictures, Protocol().model, Protocol().images, Protocol().versions) == (0, "", "", {})


def test_through_json() -> None:
    protocol = Protocol(mean_colour=(0.1, 0.2, 0.3), grid=(7, 7), recipe=MADE, target=4)
    again = Protocol.from_dict(json.loads(json.dumps(protocol.to_dict())))
    assert again == protocol
    with pytest.raises(EvaluationError, match="no field colour"):
        Protocol.from_dict({"colour": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"removal": "grey"},
        {"score": "loss"},
        {"target": -1},
        {"steps": 0},
        {"random_draws": 0},
        {"mosaic": 1},
        {"steps": 10**18},
        {"random_draws": 10**18},
        {"mosaic": 10**18},
        {"seed": 10**40},
    ],
)
def test_what_it_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(EvaluationError, match="expected"):
        Protocol(**wrong)  # type: ignore[arg-type]


def test_digests_of_shards_add_up() -> None:
    keys = [f"p{i}" for i in range(9)]

    def part(names: list[str]) -> Protocol:
        return Protocol(recipe=Recipe("evaluate", pictures=pictures_digest(names, names), count=len(names)))

    merged = part(keys[:4]).merged(part(keys[6:]), part(keys[4:6]))
    assert merged == part(keys[::-1]) and merged.pictures == 9
    assert part(keys[:4]).images != part(keys[4:]).images
    assert Protocol().merged(Protocol()) == Protocol()


def test_metrics_are_listed_alike_whatever_was_imported_first(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [info.name for info in all_metrics()]
    assert names[:3] == ["srg", "mif", "lif"] and names[-1] == "flow-block-90"
    registered = {name: get_metric(name) for name in sorted(names)}
    monkeypatch.setattr("vitscope.evaluation.metric._METRICS", registered)
    families = [info.function.__module__ for info in all_metrics()]
    assert list(dict.fromkeys(families)) == list(
        dict.fromkeys(get_metric(n).function.__module__ for n in names)
    )
