"""Tensors, tables and documents: they come back as they were, and whatever was changed is told."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from vitscope.errors import OutputError, StorageError
from vitscope.storage import documents, folders, tables, tensors

NOTE = {"model": "näme\udcff", "size": [2, 3], "rate": 0.1, "none": None, "big": 10**30}


def test_tensors_come_back_bit_equal(tmp_path: Path) -> None:
    given = {
        "half": torch.tensor([1.5, float("nan"), float("-inf")], dtype=torch.float16),
        "brain": torch.tensor([[1.5], [-0.0]], dtype=torch.bfloat16),
        "double": torch.tensor(0.1, dtype=torch.float64),
        "whole": torch.tensor([2**62, -1]),
        "truth": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
        "array": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
    }
    path = tensors.save(tmp_path / "x", "example", given, NOTE)
    assert path == tmp_path / "x.safetensors"
    found, note = tensors.load(path, "example")
    assert note == NOTE
    assert list(found) == list(given)
    for name, value in given.items():
        expected = value if isinstance(value, torch.Tensor) else torch.from_numpy(value.copy())
        assert found[name].dtype == expected.dtype and found[name].shape == expected.shape
        # Bit by bit, so that NaN and minus zero count.
        assert found[name].reshape(-1).view(torch.uint8).equal(expected.reshape(-1).view(torch.uint8))


def test_tensors_that_share_memory_are_stored_whole(tmp_path: Path) -> None:
    flow = torch.arange(12.0).reshape(2, 1, 2, 3)
    given = {"flow": flow, "maps": flow[:, 0], "one": flow[:1], "turned": flow.transpose(0, 3), "again": flow}
    found, _ = tensors.load(tensors.save(tmp_path / "x", "example", given, {}), "example")
    assert all(found[name].equal(value) for name, value in given.items())


def test_other_programs_read_the_file_and_can_check_it(tmp_path: Path) -> None:
    path = tensors.save(tmp_path / "x", "example", {"a": torch.tensor([1.0, 2.0])}, {"by": "hand"})
    assert safetensors.torch.load_file(path)["a"].tolist() == [1.0, 2.0]
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    document = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["vitscope"])
    checksum = document.pop("checksum")
    assert document == {
        "format": "vitscope",
        "kind": "example",
        "version": 1,
        "names": ["a"],
        "note": {"by": "hand"},
    }
    blanked = content.replace(checksum.encode(), b"0" * 64)
    assert hashlib.sha256(blanked).hexdigest() == checksum


def test_the_same_result_makes_the_same_bytes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    assert tensors.encode("k", {"a": torch.ones(2)}, NOTE) == tensors.encode("k", {"a": torch.ones(2)}, NOTE)
    assert tables.encode(frame, "k", NOTE) == tables.encode(frame, "k", NOTE)


def test_a_note_longer_than_a_header_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "LONG", 1000)
    note = {"pictures": [f"picture {i}" for i in range(1000)]}
    path = tensors.save(tmp_path / "x", "example", {"a": torch.ones(1)}, note)
    found, back = tensors.load(path, "example")
    assert back == note and list(found) == ["a"]
    assert len(path.read_bytes()[8:].split(b"}}")[0]) < 1000


def test_what_has_no_form_in_a_file_is_refused(tmp_path: Path) -> None:
    for bad in (torch.ones(2).to_sparse(), torch.ones(2, device="meta")):
        with pytest.raises(OutputError, match="cannot write"):
            tensors.save(tmp_path / "x", "example", {"a": bad}, {})
    with pytest.raises(OutputError, match="cannot write"):
        tensors.save(tmp_path / "x", "example", {}, {("a",): 1})  # type: ignore[dict-item]
    with pytest.raises(OutputError, match="cannot write"):
        tables.save(tmp_path / "x.parquet", pd.DataFrame({"a": [1, "b"]}), "example", {})
    with pytest.raises(OutputError, match="cannot write"):
        tables.save(tmp_path / "x.parquet", pd.DataFrame([[1, 2]], columns=["a", "a"]), "example", {})
    assert list(tmp_path.iterdir()) == []


def test_tables_come_back_by_their_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["a", "ü"], "x": [0.1, np.nan], "n": [1, 2], "yes": [True, False]})
    path = tables.save(tmp_path / "x.parquet", frame, "example", NOTE)
    found, note = tables.load(path, "example", ["n", "x"])
    assert note == NOTE
    pd.testing.assert_frame_equal(found, frame)
    with pytest.raises(StorageError, match="no column head"):
        tables.load(path, "example", ["head"])
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
    assert json.loads(pq.read_schema(path).metadata[b"vitscope"])["kind"] == "example"


def test_documents_come_back(tmp_path: Path) -> None:
    path = documents.save(tmp_path / "x.json", "example", NOTE)
    assert documents.load(path, "example") == NOTE
    assert json.loads(path.read_text())["note"] == NOTE


def test_exports_are_written_for_others(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    assert tables.export(tmp_path / "x.csv", frame).read_text() == "a\n1\n2\n"
    assert pd.read_parquet(tables.export(tmp_path / "x.parquet", frame))["a"].tolist() == [1, 2]
    with pytest.raises(OutputError, match="ending in"):
        tables.export(tmp_path / "x.xls", frame)


Saver = Callable[[Path, str, int], Path]
Loader = Callable[[Path, str, int], object]
FORMS: dict[str, tuple[Saver, Loader]] = {
    "tensors": (
        lambda p, kind, v: tensors.save(
            p / "x", kind, {"a": torch.arange(9.0), "b": torch.ones(2)}, NOTE, version=v
        ),
        lambda p, kind, v: str(tensors.load(p, kind, version=v)),
    ),
    "tables": (
        lambda p, kind, v: tables.save(
            p / "x.parquet", pd.DataFrame({"a": np.arange(50.0), "b": ["c"] * 50}), kind, NOTE, version=v
        ),
        lambda p, kind, v: str(tables.load(p, kind, version=v)),
    ),
    "documents": (
        lambda p, kind, v: documents.save(p / "x.json", kind, NOTE, version=v),
        lambda p, kind, v: str(documents.load(p, kind, version=v)),
    ),
    "folders": (
        lambda p, kind, v: folders.save(p / "f", kind, {"a.bin": b"1234"}, NOTE, version=v) / "manifest.json",
        lambda p, kind, v: str(folders.load(p.parent, kind, version=v)),
    ),
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> tuple[Saver, Loader]:
    return FORMS[request.param]


def test_other_kinds_newer_versions_and_files_of_others_are_refused(
    tmp_path: Path, form: tuple[Saver, Loader]
) -> None:
    save, load = form
    path = save(tmp_path, "example", 2)
    load(path, "example", 2)
    load(path, "example", 3)
    with pytest.raises(
        StorageError, match=r"expected a file of kind 'other' in .* got one of kind 'example'"
    ):
        load(path, "other", 2)
    with pytest.raises(
        StorageError, match=r"newer vitscope .form 2 of 'example', this one reads up to 1.; update"
    ):
        load(path, "example", 1)
    for content in (b"", b"x", b"{}", b"PAR1", b"[" * 100_000, b"\xff" * 50, b"PAR1" + b"\0" * 20 + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(StorageError) as caught:
            load(path, "example", 2)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(StorageError, match="there is no"):
        load(path, "example", 2)


def test_files_of_other_programs_are_told(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors", {"format": "pt"})
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(StorageError, match="is no 'example' that vitscope saved"):
        tensors.load(tmp_path / "x.safetensors", "example")
    with pytest.raises(StorageError, match="is no 'example' that vitscope saved"):
        tables.load(tmp_path / "x.parquet", "example")
    (tmp_path / "x.json").write_text('{"format": 1e400, "deep": []}')
    with pytest.raises(StorageError, match="is no 'example' that vitscope saved"):
        documents.load(tmp_path / "x.json", "example")


def test_every_flipped_bit_and_every_cut_is_told(tmp_path: Path, form: tuple[Saver, Loader]) -> None:
    save, load = form
    path = save(tmp_path, "example", 1)
    whole, before = path.read_bytes(), load(path, "example", 1)
    draw = random.Random(0)
    damaged = [whole[:length] for length in draw.sample(range(len(whole)), 60)]
    for position in draw.sample(range(len(whole)), min(len(whole), 1200)):
        changed = bytearray(whole)
        changed[position] ^= 1 << draw.randrange(8)
        damaged.append(bytes(changed))
    damaged += [whole + b"\0", whole * 2, whole[:40] + whole[60:]]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(StorageError) as caught:
            load(path, "example", 1)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    assert load(path, "example", 1) == before
