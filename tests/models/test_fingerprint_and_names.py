"""What names a model's weights, and what names its classes."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from vitscope.errors import ModelError
from vitscope.models import fingerprint, imagenet_names
from vitscope.models.opening.class_names import as_class_names, from_id2label, imagenet_wnids


def build(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def by_hand(module: nn.Module) -> str:
    text = b""
    for name, value in sorted(module.state_dict().items()):
        text += f"{name}|{value.dtype}|{tuple(value.shape)}|".encode() + value.numpy().tobytes()
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def test_equals_the_formula() -> None:
    assert fingerprint(build()) == by_hand(build()) and len(fingerprint(build())) == 16


def test_the_same_for_the_same_weights_however_wrapped() -> None:
    module = build()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    marks = {
        fingerprint(m)
        for m in (module, build(), nn.DataParallel(module), torch.compile(module), module.train())
    }
    assert len(marks) == 1
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_another_for_any_change() -> None:
    marks = {
        fingerprint(build()),
        fingerprint(build(1)),
        fingerprint(build().half()),
        fingerprint(build().bfloat16()),
    }
    one_bit = build()
    with torch.no_grad():
        one_bit[2].bias[1] = torch.nextafter(one_bit[2].bias[1], torch.tensor(9.0))
    transposed = build()
    transposed[0].weight = nn.Parameter(transposed[0].weight.T.reshape(4, 3))
    renamed = nn.ModuleDict({str(index): part for index, part in enumerate(build(), start=1)})
    assert len(marks | {fingerprint(one_bit), fingerprint(transposed), fingerprint(renamed)}) == 7


def test_no_values_yet() -> None:
    with pytest.raises(ModelError, match="meta device"):
        fingerprint(nn.Linear(2, 2, device="meta"))


def test_imagenet_names_ship_with_the_package() -> None:
    names = imagenet_names()
    assert len(names) == len(set(names)) == 1000 and len(set(imagenet_wnids())) == 1000
    assert (names[0], names[207], names[999]) == ("tench", "golden retriever", "toilet tissue")
    assert imagenet_wnids()[207] == "n02099601"
    names.append("mine")
    assert len(imagenet_names()) == 1000


def test_imagenet_names_agree_with_the_photographs(assets: Path) -> None:
    with (assets / "images" / "sample" / "labels.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        index = int(row["class_index"])
        assert (
            imagenet_wnids()[index] == row["wnid"] and imagenet_names()[index].lower() == row["name"].lower()
        )


def test_class_names_in_every_form(tmp_path: Path) -> None:
    wanted = ["cat", "dog"]
    (tmp_path / "names.txt").write_text("cat\ndog\n\n", encoding="utf-8")
    (tmp_path / "names.json").write_text(json.dumps(wanted))
    (tmp_path / "table.json").write_text(json.dumps({"1": "dog", "0": "cat"}))
    for form in (wanted, ("cat", "dog"), {0: "cat", 1: "dog"}, tmp_path / "names.txt", str(tmp_path / "names.json"),
                 tmp_path / "table.json"):  # fmt: skip
        assert as_class_names(form, 2) == wanted
    assert as_class_names("imagenet", 1000) == imagenet_names()


def test_class_names_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    for form, says in (
        (["cat"], "3 classes but 1"), ({0: "a", 5: "b"}, "indices 0 to 1"), (3, "got int"),
        (tmp_path / "none.txt", "cannot be read"), (tmp_path / "bad.json", "not UTF-8 text or valid JSON"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match=says):
            as_class_names(form, 3)


def test_automatic_labels_are_no_names() -> None:
    assert from_id2label({0: "LABEL_0", 1: "LABEL_1"}) is None
    assert from_id2label({"1": "b", "0": "a"}) == ["a", "b"]
    assert from_id2label({}) is None and from_id2label({3: "a"}) is None
