"""A site holds what the server answers, is written whole, and says in one line why it cannot be written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import vitscope as vs
from tests.app.browsing import Client
from vitscope.app import tensors
from vitscope.app.model.opening import StudiedOpening
from vitscope.app.routes.written import asks_of
from vitscope.app.serving import Background
from vitscope.app.settings import Settings
from vitscope.app.site import folder as folders
from vitscope.app.site.contents import addresses
from vitscope.app.site.making import WHY, Site, write_site
from vitscope.app.site.names import file_of
from vitscope.errors import Cancelled, ModelError, OutputError
from vitscope.progress import Callback
from vitscope.studies.site_cost import SiteCost

LIVE = {
    "/api/pictures/{id}/similarity",
    "/api/pictures/{id}/blocks",
    "/api/pictures/{id}/attention",
    "/api/pictures/{id}/matrix",
    "/api/heads/importance",
    "/api/heads/walk",
    "/api/heads/ablation",
    "/api/heads/partial",
    "/api/heads/response",
    "/api/heads/cumulative",
    "/api/heads/estimate",
    "/api/estimate",
    "/api/export/{form}",
    "/api/python",
    "/api/jobs",
    "/api/events",
}
"""Addresses that need a model or a server that runs; all others say which of their answers a site holds."""


def answers(place: Path) -> dict[str, bytes]:
    """Every file of a site by its name."""
    return {
        path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()
    }


def test_every_address_is_part_of_a_site_or_needs_a_server() -> None:
    silent = {route.path for route in addresses() if asks_of(route.endpoint) is None}
    assert silent >= LIVE
    assert not {path for path in silent if path.startswith("/api/pictures")} - LIVE


def test_the_files_are_what_a_server_without_the_model_answers(site: Site, study: Path) -> None:
    held = answers(site.folder)
    assert site.files == len(held) - 2  # the mark, and a word to hosts that would leave files out
    assert site.bytes == sum(map(len, held.values())) - len(held[folders.MARK])
    (reason,) = site.left_out or ("",)
    assert reason == "", "every answer of a finished study is there"
    with Background(Settings(study=str(study), why_no_model=WHY)) as server:
        client = Client(server.address)
        same = 0
        for id in json.loads(held["api/pictures.json"])["columns"]["id"]:
            for method in ("dart", "daam"):
                asked = {"method": method, "target": "predicted"}
                name = file_of(f"api/pictures/{id}/map", asked, tensors.MEDIA_TYPE).as_posix()
                answer = client.get(f"api/pictures/{id}/map", **asked)
                if name not in held:
                    assert answer.status != 200
                    continue
                ours, theirs = tensors.decode(held[name])[0], answer.arrays[0]
                assert ours.keys() == theirs.keys()
                for array in ours:
                    np.testing.assert_array_equal(ours[array], theirs[array])
                same += 1
    assert same == 2 * 12


def test_maps_and_predictions_are_those_of_the_study(site: Site, study: Path) -> None:
    held, opened = answers(site.folder), vs.Study.open(study)
    columns = json.loads(held["api/pictures.json"])["columns"]
    rows = opened.table("pictures").set_index("key")
    predictions = opened.table("predictions")
    for id, key, skipped in zip(columns["id"], columns["key"], columns["skipped"], strict=True):
        if skipped:
            assert f"api/pictures/{id}/image@size=model.png" not in held
            continue
        row = int(rows.loc[key, "picture"])
        content = held[f"api/pictures/{id}/map@method=daam,target=predicted.bin"]
        np.testing.assert_array_equal(tensors.decode(content)[0]["map"], opened.array("maps/daam")[row])
        own = predictions[predictions["picture"] == row].sort_values("rank")
        top = json.loads(held[f"api/pictures/{id}/prediction@top=5.json"])["top"]
        assert [each["class"] for each in top] == own["class"].tolist()[:5]
        np.testing.assert_allclose([each["probability"] for each in top], own["probability"][:5])
        assert all(each["name"] for each in top)
        assert f"api/pictures/{id}/image@size=model.png" in held


def test_names_are_safe_for_any_host(site: Site) -> None:
    for name in answers(site.folder):
        assert re.fullmatch(r"[\w@=,.\-/]+", name) and len(name.rpartition("/")[2]) < 200, name


def test_the_page_names_nothing_outside_the_site(site: Site) -> None:
    index = (site.folder / "index.html").read_text()
    assert "default-src 'self'" in index and 'name="vitscope-site"' in index
    for address in re.findall(r'(?:src|href)="([^"]+)"', index):
        assert address.startswith("./") and (site.folder / address).is_file()


def test_the_size_is_said_first_and_is_about_right(study: Path, page_is_built: None, tmp_path: Path) -> None:
    told: list[SiteCost] = []

    def refuse(cost: SiteCost) -> bool:
        told.append(cost)
        assert not (tmp_path / "out").exists()
        return False

    with pytest.raises(OutputError, match="not written"):
        write_site(str(study), tmp_path / "out", approve=refuse)
    assert list(tmp_path.iterdir()) == []
    made = write_site(str(study), tmp_path / "out")
    assert told[0].files == made.files
    assert told[0].bytes == pytest.approx(made.bytes, rel=0.25)
    assert not told[0].large and told[0].free is not None


def test_a_second_run_gives_the_same_bytes_and_leaves_nothing_of_the_first(
    study: Path, site: Site, tmp_path: Path
) -> None:
    place = tmp_path / "again"
    shutil.copytree(site.folder, place)
    (place / "api" / "of-another-study.json").write_text("{}")
    made = vs.Study.open(study).site(place)
    assert made == place
    now, before = answers(place), answers(site.folder)
    assert now.keys() == before.keys()
    # The seconds of a pass that are told are measured anew by every run.
    assert {name for name in now if now[name] != before[name]} <= {"api/about.json", folders.MARK}
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_what_is_in_the_way_stays(study: Path, page_is_built: None, tmp_path: Path) -> None:
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("years of work")
    with pytest.raises(OutputError, match="holds other files and is no site") as error:
        write_site(str(study), foreign)
    assert "\n" not in str(error.value)
    assert [path.name for path in foreign.iterdir()] == ["chapter.tex"]
    with pytest.raises(OutputError, match="is a file, not a folder"):
        write_site(str(study), foreign / "chapter.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_a_run_that_is_stopped_or_fails_leaves_what_was_there(
    study: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site"
    shutil.copytree(site.folder, place)
    before = answers(place)
    seen: list[int] = []
    halfway = Callback(lambda _, done, total: seen.append(done), lambda: len(seen) > 20)
    with pytest.raises(Cancelled, match="cancelled"):
        write_site(str(study), place, progress=halfway)
    assert answers(place) == before and [path.name for path in tmp_path.iterdir()] == ["site"]

    write, count = folders.files.write, 0

    def full(path: Path, content: bytes) -> Path:
        nonlocal count
        count += 1
        if count > 30:
            raise OutputError(f"cannot write {path} (No space left on device); free some room")
        return write(path, content)

    monkeypatch.setattr("vitscope.app.site.making.files.write", full)
    with pytest.raises(OutputError, match="No space left"):
        write_site(str(study), place)
    assert answers(place) == before and [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_folder_that_cannot_be_written_is_one_line(study: Path, page_is_built: None) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_site(str(study), "/proc/site")  # where not even root can make a folder


def test_a_study_that_is_half_written_shows_what_is_there(
    study: Path, page_is_built: None, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    shutil.copytree(study, half)
    for record in (half / "shards" / "main").glob("000001*"):
        record.unlink()
    made = write_site(str(half), tmp_path / "site")
    columns = json.loads((made.folder / "api" / "pictures.json").read_text())
    assert (columns["count"], columns["total"]) == (8, 13)
    about = json.loads((made.folder / "api" / "about.json").read_text())
    assert "8 of 13 pictures are computed" in about["study"]["notes"][0] and about["can_compute"] is False


def test_where_the_model_cannot_be_opened_the_rest_is_there(
    study: Path, site: Site, page_is_built: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: StudiedOpening) -> vs.Vit:
        raise ModelError("the weights are gone; give their place")

    monkeypatch.setattr(StudiedOpening, "open", refuse)
    made = write_site(str(study), tmp_path / "site")
    now, before = answers(made.folder), answers(site.folder)
    assert now.keys() == before.keys()
    same = [name for name in now if name.endswith((".png", "pictures.json"))]
    pictures = [name for name in same if now[name] != before[name]]
    assert pictures == ["api/pictures.json"]  # classes have no names
    methods = json.loads(now["api/methods.json"])
    assert {each["name"] for each in methods["methods"] if each["applies"]} == {"dart", "daam"}
    assert all(each["applies"] or WHY in each["reason"] for each in methods["methods"])
