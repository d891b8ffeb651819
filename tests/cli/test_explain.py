"""``vitscope explain`` and ``vitscope flow``: what they write, print and mean."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vitscope as vs
from tests.cli.bad_pictures import photograph
from tests.cli.conftest import Shell
from vitscope.methods import Explanation
from vitscope.worlds import demo_pictures

MODEL = ("--model", "bundled/shapes")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three pictures of the shapes world, in folders by class."""
    sample = demo_pictures(3)
    folder = tmp_path_factory.mktemp("shapes")
    paths = []
    for picture, name in zip(sample.images(), sample.names(), strict=True):
        (folder / name).mkdir(exist_ok=True)
        path = folder / name / "picture.png"
        picture.save(path)
        paths.append(path)
    return sorted(paths)


def test_raw_maps_overlays_and_a_sheet_are_written(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    result = shell("explain", shapes[0], *MODEL, "--method", "gmar,daam,rollout", "--out", tmp_path, "--json")
    assert result.code == 0, result.err
    [record] = result.document["pictures"]
    assert list(record["maps"]) == ["gmar", "daam", "rollout"]
    for name, entry in record["maps"].items():
        loaded = Explanation.load(entry["data"])
        assert (
            loaded.method == name and loaded.maps.shape == (1, 12, 12) and loaded.maps.dtype == torch.float32
        )
        assert entry["low"] == pytest.approx(float(loaded.maps.min()))
        with Image.open(entry["overlay"]) as drawn:
            assert drawn.text["method"] == name and drawn.text["model"] == "bundled/shapes"
    with Image.open(record["sheet"]) as sheet:
        assert sheet.width > 600
    assert sum(entry["probability"] for entry in record["predictions"]) == pytest.approx(1, abs=0.2)


def test_the_maps_are_those_of_the_library(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    result = shell(
        "explain", *shapes, *MODEL, "--method", "gmar,daam", "-o", "gmar.norm=l2", "--target", "2", "--batch-size", "2",
        "--no-draw", "--out", tmp_path, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    vit = vs.open_model("bundled/shapes")
    expected = vs.explain(vit, shapes, method={"gmar": {"norm": "l2"}, "daam": {}}, target=2)
    for index, record in enumerate(result.document["pictures"]):
        assert record["class"] == 2
        assert "sheet" not in record and "overlay" not in record["maps"]["gmar"]
        for name, entry in record["maps"].items():
            found = Explanation.load(entry["data"])
            torch.testing.assert_close(found.maps[0], expected[name].maps[index], rtol=1e-4, atol=1e-6)
            assert found.options.get("norm") == ("l2" if name == "gmar" else None)


def test_folders_below_keep_their_names_apart(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    folder = shapes[0].parent.parent
    result = shell("explain", folder, *MODEL, "--method", "rollout", "--out", tmp_path)
    assert result.code == 0, result.err
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    assert written == [Path(path.parent.name) / "picture.rollout.png" for path in shapes]
    assert result.out.count("\n") == len(shapes) + 1


def test_a_class_can_be_named(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    result = shell(
        "explain", shapes[0], *MODEL, "--method", "daam", "--target", "class:star:probability", "--no-draw",
        "--out", tmp_path, "--json",
    )  # fmt: skip
    [record] = result.document["pictures"]
    assert record["class_name"] == "star" and 0 <= record["score"] <= 1


def test_a_report_of_ones_own_pictures(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    result = shell(
        "explain", shapes[0], *MODEL, "--method", "gmar,daam", "--no-draw", "--report", "--out", tmp_path
    )
    assert result.code == 0, result.err
    page = (tmp_path / "report.html").read_text()
    assert "daam, block by block" in page and "weight of each head" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and 'src="http' not in page


def test_all_methods_leave_out_what_does_not_apply_or_takes_for_ever(
    shell: Shell, shapes: list[Path], tmp_path: Path
) -> None:
    result = shell("explain", shapes[0], *MODEL, "--method", "all", "--out", tmp_path, "--json")
    assert result.code == 0, result.err
    made = set(result.document["pictures"][0]["maps"])
    assert {"rollout", "gmar", "daam", "dart", "gae", "gradcam", "random"} <= made
    assert not {"kernel-shap", "rise", "daam-self"} & made
    assert "left out: " in result.err and "kernel-shap" in result.err


def test_without_a_method_dart_for_removal_is_used(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    result = shell("explain", shapes[0], *MODEL, "--no-draw", "--out", tmp_path, "--json")
    assert list(result.document["pictures"][0]["maps"]) == ["dart-removal"]


def test_another_precision_gives_nearly_the_same_map(
    shell: Shell, shapes: list[Path], tmp_path: Path
) -> None:
    maps = {}
    for precision in ("float32", "bf16"):
        result = shell(
            "explain", shapes[0], *MODEL, "--method", "gae", "--precision", precision, "--no-draw",
            "--out", tmp_path / precision, "--json",
        )  # fmt: skip
        assert result.code == 0, result.err
        maps[precision] = Explanation.load(
            result.document["pictures"][0]["maps"]["gae"]["data"]
        ).maps.flatten()
    assert np.corrcoef(maps["float32"], maps["bf16"])[0, 1] > 0.95


@pytest.mark.parametrize("format", ["gif", "webp", "mp4"])
def test_a_flow_becomes_an_animation_with_a_frame_per_block(
    shell: Shell, shapes: list[Path], tmp_path: Path, format: str
) -> None:
    pytest.importorskip("av")
    result = shell("flow", shapes[0], *MODEL, "--format", format, "--out", tmp_path, "--json")
    assert result.code == 0, result.err
    [record] = result.document["pictures"]
    assert record["blocks"] == 6 and Path(record["strip"]).is_file()
    if format == "mp4":
        assert Path(record["animation"]).stat().st_size > 1000
    else:
        with Image.open(record["animation"]) as animation:
            assert animation.n_frames == 6


def test_a_method_without_flow_is_refused(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    result = shell("flow", shapes[0], *MODEL, "--method", "gradcam", "--out", tmp_path)
    assert result.code == 1
    assert "has no flow" in result.error


def test_a_wrong_animation_format_is_wrong_usage(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    result = shell("flow", shapes[0], *MODEL, "--format", "avi", "--out", tmp_path)
    assert result.code == 2
    assert "gif, webp or mp4" in result.error


def test_the_real_model_on_real_photographs(
    shell: Shell, deit_weights: Path, sample_pictures: list[Path], tmp_path: Path
) -> None:
    result = shell(
        "explain", *sample_pictures[:3], "--model", "timm/deit_tiny_patch16_224", "--weights", deit_weights,
        "--method", "gmar,daam,rollout", "--no-draw", "--out", tmp_path, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    for record in result.document["pictures"]:
        assert record["class_name"] and all(entry["finite"] for entry in record["maps"].values())
        assert all(entry["grid"] == [14, 14] for entry in record["maps"].values())


def test_another_input_size(shell: Shell, deit_weights: Path, tmp_path: Path) -> None:
    photograph((300, 200)).save(tmp_path / "wide.jpg")
    result = shell(
        "explain", tmp_path / "wide.jpg", "--model", "timm/deit_tiny_patch16_224", "--weights", deit_weights,
        "--image-size", "160x224", "--method", "rollout", "--no-draw", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.document["pictures"][0]["maps"]["rollout"]["grid"] == [10, 14]


def test_json_is_the_only_thing_on_standard_output(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    result = shell("explain", shapes[0], *MODEL, "--method", "rollout", "--out", tmp_path, "--json")
    assert json.loads(result.out)["weights"]
    assert result.out.startswith("{") and result.out.rstrip().endswith("}")


def test_shell_and_python_draw_the_same(shell: Shell, shapes: list[Path], tmp_path: Path) -> None:
    given = (*MODEL, "--method", "dart", "--out", tmp_path, "--json")
    drawn = shell("explain", shapes[0], *given).document["pictures"][0]
    moved = shell("flow", shapes[0], *given).document["pictures"][0]
    mine = vs.explain(vs.open_model("bundled/shapes"), shapes[0], "dart")
    with Image.open(drawn["maps"]["dart"]["overlay"]) as overlay, Image.open(moved["strip"]) as strip:
        assert np.array_equal(np.asarray(overlay), np.asarray(mine.overlay()))
        assert np.array_equal(np.asarray(strip), np.asarray(mine.strip()))


def test_a_report_says_right_or_wrong_where_classes_lie_beside_the_pictures(
    shell: Shell, tmp_path: Path
) -> None:
    sample = vs.worlds.demo_pictures(3)
    names = sample.names()
    for index, (picture, name) in enumerate(
        zip(sample.images(), [names[0], names[0], names[2]], strict=True)
    ):
        place = tmp_path / "photos" / name
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{index}.png")
    words = (
        "-m",
        "bundled/shapes",
        "--method",
        "rollout",
        "--no-draw",
        "--report",
        "--out",
        tmp_path / "out",
    )
    document = shell("explain", tmp_path / "photos", *words, "--json").document
    page = Path(document["report"]).read_text()
    right = [
        entry["predictions"][0]["name"] == Path(entry["picture"]).parent.name
        for entry in document["pictures"]
    ]
    found = re.findall(r'data-judged="(right|wrong)"', page)
    assert found == ["right" if each else "wrong" for each in right] and set(found) == {"right", "wrong"}
    assert "``" not in page
