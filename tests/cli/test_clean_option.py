"""``vitscope explain --clean``: outlier patches get their neighbours' median, and the record says so."""

from __future__ import annotations

from pathlib import Path

import torch

import vitscope as vs
from tests.cli.conftest import Shell
from vitscope.methods import Explanation
from vitscope.worlds import demo_pictures


def test_clean_changes_the_outlier_patches_alone(shell: Shell, tmp_path: Path) -> None:
    """The third demonstration picture gives the conjunction model three outliers."""
    path = tmp_path / "picture.png"
    demo_pictures(3).images()[2].save(path)

    def explain(name: str, *flags: str) -> Explanation:
        result = shell(
            "explain", path, "--model", "bundled/conjunction", "--method", "daam", "--no-draw", "--json", "--out",
            tmp_path / name, *flags,
        )  # fmt: skip
        assert result.code == 0, result.err
        return Explanation.load(result.document["pictures"][0]["maps"]["daam"]["data"])

    plain, cleaned = explain("plain"), explain("cleaned", "--clean")
    outliers = cleaned.extras["cleaned"].bool()
    assert 0 < int(outliers.sum()) < outliers.numel() / 4
    assert torch.equal(cleaned.maps[~outliers], plain.maps[~outliers])
    assert bool((cleaned.maps[outliers] != plain.maps[outliers]).all())
    assert cleaned.metadata["clean"] and "clean" not in plain.metadata and "cleaned" not in plain.extras
    library = vs.explain(vs.open_model("bundled/conjunction"), [path], "daam", clean=True)
    assert torch.equal(library.maps, cleaned.maps)


def test_clean_is_refused_where_patches_are_not_seen(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    demo_pictures(1).images()[0].save(path)
    result = shell(
        "explain", path, "--model", "timm/resnet10t", "-M", "pretrained=false", "--method", "daam", "--clean", "--out",
        tmp_path / "out",
    )  # fmt: skip
    assert result.code == 1 and "'daam' cannot be cleaned" in result.error
