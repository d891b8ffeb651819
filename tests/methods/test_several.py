"""Several pictures of an explanation, several methods side by side, the list of methods, models in a notebook."""

from __future__ import annotations

import html
import re

import pytest
import torch

import vitscope as vs
from vitscope.errors import PlaceError
from vitscope.methods.explaining.per_picture import targets_of


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return vs.open_model("bundled/shapes")


@pytest.fixture(scope="module")
def found(vit: vs.Vit) -> vs.Explanations:
    pictures = vs.worlds.demo_pictures(4).images()
    return vs.explain(vit, pictures, ["gmar", "daam"], target=[3, 0, 7, 0])


@pytest.mark.parametrize(
    ("index", "places"), [(slice(0, 2), [0, 1]), (slice(None, None, -2), [3, 1]), (slice(-1, None), [3])]
)
def test_a_slice_is_the_explanation_of_its_pictures(
    found: vs.Explanations, vit: vs.Vit, index: slice, places: list[int], tmp_path
) -> None:
    e, part = found["daam"], found["daam"][index]
    assert torch.equal(part.maps, e.maps[places]) and torch.equal(part.flow, e.flow[places])
    assert torch.equal(part.pictures, e.pictures[places]) and torch.equal(part.scores, e.scores[places])
    assert part.metadata["keys"] == [e.metadata["keys"][place] for place in places]
    assert part.target == "class:" + ",".join(str([3, 0, 7, 0][place]) for place in places)
    assert part.classes.tolist() == [[3, 0, 7, 0][place] for place in places]
    assert part.recipe.count == len(places) and part.recipe != e.recipe
    assert vs.Explanation.load(part.save(tmp_path / "part")).recipe == part.recipe
    assert e[0].merge(e[1:]).maps.equal(e.maps) and e[0].merge(e[1:]).recipe == e.recipe


def test_no_pictures_are_no_explanation(found: vs.Explanations) -> None:
    with pytest.raises(PlaceError, match="expected some of 4 pictures, got none"):
        found["gmar"][4:]
    assert targets_of("top1", [0, 1]) == "top1" and targets_of("class:3", [1]) == "class:3"


def test_several_methods_show_themselves_side_by_side(found: vs.Explanations) -> None:
    assert isinstance(found, dict) and list(found) == ["gmar", "daam"]
    assert repr(found) == "<Explanations of 4 pictures by gmar, daam>"
    page = found._repr_html_()
    assert page.count("data:image/png") == 1 and "gmar, daam" in page
    frame = found.to_pandas()
    assert frame["method"].tolist() == ["gmar"] * 4 + ["daam"] * 4
    assert found.sheet().size == vs.reports.sheet(found).size
    assert "daam" in found.to_html()
    assert (
        vs.Explanations()._repr_html_()
        and repr(vs.Explanations()) == "<Explanations of 0 pictures by no method>"
    )


def test_the_list_of_methods_is_a_table() -> None:
    lines = repr(vs.methods()).splitlines()
    assert len(lines) == 1 + len(vs.methods()) and lines[0].split()[:3] == ["method", "family", "class"]
    gradcam = next(line for line in lines if line.startswith("gradcam "))
    cells = ["gradcam", "cam", "yes", "no", "1F + 1B", "Grad-CAM on tokens", "where the class is seen"]
    assert re.split(r"\s{2,}", gradcam) == cells
    assert "Grad-CAM on tokens" in vs.methods()._repr_html_()


def test_a_model_and_its_anatomy_show_themselves(vit: vs.Vit) -> None:
    for shown in (vit._repr_html_(), vit.anatomy._repr_html_()):
        text = html.unescape(shown)
        assert "class + 12x12 patches = 145 tokens" in text and "6, of 4 heads" in text
    assert vit.fingerprint in vit._repr_html_() and vit.fingerprint not in vit.anatomy._repr_html_()


def test_what_stands_in_the_facade_is_what_a_user_needs() -> None:
    names = set(dir(vs))
    assert names == {*vs.__all__, *(name for name in names if name.islower())}
    assert not names & {"annotations", "importlib", "Any", "TYPE_CHECKING", "version", "errors"}
    assert all(getattr(vs, name) is not None for name in names)
