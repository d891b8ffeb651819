"""The library: sorted by what the study holds, a study without its model, and 50,000 pictures."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.conftest import FIRST
from tests.app.browser.expected import colours
from tests.app.browser.serving import Served, serving

MANY = 50_000


def shown(app: App) -> list[str]:
    """The ids of the pictures in sight, in the order of the grid."""
    return [cell.get_attribute("data-picture") for cell in app.pictures.all()]


def sort_by(app: App, words: str) -> App:
    app.page.get_by_label("Sort", exact=True).select_option(words)
    return app.settled()


def test_sorting_follows_what_the_study_holds(app: App, study: Path, ids: dict[str, str]) -> None:
    held = vs.Study.open(study)
    names = held.table("pictures")["key"].tolist()
    drops = held.array("head_scores/probability_drop_top")[:].reshape(len(names), -1).max(1)
    first = held.table("predictions").query("rank == 0").set_index("picture")
    features = held.array("features")[:]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)

    def order(values: Any) -> list[str]:
        return [ids[names[row]] for row in np.argsort(-np.asarray(values), kind="stable")]

    app.open()
    sort_by(app, "drop")
    assert shown(app) == order(drops) and app.view["sort"] == "-drop"
    sort_by(app, "entropy")
    assert shown(app) == order(first["entropy"])
    reference = names[5]
    app.page.locator(f"[data-picture='{ids[reference]}']").click()
    sort_by(app, "similarity")
    assert shown(app) == order(unit @ unit[5]) and app.view["sort"] == f"-similarity:{ids[reference]}"
    second = shown(app)[1]
    app.page.locator(f"[data-picture='{second}']").click()
    app.settled()
    assert shown(app) == order(unit @ unit[5]), "another choice alone changes no order"
    facts = {
        each.get_attribute("data-fact"): each.inner_text() for each in app.page.get_by_test_id("fact").all()
    }
    row = names.index(next(name for name, id in ids.items() if id == second))
    assert facts["drop"].startswith(f"−{drops[row]:.3f} without")
    assert float(facts["similarity"]) == pytest.approx(float(unit[row] @ unit[5]), abs=2e-3)
    assert float(facts["entropy"].split()[0]) == pytest.approx(float(first["entropy"][row]), rel=0.01)


def test_a_study_whose_weights_are_gone_shows_what_it_holds(
    app: App, picture_files: list[Path], tmp_path: Path
) -> None:
    """And what it does not hold is greyed, with the reason."""
    weights, place, pictures = tmp_path / "mine.safetensors", tmp_path / "study", tmp_path / "pictures"
    pictures.mkdir()
    for file in picture_files[:3]:
        shutil.copy(file, pictures)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model("test_vit", num_classes=4).state_dict(), weights)
    made = vs.Study.create(
        place,
        model="timm/test_vit",
        weights=str(weights),
        num_classes=4,
        images=str(pictures),
        methods=["daam"],
        arrays=("maps", "flow"),
    )
    assert made.run().whole
    weights.unlink()
    held = vs.Study.open(place)
    with serving(place) as served:
        app.open(served.url)
        note = app.page.get_by_role("region", name="To be known").inner_text()
        assert note.startswith("Nothing can be computed here") and "mine.safetensors" in note
        assert app.pictures.count() == 3
        options = app.page.get_by_label("Sort", exact=True).locator("option")
        reasons = {option.get_attribute("value"): option for option in options.all()}
        assert "make it with --analyses importance" in reasons["drop"].inner_text()
        assert "make it with --arrays features" in reasons["similarity"].inner_text()
        assert reasons["drop"].is_disabled() and reasons["similarity"].is_disabled()
        assert not reasons["entropy"].is_disabled(), "predictions say it"
        app.explain(FIRST)
        app.plain()
        keys = held.table("pictures")["key"].tolist()
        row = keys.index(FIRST)
        flow = held.array("flow/daam")[row].astype(np.float32)
        np.testing.assert_array_equal(
            app.map_pixels()[..., :3], colours(held.array("maps/daam")[row], signed=False)
        )
        app.go_to_block(len(flow) - 1)
        np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(flow[-1], signed=False))
        table = held.table("predictions").query(f"picture == {row}").set_index("class")["probability"]
        assert app.probabilities() == pytest.approx(table.to_dict(), abs=1e-6)
        assert app.page.get_by_role("switch").count() == 0, "no head can be switched off"


def test_50_000_pictures_scroll_like_fifty(app: App, served: Served) -> None:
    """What is drawn, and what is asked for, does not grow with the library; nothing here looks at a clock."""
    with urlopen(f"{served.url}api/pictures") as answer:
        told = json.load(answer)
    few = told["columns"]
    places = range(MANY)
    drawn = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {name: [values[0]] * MANY for name, values in few.items()}
    confidence = drawn.random(MANY).round(6)
    columns |= {
        "id": [f"{place:032x}" for place in places],
        "name": [f"{place:05d}.png" for place in places],
        "key": [f"{place:05d}.png" for place in places],
        "row": list(places),
        "confidence": confidence.tolist(),
        "label_name": [f"class {place % 1000}" for place in places],
        "correct": [place % 4 > 0 for place in places],
    }
    body = json.dumps({"count": MANY, "total": MANY, "columns": columns})
    app.page.route("**/api/pictures", lambda route: route.fulfill(content_type="application/json", body=body))
    asked: list[str] = []
    with urlopen(f"{served.url}api/pictures/{few['id'][0]}/thumbnail.png") as answer:
        tile = answer.read()

    def thumbnail(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(content_type="image/png", body=tile)

    app.page.route("**/thumbnail.png", thumbnail)
    app.open()
    counted = app.page.get_by_test_id("counted")
    assert counted.inner_text() == "50,000 of 50,000 shown"
    in_sight = app.pictures.count()
    assert 20 < in_sight < 200 and len(asked) <= in_sight
    frame = app.page.get_by_role("listbox", name="Pictures")
    for share in (0.5, 1.0):
        frame.evaluate("(frame, share) => { frame.scrollTop = share * frame.scrollHeight; }", share)
        app.settled()
        assert app.pictures.count() < 200
    assert app.pictures.last.get_attribute("data-picture") == columns["id"][-1]
    assert len(asked) < 600, "only what comes into sight is asked for"
    app.page.get_by_label("Sort", exact=True).select_option("confidence")
    app.button("↑ ascending").click()
    frame.evaluate("frame => { frame.scrollTop = 0; }")
    app.settled()
    best = np.argsort(-confidence, kind="stable")
    assert app.pictures.first.get_attribute("data-picture") == columns["id"][best[0]]
    app.page.get_by_role("radio", name=re.compile("^wrong")).check()
    app.settled()
    assert counted.inner_text() == "12,500 of 50,000 shown"
    assert (
        app.pictures.first.get_attribute("data-picture") == columns["id"][next(p for p in best if p % 4 == 0)]
    )
    assert app.page.locator("*").count() < 3000, "the page does not grow with the library"
