"""``vs.view`` as a kernel sees it: what is chosen is checked and synchronised, what travels holds the raw numbers."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch

import vitscope as vs
from vitscope.app.tensors import decode
from vitscope.errors import MethodError, MissingExtraError, PictureError, PlaceError, RenderingError

METHODS = ["daam", "rollout", "dart", "saliency"]


@pytest.fixture(scope="module")
def found() -> Any:
    vit = vs.open_model("bundled/shapes")
    return vs.explain(vit, vs.worlds.world("shapes").sample(3, seed=5).images(), METHODS)


@pytest.fixture
def view(found: Any) -> Any:
    return vs.view(found)


def sent(view: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a page gets of the picture that is shown."""
    return decode(view.get_state("_data")["_data"])


def test_what_travels_is_the_raw_numbers_of_the_picture(found: Any) -> None:
    for index in range(3):
        tensors, known = sent(vs.view(found, picture=index))
        assert known["index"] == index
        assert set(tensors) == {"picture", *(f"maps/{method}" for method in METHODS)}
        np.testing.assert_array_equal(tensors["picture"], found["daam"].pictures[index].numpy())
        for method, explanation in found.items():
            arrays, header = decode(tensors[f"maps/{method}"].tobytes())
            np.testing.assert_array_equal(arrays["map"], explanation.maps[index].numpy())
            assert ("flow" in arrays) == (explanation.flow is not None)
            if explanation.flow is not None:
                np.testing.assert_array_equal(arrays["flow"], explanation.flow[index].numpy())
            assert header["score"] == pytest.approx(float(explanation.scores[index]))
        best = found["daam"].logits[index].softmax(0).max()
        assert known["predictions"][0]["probability"] == pytest.approx(float(best), abs=1e-6)


def test_what_a_reader_chooses_on_the_page_stands_in_python(view: Any, found: Any) -> None:
    view.set_state({"method": "rollout", "block": 2, "selection": [17, 3, 17]})  # as a page sends it
    assert (view.method, view.block, view.selection) == ("rollout", 2, [3, 17])
    assert view.explanation is found["rollout"]
    assert torch.equal(view.shown, found["rollout"].flow[0, 2])
    view.block = None
    assert torch.equal(view.shown, found["rollout"].maps[0])
    before = view.get_state("_data")["_data"]
    view.set_state({"picture": 2})
    assert view.get_state("_data")["_data"] != before and sent(view)[1]["index"] == 2
    assert torch.equal(view.shown, found["rollout"].maps[2])


def test_what_is_set_in_python_is_told_to_the_page(view: Any) -> None:
    told: list[str] = []
    view.observe(lambda change: told.append(change["name"]))
    view.method, view.block, view.picture, view.selection = "rollout", 4, -1, [5]
    assert {"method", "block", "picture", "selection", "_data"} <= set(told)
    assert view.picture == 2, "counted from the end, as everywhere"
    state = view.get_state()
    assert {"method", "block", "picture", "selection", "scale", "curve", "opacity", "smooth"} <= set(state)


def test_a_rollout_that_starts_later_counts_its_blocks_from_there() -> None:
    vit = vs.open_model("bundled/shapes")
    pictures = vs.worlds.world("shapes").sample(1, seed=5).images()
    late = vs.explain(vit, pictures, {"rollout": {"start_block": 2}})["rollout"]
    view = vs.view(late, block=2)
    assert torch.equal(view.shown, late.flow[0, 0])
    with pytest.raises(MethodError, match="expected a block from 2 to 5, got 1"):
        view.block = 1


def test_a_block_or_patches_that_the_next_method_lacks_are_let_go(view: Any) -> None:
    view.method, view.block, view.selection = "daam", 5, [100]
    view.method = "saliency"  # a map of pixels without a flow
    assert view.block is None
    same_grid = view.explanation.maps.shape[-2:] == (12, 12)
    assert view.selection == ([100] if same_grid else [])


@pytest.mark.parametrize(
    ("name", "value", "problem", "words"),
    [
        ("method", "dam", MethodError, "no explanation by 'dam' is in this view; nearest: daam"),
        ("block", 6, MethodError, "expected a block from 0 to 5, got 6"),
        ("picture", 3, PictureError, "expected a picture from 0 to 2, got 3"),
        ("selection", [144], PlaceError, "expected patches from 0 to 143, got 144"),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_changes(
    view: Any, name: str, value: Any, problem: type[Exception], words: str
) -> None:
    before = view.get_state(["method", "block", "picture", "selection"])
    with pytest.raises(problem, match=words):
        setattr(view, name, value)
    assert view.get_state(["method", "block", "picture", "selection"]) == before


def test_pictures_are_named_by_their_files_and_else_counted(found: Any, tmp_path: Any) -> None:
    assert vs.view(found).get_state("_about")["_about"]["pictures"] == ["picture 0", "picture 1", "picture 2"]
    vs.worlds.demo_pictures(1).images()[0].save(tmp_path / "heron.png")
    named = vs.explain(vs.open_model("bundled/shapes"), [tmp_path], "rollout")
    assert vs.view(named).get_state("_about")["_about"]["pictures"] == ["heron.png"]


def test_one_explanation_or_several_of_the_same_pictures(found: Any) -> None:
    assert vs.view(found["dart"]).method == "dart"
    assert list(vs.view([found["dart"], found["daam"]]).explanations) == ["dart", "daam"]
    with pytest.raises(PictureError, match="same pictures"):
        vs.view({"a": found["dart"], "b": found["daam"][0]})
    with pytest.raises(RenderingError, match="explanations"):
        vs.view("daam")  # type: ignore[arg-type]


def test_without_pictures_there_is_still_a_map() -> None:
    vit = vs.open_model("bundled/shapes")
    bare = vs.explain(vit, vs.worlds.demo_pictures(1).images(), "daam", keep_pictures=False)
    tensors, _ = sent(vs.view(bare))
    assert set(tensors) == {"maps/daam"}


def test_where_no_widgets_run_the_still_form_shows(view: Any, found: Any) -> None:
    data = view._repr_mimebundle_()
    data = data[0] if isinstance(data, tuple) else data
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"] == found._repr_html_()
    single = vs.view(found["dart"])._repr_mimebundle_()
    single = single[0] if isinstance(single, tuple) else single
    assert single["text/html"] == found["dart"]._repr_html_()


def test_without_the_extra_one_line_says_what_to_install(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *rest: Any) -> Any:
        if name == "anywidget":
            raise ModuleNotFoundError("No module named 'anywidget'", name="anywidget")
        return importlib_import(name, *rest)

    importlib_import = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"vs\.view needs the package anywidget; .*\[notebook\]"):
        vs.view(found)


def test_without_its_page_one_line_says_how_to_build_it(
    found: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from vitscope.app.notebook import widget

    monkeypatch.setattr(widget, "BUNDLE", tmp_path)
    with pytest.raises(RenderingError, match="is not built; run 'make page'"):
        vs.view(found)
