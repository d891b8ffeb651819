"""Two targets in one folder stay beside each other, an index says which file shows what, and overwriting is told."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from vitscope.cli.shared.results import with_target

MODEL = ("--model", "bundled/shapes")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows = json.loads((folder / "index.json").read_text())["note"]["rows"]
    with (folder / "index.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [(row["key"], row["target"], row["files"]) for row in table] == [
        (row["key"], row["target"], " ".join(row["files"])) for row in rows
    ]
    for row in rows:
        assert all((folder / name).is_file() for name in row["files"])
    return rows  # type: ignore[no-any-return]


def test_a_second_target_leaves_the_first(shell: Shell, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ("explain", picture, *MODEL, "--method", "rollout", "--out", out)
    first, second = shell(*line), shell(*line, "--target", "top2")
    assert first.code == second.code == 0
    assert (
        f"{out} also holds results of another recipe (target: 'top1' against 'top2'); they stay beside these"
        in (" ".join(second.err.split()))
    )
    rows = rows_of(out)
    assert (
        len(rows) == 2
        and len({row["recipe"] for row in rows}) == 2
        and len({row["target"] for row in rows}) == 2
    )
    named = {name for row in rows for name in row["files"]}
    assert {name.split(".", 1)[1] for name in named} == {
        "rollout.png", "rollout.safetensors", "top2.rollout.png", "top2.rollout.safetensors",
    }  # fmt: skip
    recipes = json.loads((out / "index.json").read_text())["note"]["recipes"]
    assert {row["recipe"] for row in rows} == set(recipes)
    assert rows[0]["prediction"] == rows[1]["prediction"] and rows[0]["score"] != rows[1]["score"]
    again = shell(*line)
    assert "was not done again" in again.err or "were not done again" in again.err
    assert rows_of(out) == rows


def test_overwriting_is_told(shell: Shell, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ("explain", picture, *MODEL, "--method", "rollout", "--out", out)
    shell(*line)
    other = shell(*line, "--style", "contour")
    assert other.code == 0 and "1 of them were overwritten" in other.err
    assert len(rows_of(out)) == 1


def test_flows_too(shell: Shell, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ("flow", picture, *MODEL, "--method", "daam", "--no-strip", "--seconds", "0.1", "--out", out)
    shell(*line)
    shell(*line, "--target", "class:star")
    rows = rows_of(out)
    assert sorted(name.split(".", 1)[1] for row in rows for name in row["files"]) == [
        "class-star.daam.gif", "daam.gif",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("top1", "cat"), (" top1 ", "cat"), ("top2", "cat.top2"), ("207", "cat.207"), ("class:star", "cat.class-star"),
        ("difference:cat,dog", "cat.difference-cat-dog"),
    ],
)  # fmt: skip
def test_the_targets_part_of_a_name(words: str, name: str) -> None:
    assert with_target(Path("cat"), words).name == name


def test_names_of_targets_that_a_file_system_may_not_take_are_made_safe_and_told_apart() -> None:
    names = {
        with_target(Path("cat"), words).name
        for words in ("picture:a/b.png", "picture:a-b.png", "text: a/b", "x" * 300)
    }
    assert len(names) == 4 and all("/" not in name and len(name) < 60 for name in names)
