"""Pictures that vanish, change, or cannot be used: none is lost without a reason, and no result mixes two contents."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

import vitscope as vs
from tests.studies.surviving import FinishedOnce, left_behind, records_of, started
from tests.studies.worlds import files_of, folder_of_pictures, made
from vitscope.errors import SourceError
from vitscope.storage.recipe import digest_of
from vitscope.studies import Retry, Sizes, Study
from vitscope.studies.engines.in_process import LocalEngine
from vitscope.studies.worker import Worker

IN_ORDER = LocalEngine.run
SMALL: dict[str, Any] = {"methods": ["gmar"], "sizes": Sizes(shard_size=2, batch_size=2, threads=1)}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return folder_of_pictures(tmp_path / "pictures", 6)


def opened(study: Study, once: FinishedOnce) -> Study:
    return Study.open(study.place, vit=once.vit)


@pytest.mark.parametrize("how", ["renamed", "emptied"])
def test_a_place_of_pictures_that_vanishes_stops_the_run(
    pictures: Path, tmp_path: Path, once: FinishedOnce, how: str
) -> None:
    study = opened(made(tmp_path / "study", pictures, **SMALL), once)
    assert study.run(limit=1).shards == 1
    away = shutil.copytree(pictures, tmp_path / "away")
    shutil.rmtree(pictures)
    if how == "emptied":  # as a mount leaves it
        pictures.mkdir()
    with pytest.raises(SourceError, match=rf"^the folder of the pictures {pictures} is gone; [^\n]+$"):
        study.run()
    assert study.status().skipped == 0 and not study.status().stages[0].failed
    assert left_behind(tmp_path / "study") == []
    shutil.copytree(away, pictures, dirs_exist_ok=True)
    report = study.run()
    assert report.whole and report.skipped == 0


def test_a_file_that_is_gone_or_that_no_decoder_survives_is_skipped(
    pictures: Path, tmp_path: Path, once: FinishedOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(made(tmp_path / "study", pictures, **SMALL), once)
    (pictures / "001.png").unlink()
    Image.new("RGB", (50, 50)).save(pictures / "004.png")
    real = PngImageFile.load

    def crashing(this: Any) -> Any:
        if this.size == (50, 50):
            raise SystemError("error return without exception set")
        return real(this)

    monkeypatch.setattr(PngImageFile, "load", crashing)
    report = study.run()
    assert report.whole and report.skipped == 2
    table = study.table("pictures").set_index("key")
    reasons = table.loc[table["status"] == "skipped", "reason"]
    assert list(reasons.index) == ["001.png", "004.png"]
    assert "001.png" in reasons["001.png"] and "error return without exception" in reasons["004.png"]
    assert "\n" not in "".join(reasons)
    maps = study.array("maps/gmar")[:]
    assert np.isnan(maps).all((1, 2)).tolist() == [False, True, False, False, True, False]


def test_answers_without_numbers_and_scores_without_gradients_are_told_by_picture(
    pictures: Path, tmp_path: Path, once: FinishedOnce
) -> None:
    vit = vs.open_model("bundled/shapes")
    study = made(tmp_path / "study", pictures, analyses={"explain": {}, "strength": {}}, **SMALL)
    poisoned = vit.images([pictures / "003.png"])[0]
    flat = vit.images([pictures / "004.png"])[0]

    def poison(module: Any, given: Any, answer: torch.Tensor) -> torch.Tensor:
        of = given[0]
        bad = torch.tensor([torch.equal(each.detach(), poisoned) for each in of])
        dull = torch.tensor([torch.equal(each.detach(), flat) for each in of])
        answer = torch.where(bad[:, None], torch.full_like(answer, float("nan")), answer)
        return torch.where(dull[:, None], answer.detach(), answer)

    handle = vit.model.register_forward_hook(poison)
    try:
        report = Study.open(study.place, vit=vit).run()
    finally:
        handle.remove()
    assert report.whole and report.skipped == 1
    table = study.table("pictures").set_index("key")
    assert table["status"].tolist() == ["ok", "ok", "ok", "skipped", "ok", "ok"]
    assert "finite" in table.loc["003.png", "reason"] or "NaN" in table.loc["003.png", "reason"]
    assert (
        table.loc["004.png", "reason"].startswith("explain: ")
        and "gradient" in table.loc["004.png", "reason"]
    )
    assert np.isnan(study.array("maps/gmar")[:]).all((1, 2)).tolist() == [False] * 3 + [True] * 2 + [False]
    alone = made(tmp_path / "alone", pictures, **SMALL)
    alone.run()
    np.testing.assert_allclose(study.array("maps/gmar")[2], alone.array("maps/gmar")[2], rtol=1e-4, atol=1e-5)


def test_what_was_read_is_recorded_and_no_stage_mixes_two_contents(
    once: FinishedOnce, tmp_path: Path
) -> None:
    pictures = shutil.copytree(once.pictures, tmp_path / "pictures")
    place = tmp_path / "study"
    once.copy(place)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["input"]["url"] = str(pictures)
    del manifest["checksum"]
    manifest["checksum"] = digest_of(manifest)
    (place / "manifest.json").write_text(json.dumps(manifest))
    study = Study.open(place, vit=once.vit)
    study.run(limit=3)  # the means, from the pictures as they are
    before = (pictures / "003.png").read_bytes()
    (pictures / "003.png").write_bytes((pictures / "001.png").read_bytes())
    report = study.run()
    assert report.whole and report.skipped == 2  # the bad file, and this one
    row = study.table("pictures").set_index("key").loc["003.png"]
    assert row["status"] == "skipped" and "was changed" in row["reason"]
    assert np.isnan(study.array("maps/gmar")[int(row["picture"])]).all()
    # Asked to, it takes the file as it is now, in every stage.
    done = set(started(place))
    report = study.run(retry=Retry(skipped=True))
    assert report.whole and report.skipped == 1 and done
    table = study.table("pictures").set_index("key")
    assert table.loc["003.png", "content"] == table.loc["001.png", "content"]
    assert np.isfinite(study.array("patterns/codes")[int(row["picture"])]).all()
    # And with the first content back, all is as if nothing had been.
    (pictures / "003.png").write_bytes(before)
    for record in place.glob("shards/means/*.json"):
        record.unlink()
    assert study.run().whole
    assert files_of(place).keys() == once.expected.keys()
    differing = {path for path, content in files_of(place).items() if content != once.expected[path]}
    # Of the bad file of shard 0 the reason names the folder, which is another one here.
    assert {path.replace("c.0.", "000000.").split("/")[-1][:6] for path in differing} == {"000000"}
    assert all(path.startswith(("tables/pictures", "states/m", "shards/m")) for path in differing)


def test_an_archive_that_is_cut_off_later_costs_its_last_pictures(
    pictures: Path, tmp_path: Path, once: FinishedOnce
) -> None:
    archive = tmp_path / "pictures.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(pictures.iterdir()):
            tar.add(path, path.name)
    study = opened(made(tmp_path / "study", archive, **SMALL), once)
    content = archive.read_bytes()
    with tarfile.open(archive) as tar:
        end = tar.getmembers()[4].offset_data + 100
    archive.write_bytes(content[:end])
    report = study.run()
    assert report.whole and report.skipped == 2
    reasons = study.table("pictures")["reason"].tolist()
    assert study.table("pictures")["status"].tolist() == ["ok"] * 4 + ["skipped"] * 2
    assert all("cut short" in reason for reason in reasons[4:])
    archive.write_bytes(content)
    assert study.run(retry=Retry(skipped=True)).skipped == 0
    assert np.isfinite(study.array("maps/gmar")[:]).all()


def test_a_poison_shard_is_given_up_and_the_others_are_done(
    once: FinishedOnce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "study"
    study = once.copy(place)
    real = Worker._write

    def poisoned(this: Worker, stage: Any, shard: int, *more: Any) -> Any:
        if (stage.name, shard) == ("main", 1):
            raise ArithmeticError("no such\nluck")
        return real(this, stage, shard, *more)

    with once.replayed(), monkeypatch.context() as patch:
        patch.setattr(Worker, "_write", poisoned)
        for tries in (3, 3):  # a second run does not try it again by itself
            report = study.run()
            assert report.failed == {("main", 1): "ArithmeticError: no such luck"}
            assert report.waiting == ["fit", "code"] and not report.whole
            assert started(place).count("shards/main/000001.json") == tries
        assert {name for name in records_of(place) if "main/" in name} == {
            f"shards/main/{shard:06d}.json" for shard in (0, 2)
        }
        status = next(stage for stage in study.status().stages if stage.name == "main")
        assert status.failed == {1: "ArithmeticError: no such luck"} and status.done == 2
    with once.replayed():
        assert study.run(retry=Retry(failed=True)).whole
    assert files_of(place) == once.expected and left_behind(place) == []


def test_threads_and_order_change_no_bit(once: FinishedOnce, tmp_path: Path) -> None:
    for turn, threads in enumerate((1, 2)):
        place = tmp_path / str(turn)
        study = once.copy(place)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with pytest.MonkeyPatch.context() as patch:

                def backwards(this: Any, stage: Any, shards: Any, told: Any, check: Any) -> None:
                    IN_ORDER(this, stage, shards[::-1], told, check)

                if turn:
                    patch.setattr(LocalEngine, "run", backwards)
                assert study.run(decode_workers=1 + 2 * turn).whole
        finally:
            torch.set_num_threads(before)
        assert files_of(place) == once.expected


def test_one_shard_again_gives_the_same_bytes(once: FinishedOnce, tmp_path: Path) -> None:
    study = once.copy(tmp_path / "study", finished=True)
    for name in ("shards/main/000001.json", "shards/fit/000000.json"):
        (tmp_path / "study" / name).unlink()
    assert study.run().shards == 2
    assert files_of(tmp_path / "study") == once.expected
