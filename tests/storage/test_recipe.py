"""The identity of a result: what changes it, what does not, and how the identities of shards add up."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vitscope.errors import RecipeError, StorageError
from vitscope.storage.recipe import Recipe, add_digests, digest_of, pictures_digest, plain, truth_digest

ONE = Recipe(
    "evaluate",
    {"source": "timm/x", "fingerprint": "a" * 16, "precision": "float32"},
    {"methods": {"gmar": {"norm": "l1", "alpha": 0.5}}, "steps": 20},
    "top1",
    pictures_digest(["a", "b"], ["01", "02"]),
    {"labels": truth_digest(["a", "b"], [3, 4])},
    2,
    {"torch": "2.6"},
)


def test_every_field_is_part_of_the_digest() -> None:
    others = [
        replace(ONE, analysis="explain"),
        replace(ONE, model={**ONE.model, "fingerprint": "b" * 16}),
        replace(ONE, options={"methods": {"gmar": {"norm": "l2", "alpha": 0.5}}, "steps": 20}),
        replace(ONE, target="label"),
        replace(ONE, pictures=pictures_digest(["a", "b"], ["01", "03"])),
        replace(ONE, truth={"labels": truth_digest(["a", "b"], [4, 3])}),
        replace(ONE, count=3),
        replace(ONE, versions={"torch": "2.7"}),
    ]
    assert len({each.digest for each in (ONE, *others)}) == 9
    # Shards differ in their pictures and in nothing else.
    assert [each.shard_digest == ONE.shard_digest for each in others] == [False] * 4 + [True] * 3 + [False]


def test_the_order_and_kind_of_plain_values_do_not_matter() -> None:
    same = Recipe(
        "evaluate",
        dict(reversed(ONE.model.items())),
        {"steps": np.int64(20), "methods": {"gmar": {"alpha": np.float64(0.5), "norm": "l1"}}},
        "top1",
        pictures_digest(["b", "a"], ["02", "01"]),
        {"labels": truth_digest(["b", "a"], torch.tensor([4, 3]))},
        2,
        {"torch": "2.6"},
    )
    assert same == ONE and same.digest == ONE.digest and hash(same) == hash(ONE)
    assert Recipe("e", options={"alpha": 1}).digest == Recipe("e", options={"alpha": 1.0}).digest
    assert Recipe("e", options={"alpha": True}).digest != Recipe("e", options={"alpha": 1}).digest
    assert Recipe("e", options={"size": (1, 2)}).digest == Recipe("e", options={"size": [1, 2]}).digest


def test_through_json_and_back() -> None:
    again = Recipe.from_dict(json.loads(json.dumps(ONE.to_dict())))
    assert again == ONE and again.digest == ONE.digest


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"analysis": 3},
        {"analysis": "e", "more": 1},
        {"analysis": "e", "count": True},
        [],
        {"options": {}},
    ],
)
def test_another_record_is_refused(record: Any) -> None:
    with pytest.raises(StorageError, match="recipe"):
        Recipe.from_dict(record)


def test_differences_are_told_in_words() -> None:
    other = replace(
        ONE,
        model={**ONE.model, "fingerprint": "b" * 16},
        options={"methods": {"gmar": {"norm": "l2"}}, "steps": 20},
        pictures="0" * 32,
        truth={"labels": "0" * 32},
    )
    assert ONE.differences(other) == [
        f"weights: '{'a' * 16}' against '{'b' * 16}'",
        "options.methods.gmar.norm: 'l1' against 'l2'",
        "options.methods.gmar.alpha: 0.5 against none",
        "other pictures (their contents or names)",
        "other labels",
    ]
    assert ONE.differences(ONE) == []
    ONE.require_equal(replace(ONE))
    with pytest.raises(RecipeError, match=r"two boards of different recipes .*'l1' against 'l2'") as told:
        ONE.require_equal(other, "two boards")
    assert "\n" not in str(told.value)


def test_shards_add_up_to_the_whole_in_any_order() -> None:
    keys, ids, labels = list("abcd"), list("1234"), [0, 1, 0, 1]

    def part(*places: int) -> Recipe:
        names = [keys[i] for i in places]
        digest = pictures_digest(names, [ids[i] for i in places])
        return replace(
            ONE,
            pictures=digest,
            truth={"labels": truth_digest(names, [labels[i] for i in places])},
            count=len(places),
        )

    whole = part(0, 1, 2, 3)
    assert part(0).merged(part(1, 2), part(3)) == whole == part(3, 1).merged(part(2, 0))
    assert part(0).merged() == part(0)
    with pytest.raises(RecipeError, match="steps: 20 against 21"):
        part(0).merged(replace(part(1), options={**ONE.options, "steps": 21}))
    with pytest.raises(RecipeError, match="labels known of one only"):
        part(0).merged(replace(part(1), truth={}))


def test_digests_by_hand() -> None:
    import xxhash

    one, two = (int(xxhash.xxh3_128_hexdigest(text), 16) for text in (b'["a","01"]', b'["b","02"]'))
    assert pictures_digest(["a", "b"], ["01", "02"]) == f"{(one + two) % 2**128:032x}"
    assert add_digests("f" * 32, "1") == "0" * 32
    # A name and a content do not run into each other, and each belongs to its own.
    assert pictures_digest(["a"], ["b1"]) != pictures_digest(["ab"], ["1"])
    assert pictures_digest(["a", "b"], ["1", "2"]) != pictures_digest(["a", "b"], ["2", "1"])


@given(st.lists(st.text(max_size=4), min_size=2, max_size=6, unique=True), st.data())
@settings(max_examples=30, deadline=None)
def test_any_split_adds_up(keys: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(keys)))
    order = data.draw(st.permutations(keys))
    parts = (order[:cut], order[cut:])
    sums = [pictures_digest(part, [hashlib.md5(k.encode()).hexdigest() for k in part]) for part in parts]
    assert add_digests(*sums) == pictures_digest(keys, [hashlib.md5(k.encode()).hexdigest() for k in keys])


def test_arrays_count_by_type_shape_and_every_byte() -> None:
    values = np.arange(6, dtype=np.float32)
    kinds = [values, values.astype(np.float64), values.reshape(2, 3), values[::-1], values.astype(np.int32)]
    assert len({digest_of(each) for each in kinds}) == 5
    assert digest_of(values) == digest_of(torch.from_numpy(values))
    assert digest_of(torch.arange(6).float()[::2]) == digest_of(torch.tensor([0.0, 2.0, 4.0]))
    assert plain(torch.tensor(3.0)) == 3 and plain(np.bool_(True)) is True
    assert plain(np.array([1, "a", None], dtype=object)) == [1, "a", None]
    with pytest.raises(TypeError):
        plain(np.array([object(), 1], dtype=object))
    assert digest_of(torch.zeros(2, dtype=torch.bfloat16)) != digest_of(torch.zeros(2, dtype=torch.float16))


def adding(amount: float) -> Callable[[float], float]:
    return lambda value: value + amount


def test_functions_count_by_what_they_do() -> None:
    assert digest_of(adding(1)) == digest_of(adding(1)) != digest_of(adding(2))
    assert digest_of(lambda x: x + 1) != digest_of(lambda x: x - 1)
    linear = torch.nn.Linear(2, 1)
    before = digest_of(linear)
    linear.weight.data += 1
    assert digest_of(linear) != before
    with pytest.raises(TypeError, match="object cannot be part of a recipe"):
        plain(object())


def test_a_function_has_one_digest_in_every_process(tmp_path: Path) -> None:
    # Sets of texts are laid out in another order in every process.
    (tmp_path / "sets.py").write_text("def f(x):\n    return x in {'a', 'b', 'c', 'd', 'e'}\n")
    line = "import sets; from vitscope.storage.recipe import digest_of; print(digest_of(sets.f))"
    root = Path(__file__).parents[2] / "src"
    marks = {
        subprocess.run(
            [sys.executable, "-c", line],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": f"{tmp_path}:{root}", "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2)
    }
    assert len(marks) == 1


def test_the_record_needs_no_heavy_library() -> None:
    line = "import sys, vitscope.storage.recipe; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
