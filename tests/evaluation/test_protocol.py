"""The protocol: frozen, hashed, and the gate of every table."""

from __future__ import annotations

import dataclasses
import json

import pytest

from vitscope.errors import EvaluationError
from vitscope.evaluation.protocol import Protocol, pictures_digest


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
        "upsampling": "nearest", "mean_colour": (0.1, 0.2, 0.3), "images": "1" * 32, "pictures": 5, "model": "m",
        "precision": "bf16", "preprocessing": "p", "grid": (3, 3), "versions": (("torch", "1"),),
    }  # fmt: skip
    changed = dataclasses.replace(Protocol(), **{field: other[field]})
    assert changed.digest != Protocol().digest
    assert len(Protocol().differences(changed)) == 1
    with pytest.raises(EvaluationError, match=f"cannot share a table.*{field}"):
        Protocol().require_equal(changed)
    if field in ("images", "pictures"):
        assert changed.shard_digest == Protocol().shard_digest
    else:
        with pytest.raises(EvaluationError, match="cannot be added"):
            Protocol().merged(changed)


def test_through_json() -> None:
    protocol = Protocol(mean_colour=(0.1, 0.2, 0.3), grid=(7, 7), versions=(("torch", "2"),), target=4)
    again = Protocol.from_dict(json.loads(json.dumps(protocol.to_dict())))
    assert again == protocol
    with pytest.raises(EvaluationError, match="no field colour"):
        Protocol.from_dict({"colour": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"removal": "grey"},
        {"score": "loss"},
        {"target": "second"},
        {"steps": 0},
        {"random_draws": 0},
        {"mosaic": 1},
    ],
)
def test_what_it_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(EvaluationError, match="expected"):
        Protocol(**wrong)  # type: ignore[arg-type]


def test_digests_of_shards_add_up() -> None:
    keys = [f"p{i}" for i in range(9)]
    first = Protocol(images=pictures_digest(keys[:4]), pictures=4)
    second = Protocol(images=pictures_digest(keys[4:]), pictures=5)
    merged = first.merged(second)
    assert merged.images == pictures_digest(reversed(keys))
    assert merged.pictures == 9
    assert pictures_digest(keys[:4]) != pictures_digest(keys[4:])
