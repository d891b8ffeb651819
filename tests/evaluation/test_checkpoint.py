"""A stopped evaluation goes on where it was, to the same bits; where anything that matters differs, it starts anew."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vitscope as vs
from tests.watching import Recorder
from vitscope.errors import PictureError
from vitscope.evaluation import Metric, evaluation_set
from vitscope.evaluation.board import gallery
from vitscope.evaluation.metric_state import statistics_of
from vitscope.models import fingerprint

from .conftest import random_vit

QUICK = vs.Protocol(steps=3, random_draws=1)
METRICS = ["srg", "grid-pointing"]
LABELS = [0, 1, 2, 3, 4, 0, 1]


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def run(vit: Any, pictures: torch.Tensor, **more: Any) -> vs.Leaderboard:
    return vs.evaluate(vit, pictures, LABELS, ["daam"], METRICS, QUICK, batch_size=2, **more)


def same_bits(first: vs.Leaderboard, second: vs.Leaderboard) -> bool:
    assert first.states.keys() == second.states.keys() and first.curves.keys() == second.curves.keys()
    rows = all(
        first.states[place].keys == second.states[place].keys
        and torch.equal(first.states[place].rows, second.states[place].rows)
        for place in first.states
    )
    curves = all(
        first.curves[place].keys == second.curves[place].keys
        and torch.equal(first.curves[place].values, second.curves[place].values)
        and torch.equal(first.curves[place].fractions, second.curves[place].fractions)
        for place in first.curves
    )
    maps = all(np.array_equal(first.maps[place], second.maps[place]) for place in first.maps)
    shown = list(first.pictures) == list(second.pictures) and first.maps.keys() == second.maps.keys()
    counts = first.evaluations == second.evaluations and first.total_evaluations == second.total_evaluations
    return rows and curves and maps and shown and counts and first.protocol == second.protocol


def stop_after(count: int, stage: int = 1) -> vs.progress.Callback:
    """Interrupts after so many explanations of a stage."""
    begun = 0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal begun
        begun += done == 0
        if begun == stage and done >= count:
            raise KeyboardInterrupt

    return vs.progress.Callback(tell)


@pytest.mark.parametrize(
    ("stop", "stage"),
    [(20, 1), (47, 1), (48, 2)],
    ids=["among the pictures", "in the last part", "among the mosaics"],
)
def test_an_interrupted_run_goes_on_to_the_same_bits(
    vit: Any, pictures: torch.Tensor, tmp_path: Path, stop: int, stage: int
) -> None:
    whole = run(vit, pictures)
    with pytest.raises(KeyboardInterrupt):
        run(vit, pictures, checkpoint=tmp_path / "c", progress=stop_after(stop, stage))
    again = run(vit, pictures, checkpoint=tmp_path / "c", progress=(seen := Recorder()))
    seen.check_whole()
    # Parts are two pictures; what was finished of one that was in work is lost, and nothing else.
    rows = len(whole.names)
    parts = [0, 2 * rows, 4 * rows, 6 * rows]
    before = max(done for done in parts if done < stop)
    assert [each.done for each in seen.stages] == ([before, 0] if stage == 1 else [7 * rows, before])
    assert [each.name for each in seen.stages] == ["evaluating pictures", "evaluating mosaics"]
    assert [each.total for each in seen.stages] == [7 * rows, 7 * rows]
    assert same_bits(again, whole)
    third = run(vit, pictures, checkpoint=tmp_path / "c", progress=(seen := Recorder()))
    assert same_bits(third, whole) and (seen.resumed, seen.steps) == (2 * 7 * rows, 0)


def files(folder: Path, count: int = 6, seed: int = 0) -> list[Path]:
    folder.mkdir(exist_ok=True)
    drawn = np.random.default_rng(seed).integers(0, 256, (count, 40, 40, 3), dtype=np.uint8)
    for index, picture in enumerate(drawn):
        Image.fromarray(picture).save(folder / f"{index}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def opened() -> vs.Vit:
    made = random_vit(32, embed_dim=24, depth=2, num_heads=3, num_classes=5)
    return vs.open_model(made.model, image_size=32, preprocess="half")


def boxes(a: int, b: int) -> list[list[tuple[int, int, int, int]]]:
    return [[(a, a, b, b)]] * 6


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "options": ({"options": {"gmar": {"norm": "l1"}}}, {"options": {"gmar": {"norm": "l2"}}}),
    "options in the name": ({"methods": ["gmar:alpha=0"]}, {"methods": ["gmar:alpha=9"]}),
    "kappa": (
        {"methods": ["dart"], "options": {"dart": {"kappa": 0.4}}},
        {"methods": ["dart"], "options": {"dart": {"kappa": 0.6}}},
    ),
    "labels": (
        {"labels": [0] * 6, "protocol": vs.Protocol(steps=3, target="label")},
        {"labels": [3] * 6, "protocol": vs.Protocol(steps=3, target="label")},
    ),
    "boxes": ({"boxes": boxes(0, 20), "metrics": ["mass"]}, {"boxes": boxes(10, 35), "metrics": ["mass"]}),
    "masks": (
        {"masks": [np.tri(40, dtype=bool)] * 6, "metrics": ["mass"]},
        {"masks": [~np.tri(40, dtype=bool)] * 6, "metrics": ["mass"]},
    ),
    "steps": ({}, {"protocol": vs.Protocol(steps=4, random_draws=1)}),
    "seed": (
        {"controls": ["random"]},
        {"controls": ["random"], "protocol": vs.Protocol(steps=3, random_draws=1, seed=1)},
    ),
    "metrics": ({}, {"metrics": ["mif"]}),
    "methods": ({}, {"methods": ["gae"]}),
    "controls": ({}, {"controls": ["edges"]}),
    "keys": ({"keys": list("abcdef")}, {"keys": list("ghijkl")}),
}


def evaluated(vit: vs.Vit, paths: list[Path], **changed: Any) -> vs.Leaderboard:
    given: dict[str, Any] = {
        "methods": ["gmar"], "metrics": ["srg"], "protocol": QUICK, "controls": (), "batch_size": 2, **changed,
    }  # fmt: skip
    return vs.evaluate(vit, paths, **given)


def resumed_after(
    vit: vs.Vit, paths: list[Path], folder: Path, first: dict[str, Any], second: dict[str, Any]
) -> tuple[vs.Leaderboard, int]:
    """What ``second`` gives in the folder where ``first`` was stopped after four pictures, and how much it resumed."""
    rows = 1 + len(first.get("controls", ()))
    with pytest.raises(KeyboardInterrupt):
        evaluated(vit, paths, checkpoint=folder, progress=stop_after(5 * rows), **first)
    found = evaluated(vit, paths, checkpoint=folder, progress=(seen := Recorder()), **second)
    return found, seen.resumed


@pytest.mark.parametrize("what", CHANGES)
def test_another_run_starts_anew(what: str, opened: vs.Vit, tmp_path: Path) -> None:
    paths, (first, second) = files(tmp_path / "p"), CHANGES[what]
    found, resumed = resumed_after(opened, paths, tmp_path / "c", first, second)
    assert resumed == 0
    fresh = evaluated(opened, paths, **second)
    assert same_bits(found, fresh)
    other = evaluated(opened, paths, **first)
    assert other.protocol.digest != fresh.protocol.digest and other.recipe.digest != fresh.recipe.digest
    # The part of the first run was left where it was.
    again = evaluated(opened, paths, checkpoint=tmp_path / "c", progress=(seen := Recorder()), **first)
    assert seen.resumed > 0 and same_bits(again, other)


def test_other_contents_of_the_same_files_start_anew(opened: vs.Vit, tmp_path: Path) -> None:
    paths = files(tmp_path / "p")
    before = evaluated(opened, paths)
    with pytest.raises(KeyboardInterrupt):
        evaluated(opened, paths, checkpoint=tmp_path / "c", progress=stop_after(5))
    files(tmp_path / "p", seed=1)
    found = evaluated(opened, paths, checkpoint=tmp_path / "c", progress=(seen := Recorder()))
    fresh = evaluated(opened, paths)
    assert seen.resumed == 0 and same_bits(found, fresh)
    assert before.protocol.digest != fresh.protocol.digest
    assert before.per_image()["value"].tolist() != fresh.per_image()["value"].tolist()


def test_other_contents_of_the_same_mask_files_start_anew(opened: vs.Vit, tmp_path: Path) -> None:
    paths, masks = files(tmp_path / "p"), [tmp_path / f"mask-{index}.png" for index in range(6)]
    boards = []
    for upper in (True, False):
        drawn = np.tri(40, dtype=np.uint8) * 255
        for mask in masks:
            Image.fromarray(drawn if upper else 255 - drawn).save(mask)
        boards.append(evaluated(opened, paths, masks=masks, metrics=["mass"], checkpoint=tmp_path / "c"))
        assert same_bits(boards[-1], evaluated(opened, paths, masks=list(map(str, masks)), metrics=["mass"]))
    assert boards[0].protocol.digest != boards[1].protocol.digest
    assert boards[0].recipe.differences(boards[1].recipe) == ["other masks"]


def test_other_weights_start_anew(opened: vs.Vit, tmp_path: Path) -> None:
    paths = files(tmp_path / "p")
    before = evaluated(opened, paths)
    with pytest.raises(KeyboardInterrupt):
        evaluated(opened, paths, checkpoint=tmp_path / "c", progress=stop_after(5))
    for parameter in opened.model.parameters():
        parameter.data += 0.01
    found = evaluated(opened, paths, checkpoint=tmp_path / "c", progress=(seen := Recorder()))
    assert seen.resumed == 0 and same_bits(found, evaluated(opened, paths))
    assert found.protocol.model == fingerprint(opened.model) != before.protocol.model
    assert found.protocol.digest != before.protocol.digest


def test_a_new_process_finds_the_same_kappa(opened: vs.Vit, tmp_path: Path) -> None:
    paths = files(tmp_path / "p")
    other = vs.open_model(opened.model, image_size=32, preprocess="half")
    with pytest.raises(KeyboardInterrupt):
        evaluated(opened, paths, methods=["dart"], checkpoint=tmp_path / "c", progress=stop_after(5))
    found = evaluated(other, paths, methods=["dart"], checkpoint=tmp_path / "c")
    assert same_bits(found, evaluated(opened, paths, methods=["dart"]))
    used = found.recipe.options["methods"]["dart"]["options"]["kappa"]
    assert isinstance(used, (int, float)), "the number is recorded, not how it is found"


def test_a_picture_that_cannot_be_read_costs_that_picture(opened: vs.Vit, tmp_path: Path) -> None:
    paths = files(tmp_path / "p")
    whole = evaluated(opened, paths)
    paths[2].write_bytes(b"no picture")
    data = replace(evaluation_set(paths), skip=True)
    with pytest.raises(KeyboardInterrupt):
        evaluated(opened, data, checkpoint=tmp_path / "c", progress=stop_after(4))  # type: ignore[arg-type]
    data = replace(evaluation_set(paths), skip=True)
    found = evaluated(opened, data, checkpoint=tmp_path / "c")  # type: ignore[arg-type]
    assert [Path(key).name for key in data.skipped] == ["2.png"]
    before, after = (board.per_image().set_index("key")["value"] for board in (whole, found))
    assert list(after.index) == [key for key in before.index if not key.endswith("2.png")]
    # Batches are cut by position, so the others' bits are the same where the batch is.
    assert after.tolist() == pytest.approx(before[after.index].tolist(), rel=1e-5, abs=1e-6)
    with pytest.raises(PictureError):
        evaluated(opened, paths)


def test_a_file_that_changes_while_it_is_used_is_refused(opened: vs.Vit, tmp_path: Path) -> None:
    paths = files(tmp_path / "p")
    other = files(tmp_path / "q", seed=1)[5].read_bytes()

    def change(what: str, done: int, total: int) -> None:
        if done == 2:
            paths[5].write_bytes(other)

    with pytest.raises(PictureError, match="was changed while it was in use"):
        evaluated(opened, paths, progress=vs.progress.Callback(change))


def cut(content: bytes) -> bytes:
    return content[:-40]


def flip(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(content) // 2] ^= 4
    return bytes(changed)


def newer(content: bytes) -> bytes:
    record = json.loads(content)
    record["methods"][0]["new_field"] = 1
    return json.dumps(record).encode()


NAMES = ("protocol.json", "statistics.parquet", "curves.parquet", "pictures.npz", "part.json")
DAMAGES = [*itertools.product(NAMES, (cut, flip, lambda content: b"")), ("protocol.json", newer)]


def test_a_damaged_part_is_as_if_it_were_not_there(opened: vs.Vit, tmp_path: Path) -> None:
    paths = files(tmp_path / "p", 4)
    whole = evaluated(opened, paths, checkpoint=tmp_path / "c")
    (first, second) = sorted((tmp_path / "c" / "pictures").iterdir())
    kept = {file.name: file.read_bytes() for file in first.iterdir()}
    assert set(kept) == set(NAMES)
    for name, damage in DAMAGES:
        for place in (tmp_path / "c" / "pictures").iterdir():
            if place not in (first, second):
                for file in place.iterdir():
                    file.unlink()
        for file, content in kept.items():
            (first / file).write_bytes(content)
        (first / name).write_bytes(damage(kept[name]))
        again = evaluated(opened, paths, checkpoint=tmp_path / "c", progress=(seen := Recorder()))
        assert same_bits(again, whole), (name, damage)
        # Two pictures are scored again, the other two are read.
        (stage,) = seen.stages
        assert (stage.total, stage.done, stage.advanced) == (4, 0, [2, 2]), (name, damage)


def test_the_extremes_of_the_whole_are_kept() -> None:
    """40 pictures, batch by batch: at the end the four lowest and the four highest values are there, no more."""
    values = torch.rand(40, generator=torch.Generator().manual_seed(0))
    state, pictures, maps = Metric("srg"), {}, {}
    for start in range(0, 40, 5):
        keys = [f"{index:02d}" for index in range(start, start + 5)]
        state.update_rows(keys, statistics_of(values[start : start + 5]))
        for key in keys:
            pictures[key] = np.zeros((2, 2, 3), dtype=np.uint8)
            maps[("a", key)] = np.zeros((1, 1))
        known = gallery.values_of({("a", "srg"): state}, ["entropy", "srg"], pictures)
        gallery.prune(known, pictures, maps)
        assert len(pictures) <= 8 and set(known["a"]) == set(pictures)
    order = [f"{index:02d}" for index in values.argsort().tolist()]
    worst, best = gallery.extremes(state, pictures)
    assert worst == order[:4]
    assert best == order[::-1][:4]
    assert {key for _, key in maps} == set(pictures) == {*worst, *best}
    assert gallery.ordering_metric(["entropy", "grid-pointing"]) is None
