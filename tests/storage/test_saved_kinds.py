"""Every saved kind loads as it was, and is refused in one line when it is damaged, of another kind, or newer."""

from __future__ import annotations

import dataclasses
import random
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.storage.saved_kinds import KINDS, SavedKind, board, partial, save_pruned, table
from vitscope import Leaderboard, heads
from vitscope.errors import StorageError
from vitscope.storage import files, folders, notes, tables


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> SavedKind:
    found: SavedKind = request.param
    return found


def same(a: Any, b: Any) -> bool:
    """Equal values, NaN like NaN, whatever record, container or array holds them."""
    if isinstance(a, torch.nn.Module):
        return same(dict(a.state_dict()), dict(b.state_dict()))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and same(a.numpy(), b.numpy())
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
        return True
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        names = [field.name for field in dataclasses.fields(a) if not field.name.startswith("_")]
        return type(a) is type(b) and all(same(getattr(a, name), getattr(b, name)) for name in names)
    if type(a).__name__ == "Metric":
        return same((a.info.name, a.keys, a.rows), (b.info.name, b.keys, b.rows))
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b or (a != a and b != b))


def parts_of(place: Path) -> list[Path]:
    """The files that are read back."""
    if place.is_file():
        return [place]
    listed = {file for file, _ in files_in_manifest(place)}
    return sorted(path for path in place.iterdir() if path.name in listed | {folders.MANIFEST})


def files_in_manifest(place: Path) -> list[list[str]]:
    import json

    found: list[list[str]] = list(
        json.loads((place / folders.MANIFEST).read_text())["note"]["parts"].values()
    )
    return found


def test_it_loads_as_it_was_and_saves_to_the_same_bytes(kind: SavedKind, tmp_path: Path) -> None:
    made = kind.make()
    place = kind.save(made, tmp_path / "one")
    found = kind.load(place)
    if kind.name == "leaderboard":  # pictures are kept by checkpoints only
        assert found.pictures == {} and found.maps == {}
        found.pictures, found.maps = made.pictures, made.maps
    assert same(found, made)
    again = kind.save(found, tmp_path / "two")
    assert [p.read_bytes() for p in parts_of(place)] == [p.read_bytes() for p in parts_of(again)]


