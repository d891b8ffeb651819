"""A study gives what the library gives, whatever stopped it on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import vitscope as vs
from tests.studies.worlds import EVERYTHING, QUICK, files_of, folder_of_pictures, made
from vitscope.errors import VitscopeError
from vitscope.studies import OtherStudyError, Retry, Sizes, Study, StudyError

METHODS = ["gmar", "daam"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_pictures(tmp_path_factory.mktemp("pictures"), 9, bad=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Study:
    """A finished study with every analysis, of nine pictures and one file that is none."""
    place = tmp_path_factory.mktemp("whole") / "study"
    study = made(
        place, pictures, analyses=EVERYTHING, arrays=("maps", "flow", "class_rows", "features", "attention")
    )
    assert study.run().whole
    return study


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return vs.open_model("bundled/shapes")


def good(pictures: Path) -> list[Path]:
    return sorted(path for path in pictures.iterdir() if "bad" not in path.name)


def rows_of(study: Study) -> np.ndarray:
    table = study.table("pictures")
    return table[table["status"] == "ok"]["picture"].to_numpy()


def test_maps_and_flows_are_those_of_explain(whole: Study, pictures: Path, vit: vs.Vit) -> None:
    rows = rows_of(whole)
    explained = vs.explain(vit, good(pictures), METHODS)
    for name, explanation in explained.items():
        maps = whole.array(f"maps/{name}")[:]
        np.testing.assert_allclose(maps[rows], explanation.maps.numpy(), rtol=1e-4, atol=1e-5)
        assert np.isnan(np.delete(maps, rows, axis=0)).all()
        flow = whole.array(f"flow/{name}")[:]
        np.testing.assert_allclose(flow[rows], explanation.flow.numpy(), rtol=2e-3, atol=2e-3)


def test_predictions_are_the_models(whole: Study, pictures: Path, vit: vs.Vit) -> None:
    logits = vit.forward(vit.images(good(pictures)))
    table = whole.table("predictions")
    first = table[table["rank"] == 0]
    assert first["class"].tolist() == logits.argmax(1).tolist() == first["target"].tolist()
    expected = logits.softmax(1).amax(1)
    np.testing.assert_allclose(first["probability"], expected.numpy(), rtol=1e-4)


def test_leaderboard_is_that_of_evaluate(whole: Study, pictures: Path, vit: vs.Vit) -> None:
    # Random draws depend on the keys, which in a study are relative to its folder.
    data = vs.evaluation.evaluation_set(good(pictures), keys=[path.name for path in good(pictures)])
    board = vs.evaluate(
        vit, data, methods=METHODS, metrics=["srg"], protocol=QUICK, controls=("random", "uniform")
    )
    mine = whole.leaderboard()
    assert mine.names == board.names and mine.metrics == board.metrics
    columns = ["value", "low", "high", "n"]
    np.testing.assert_allclose(
        mine.to_pandas()[columns].to_numpy(float),
        board.to_pandas()[columns].to_numpy(float),
        rtol=1e-3,
        atol=1e-4,
    )
    assert mine.recipe.shard_digest == board.recipe.shard_digest


def test_importance_is_that_of_heads(whole: Study, pictures: Path, vit: vs.Vit) -> None:
    table = vs.heads.importance(vit, good(pictures), replacement="mean", representation="none")
    mine = whole.heads()
    assert mine.pictures == tuple(path.name for path in good(pictures))
    for metric, values in table.values.items():
        np.testing.assert_allclose(mine[metric], values, rtol=1e-2, atol=1e-4, err_msg=metric)


def test_strength_is_that_of_heads(whole: Study, pictures: Path, vit: vs.Vit) -> None:
    profile, mine = vs.heads.strength(vit, good(pictures)), whole.strength()
    for name, values in profile.values.items():
        np.testing.assert_allclose(mine[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(mine.scalars["entropy"], profile.scalars["entropy"], rtol=1e-4)


def test_patterns_are_coded_for_every_picture(whole: Study, pictures: Path, vit: vs.Vit) -> None:
    atlas = whole.patterns()
    codes, clusters = whole.array("patterns/codes")[:], whole.array("patterns/clusters")[:]
    placed = atlas.map_pictures(vit, good(pictures), per_head=100)
    rows = rows_of(whole)
    at = placed.maps
    for (_, row), code, cluster in zip(at.iterrows(), placed.codes, placed.clusters, strict=True):
        picture = rows[[path.name for path in good(pictures)].index(Path(row["picture"]).name)]
        np.testing.assert_allclose(codes[picture, row["block"], row["head"]], code, rtol=2e-2, atol=2e-2)
        assert clusters[picture, row["block"], row["head"]] == cluster


def test_attention_and_its_class_rows(whole: Study, pictures: Path, vit: vs.Vit) -> None:
    trace = vit.trace(vit.images(good(pictures)[:1]), gradient=False)
    row = rows_of(whole)[0]
    attention, class_rows = whole.array("attention")[row], whole.array("class_rows")[row]
    for block, site in enumerate(trace.sites):
        np.testing.assert_allclose(attention[block], site.attention()[0].numpy(), rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(class_rows[block], site.attention()[0, :, 0].numpy(), rtol=2e-3, atol=1e-4)


def test_features_are_the_class_token_after_the_last_block(whole: Study, pictures: Path, vit: vs.Vit) -> None:
    trace = vit.trace(vit.images(good(pictures)), gradient=False, capture=vs.tracing.Capture(streams=True))
    expected = trace.block_outputs[-1][:, 0].numpy()
    np.testing.assert_allclose(whole.array("features")[rows_of(whole)], expected, rtol=1e-4, atol=1e-4)
    assert whole.array("features").dims == ("picture", "feature")


def test_predictions_say_how_sure_they_are(whole: Study, pictures: Path, vit: vs.Vit) -> None:
    shares = vit.forward(good(pictures)).softmax(-1).numpy()
    first = whole.table("predictions").query("rank == 0").set_index("picture")
    entropy = first.loc[rows_of(whole), "entropy"]
    np.testing.assert_allclose(entropy, -(shares * np.log2(shares)).sum(1), rtol=1e-3, atol=1e-5)


def test_bad_pictures_are_recorded_with_the_reason(whole: Study) -> None:
    table = whole.table("pictures")
    skipped = table[table["status"] == "skipped"]
    assert skipped["key"].tolist() == ["000-bad.png"] and "000-bad.png" in skipped["reason"].iloc[0]
    assert table["picture"].tolist() == list(range(10))
    assert (table["width"].dropna() == 96).all() and table["content"].notna().all()
    assert whole.status().skipped == 1


def test_two_studies_are_bit_equal(whole: Study, pictures: Path, tmp_path: Path) -> None:
    again = made(
        tmp_path / "again",
        pictures,
        analyses=EVERYTHING,
        arrays=("maps", "flow", "class_rows", "features", "attention"),
    )
    again.run()
    first, second = files_of(Path(whole.place)), files_of(tmp_path / "again")
    ours = {whole.manifest.study: "", again.manifest.study: ""}
    assert first.keys() == second.keys()
    differing = [path for path in first if without(first[path], ours) != without(second[path], ours)]
    # The uuid of a study is part of checksums; what is left must be the records, tables and descriptions that hold it.
    assert [path for path in differing if path.startswith("states/")] == []
    assert whole.manifest.input.digest == again.manifest.input.digest
    assert [path for path in differing if "/c." in path] == []
    for name in whole.manifest.tables:
        assert whole.table(name).equals(again.table(name)), name


def without(content: bytes, texts: dict[str, str]) -> bytes:
    for text in texts:
        content = content.replace(text.encode(), b"")
    return content


def test_a_run_in_pieces_gives_the_same_bits(tmp_path: Path, pictures: Path) -> None:
    place = tmp_path / "study"
    study = made(place, pictures)
    manifest = (place / "manifest.json").read_bytes()
    study.run()
    expected = files_of(place)
    for path in place.glob("shards/*/*.json"):
        path.unlink()
    seen = []
    while not (report := Study.open(place).run(limit=1)).whole:
        seen.append(report.shards)
    assert seen == [1, 1] and report.shards == 1
    assert files_of(place) == expected and (place / "manifest.json").read_bytes() == manifest


def test_a_finished_study_computes_nothing(whole: Study) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(whole.place).glob("tables/*/*")}
    assert Study.open(whole.place).run().shards == 0
    assert before == {path: path.stat().st_mtime_ns for path in Path(whole.place).glob("tables/*/*")}


def test_every_changed_byte_is_found_and_made_again(tmp_path: Path, pictures: Path) -> None:
    place = tmp_path / "study"
    study = made(place, pictures)
    study.run()
    expected = files_of(place)
    rng = np.random.default_rng(0)
    for path in [p for p in expected if p.startswith(("tables/", "states/")) or "/c." in p]:
        content = bytearray(expected[path])
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        (place / path).write_bytes(bytes(content))
        faults = study.status(verified=True).faults
        assert [fault.path for fault in faults] == [path]
        assert not study.status().finished
        study.run()
        assert files_of(place) == expected


def test_another_model_is_refused(whole: Study) -> None:
    other = vs.open_model("bundled/conjunction")
    with pytest.raises(OtherStudyError, match=r"not the model of this study \(other fingerprint"):
        Study.open(whole.place, vit=other)


def test_a_newer_schema_is_refused(tmp_path: Path, pictures: Path) -> None:
    made(tmp_path / "study", pictures)
    path = tmp_path / "study" / "manifest.json"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(OtherStudyError, match="made by schema 3; this vitscope reads up to 2; upgrade"):
        Study.open(tmp_path / "study")


def test_skipped_pictures_are_tried_again_on_request(tmp_path: Path) -> None:
    pictures = folder_of_pictures(tmp_path / "pictures", 5)
    away = pictures / "003.png"
    content = away.read_bytes()
    away.write_bytes(content[:40])
    study = made(tmp_path / "study", pictures)
    assert study.run().skipped == 1 and study.run().shards == 0
    away.write_bytes(content)
    report = study.run(retry=Retry(skipped=True))
    assert (report.shards, report.skipped) == (1, 0)
    assert not np.isnan(study.array("maps/gmar")[:]).any()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"analyses": ["explian"]}, "did you mean explain"),
        ({"analyses": []}, "at least one analysis"),
        ({"analyses": {"explain": {"colour": 1}}}, "has no option 'colour'"),
        ({"analyses": ["strength"]}, "methods are for the analyses explain and evaluate"),
        ({"arrays": ["map"]}, "keeps no array 'map'"),
        ({"arrays": ()}, "keeps maps or flow"),
        ({"methods": ["gmarr"]}, "gmar"),
        ({"sizes": Sizes(shard_size=5, batch_size=2)}, "no whole number of batches"),
        ({"analyses": {"explain": {}, "evaluate": {"metrics": ["grid-pointing"]}}}, "puts pictures together"),
        ({"analyses": {"explain": {}, "evaluate": {"metrics": ["mass"]}}}, "needs masks"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    changed: dict[str, object], words: str, tmp_path: Path, pictures: Path
) -> None:
    with pytest.raises(VitscopeError, match=words):
        made(tmp_path / "study", pictures, **changed)
    assert not (tmp_path / "study" / "manifest.json").exists()


def test_a_place_with_a_study_is_not_overwritten(whole: Study, pictures: Path) -> None:
    with pytest.raises(StudyError, match=r"there is a study at .* already"):
        made(whole.place, pictures)


def test_nothing_is_made_when_the_cost_is_not_agreed_to(tmp_path: Path, pictures: Path) -> None:
    asked = []

    def no(estimate: object) -> bool:
        asked.append(estimate)
        return False

    with pytest.raises(StudyError, match="was not made"):
        made(tmp_path / "study", pictures, approve=no)
    assert asked[0].pictures == 10 and asked[0].forwards > 0 and asked[0].free > 0
    assert not [path for path in (tmp_path / "study").rglob("*") if path.is_file()]


def test_threads_of_the_caller_are_left_alone(tmp_path: Path, pictures: Path) -> None:
    before = torch.get_num_threads()
    made(tmp_path / "study", pictures).run()
    assert torch.get_num_threads() == before