def test_damage_is_told_in_one_line(kind: SavedKind, tmp_path: Path) -> None:
    """400 files with a flipped bit, cut off, or with a piece out or in: never other values, never a raw error."""
    place = kind.save(kind.make(), tmp_path)
    draw = random.Random(kind.name)
    for part in parts_of(place):
        whole = part.read_bytes()
        for _ in range(400 // len(parts_of(place))):
            position, changed = draw.randrange(len(whole)), bytearray(whole)
            how = draw.choice(["flip", "flip", "flip", "cut", "out", "in", "zeros"])
            if how == "flip":
                changed[position] ^= 1 << draw.randrange(8)
            elif how == "cut":
                del changed[position:]
            elif how == "out":
                del changed[position : position + draw.randint(1, 64)]
            elif how == "in":
                changed[position:position] = draw.randbytes(draw.randint(1, 64))
            else:
                changed[position : position + 64] = bytes(len(changed[position : position + 64]))
            if bytes(changed) == whole:
                continue
            part.write_bytes(changed)
            with pytest.raises(StorageError) as caught:
                kind.load(place)
            assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
        part.unlink()
        with pytest.raises(StorageError):
            kind.load(place)
        part.write_bytes(whole)
    kind.load(place)


def test_every_other_kind_is_refused_by_name(kind: SavedKind, tmp_path: Path) -> None:
    mine = kind.save(kind.make(), tmp_path / "mine")
    for other in KINDS:
        if other.name == kind.name:
            continue
        theirs = other.save(other.make(), tmp_path / other.name)
        with pytest.raises(StorageError) as caught:
            kind.load(theirs)
        assert "\n" not in str(caught.value)
        if theirs.suffix == mine.suffix:
            assert f"of kind '{kind.name}'" in str(caught.value) and f"of kind '{other.name}'" in str(
                caught.value
            )


def test_a_newer_version_is_refused_by_name(
    kind: SavedKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = notes.encode
    monkeypatch.setattr(
        notes, "encode", lambda name, version, *rest, **more: real(name, version + 1, *rest, **more)
    )
    place = kind.save(kind.make(), tmp_path)
    monkeypatch.undo()
    with pytest.raises(
        StorageError, match=rf"newer vitscope \(form 2 of '{kind.name}', this one reads up to 1\)"
    ):
        kind.load(place)


def test_a_field_that_is_missing_or_of_another_form_is_told(
    kind: SavedKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are whole and sealed, but whose note another program wrote."""
    real = notes.encode
    seen: set[str] = set()

    def without(field: str, value: object) -> Any:
        def encode(name: str, version: int, note: Any, **more: object) -> str:
            note = dict(note or {})
            if "parts" in note:  # the manifest of a folder
                note["note"] = changed(note["note"])
            else:
                note = changed(note)
            return real(name, version, note, **more)

        def changed(note: Mapping[str, Any]) -> dict[str, Any]:
            seen.update(note)
            kept = {name: entry for name, entry in note.items() if name != field}
            return kept if value is None or field not in note else {**kept, field: value}

        return encode

    kind.save(kind.make(), tmp_path / "whole")
    monkeypatch.setattr(notes, "encode", without("", None))
    kind.save(kind.make(), tmp_path / "seen")
    for field in sorted(seen):
        for value in (None, 3.5, [[[]]], {"a": 1}):
            monkeypatch.setattr(notes, "encode", without(field, value))
            place = kind.save(kind.make(), tmp_path / "changed")
            monkeypatch.undo()
            try:
                kind.load(place)
            except StorageError as error:
                assert "\n" not in str(error)
            except heads.HeadsError as error:  # another architecture than the options were given for
                assert kind.name == "pruned model" and "\n" not in str(error)


def test_a_result_keeps_the_old_file_when_saving_stops(
    kind: SavedKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = kind.save(kind.make(), tmp_path)
    before = {path: path.read_bytes() for path in parts_of(place)}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        kind.save(kind.make(), tmp_path)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in parts_of(place)} == before
    kind.load(place)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("order", ["sorted", "shuffled", "columns"])
def test_a_table_is_read_by_its_columns(tmp_path: Path, order: str) -> None:
    for made, load in ((table(), heads.HeadTable.load), (partial(), heads.PartialPruning.load)):
        path = made.save(tmp_path / "t.parquet")
        kind = (
            "head table" if made is not partial and isinstance(made, heads.HeadTable) else "partial pruning"
        )
        frame, note = tables.load(path, kind)
        if order == "columns":
            frame = frame[frame.columns[::-1]]
        else:
            # Stable, so that of two pictures with one name the first stays the first.
            rows = (
                np.argsort(frame["flip"])
                if order == "sorted"
                else np.random.default_rng(0).permutation(len(frame))
            )
            if not isinstance(made, heads.HeadTable):
                rows = np.argsort(frame["step"].to_numpy(), kind="stable")
            frame = frame.iloc[rows]
        tables.save(path, frame, kind, note)
        found = load(path)
        for name, values in made.values.items():
            for index, picture in enumerate(found.pictures):
                if found.pictures.count(picture) == 1:
                    expected = values[made.pictures.index(picture)]
                    np.testing.assert_array_equal(found.values[name][index], expected)
        assert sorted(found.pictures) == sorted(made.pictures)
        frame.to_parquet(path)  # another program's
        with pytest.raises(StorageError):
            load(path)
        tables.save(path, frame[:-1], kind, note)
        with pytest.raises(StorageError, match="every"):
            load(path)
        tables.save(path, pd.concat([frame[:-1], frame[:1]]), kind, note)
        with pytest.raises(StorageError):
            load(path)


def test_a_folder_copied_over_another_is_refused(tmp_path: Path) -> None:
    one = board()
    two = board()
    two.protocol = dataclasses.replace(two.protocol, steps=9)
    two.states["gmar", "srg"].update_rows(["d"], torch.ones(1, 2).double())
    one.save(tmp_path / "one")
    two.save(tmp_path / "two")
    for part in parts_of(tmp_path / "two"):
        mixed = tmp_path / "mixed"
        shutil.copytree(tmp_path / "one", mixed)
        shutil.copy(part, mixed)
        try:
            found = Leaderboard.load(mixed)
            assert found.protocol.steps == 4 and same(found.states, one.states)
        except StorageError:
            assert part.name == folders.MANIFEST
        shutil.rmtree(mixed)


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/vit_tiny_patch16_224", "local-dir:/tmp", "hf_hub:x/y", "no_such_model", ""]
)
def test_a_pruned_model_opens_only_what_timm_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import timm

    def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing is built from such a name")

    path = heads.save_pruned(
        torch.nn.Linear(1, 1), tmp_path / "m.safetensors", architecture=name, remove=[], form="masked"
    )
    monkeypatch.setattr(timm, "create_model", never)
    with pytest.raises(StorageError, match="no model that timm lists"):
        heads.load_pruned(path)


def test_a_pruned_model_is_measured_before_memory_is_taken(tmp_path: Path) -> None:
    """A file of one number that says it is a model of 1.8 thousand million parameters."""
    import resource

    path = heads.save_pruned(
        torch.nn.Linear(1, 1),
        tmp_path / "m.safetensors",
        architecture="vit_giant_patch14_224",
        remove=[],
        form="masked",
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(heads.HeadsError, match="does not fit vit_giant_patch14_224"):
        heads.load_pruned(path)
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    )  # KiB; the model has 7 million


def test_a_pruned_model_tells_which_options_it_lacks(tmp_path: Path) -> None:
    from tests.storage.saved_kinds import TINY, pruned

    path = save_pruned(pruned(), tmp_path)
    with pytest.raises(heads.HeadsError, match="num_classes and img_size"):
        heads.load_pruned(path, **{**TINY, "num_classes": 5})
    with pytest.raises(heads.HeadsError, match="timm cannot make"):
        heads.load_pruned(path, nonsense=3)


def test_a_header_that_claims_a_huge_length_takes_no_memory(tmp_path: Path, kind: SavedKind) -> None:
    place = kind.save(kind.make(), tmp_path)
    for part in parts_of(place):
        if part.suffix == ".safetensors":
            part.write_bytes(struct.pack("<Q", 2**63) + part.read_bytes()[8:])
            with pytest.raises(StorageError):
                kind.load(place)
