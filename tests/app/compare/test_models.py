"""Two studies held against each other: matched by what is in the pictures, paired as pandas and a coin do it."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import vitscope as vs
from tests.app.compare.asking import answered
from tests.app.compare.conftest import ALONE, SHARED, evaluated
from vitscope.app.settings import Settings
from vitscope.studies import StudyError, pair


def asked(study: Path, beside: Path | None, path: str = "api/compare/models") -> Any:
    """The answer of an address, of two studies without their models."""
    other = None if beside is None else Settings(study=str(beside))
    return answered(Settings(study=str(study), beside=other), path, {})


def by_content(place: Path) -> pd.DataFrame:
    """Every score with the content of its picture."""
    opened = vs.Study.open(place)
    pictures = opened.table("pictures")[["picture", "content", "key"]]
    return opened.table("scores").merge(pictures, on="picture")


def flipped(gaps: np.ndarray) -> float:
    """The share of all choices of signs whose sum is as far from 0."""
    signs = np.array(list(itertools.product([1, -1], repeat=len(gaps))))
    return float(np.mean(np.abs(signs @ gaps) >= abs(gaps.sum()) * (1 - 1e-9)))


def test_pictures_are_matched_by_what_is_in_them(study: Path, beside: Path) -> None:
    found = pair(vs.Study.open(study), vs.Study.open(beside))
    assert (len(found.ids), found.only) == (SHARED, (12 - SHARED, ALONE))
    contents = [
        opened.table("pictures").set_index("picture")["content"].loc[rows].tolist()
        for opened, rows in zip((found.first, found.second), found.rows, strict=True)
    ]
    assert contents[0] == contents[1] == list(found.ids)
    assert found.rows[0].tolist() != found.rows[1].tolist(), "the same place is another picture"
    assert repr(found) == "<PairedStudies of shapes and position: 10 pictures in both>"


def test_the_numbers_are_those_of_both_tables(study: Path, beside: Path) -> None:
    told = asked(study, beside)
    tables = [by_content(place) for place in (study, beside)]
    common = set(tables[0]["content"]) & set(tables[1]["content"])
    assert told["names"] == ["shapes", "position"] and told["missing"] is None
    assert (told["pictures"], told["only"]) == (len(common), [12 - SHARED, ALONE])

    wide = [
        table[table["content"].isin(common)].pivot(index="content", columns="method", values="value")
        for table in tables
    ]
    scores = {(each["model"], each["method"]): each for each in told["scores"]}
    assert set(scores) == {
        *(("shapes", name) for name in ("dart", "daam", "random")),
        *(("position", name) for name in ("gmar", "dart", "daam", "random")),
    }
    for (model, method), each in scores.items():
        values = wide[told["names"].index(model)][method]
        assert each["value"] == pytest.approx(values.mean()) and each["n"] == SHARED
        assert each["low"] < each["value"] < each["high"] and each["undefined"] == 0
        drawn = np.random.default_rng(0).integers(SHARED, size=(20_000, SHARED))
        ends = np.quantile(values.to_numpy()[drawn].mean(1), [0.025, 0.975])
        np.testing.assert_allclose([each["low"], each["high"]], ends, atol=0.1 * (ends[1] - ends[0]))

    gaps = {name: (wide[0][name] - wide[1][name]).to_numpy() for name in ("daam", "dart", "random")}
    p = {name: flipped(each) for name, each in gaps.items()}
    holm: dict[str, float] = {}
    for rank, name in enumerate(
        sorted(p, key=p.__getitem__)
    ):  # the smallest times 3, the next times 2, never falling
        holm[name] = min(1.0, max([*holm.values(), (len(p) - rank) * p[name]]))
    verdicts = {each["method"]: each for each in told["verdicts"]}
    assert set(verdicts) == set(gaps), "gmar is scored by one of them alone"
    for name, each in verdicts.items():
        assert each["difference"] == pytest.approx(gaps[name].mean()) and each["n"] == SHARED
        assert each["p"] == pytest.approx(holm[name], abs=1e-9)
        better = "" if holm[name] >= 0.05 else "shapes" if gaps[name].mean() > 0 else "position"
        assert (each["better"], each["verdict"]) == (better, f"{better} is better" if better else "undecided")
    assert {each["verdict"] for each in verdicts.values()} >= {"undecided"}
    assert told["metrics"][0]["ranking"][0] == wide[0].mean().idxmax()


def test_maps_of_both_agree_as_scipy_says(study: Path, beside: Path) -> None:
    told = {each["method"]: each for each in asked(study, beside)["agreement"]}
    assert set(told) == {"daam", "dart"}
    opened = [vs.Study.open(place) for place in (study, beside)]
    places = [each.table("pictures").set_index("content")["picture"] for each in opened]
    common = [content for content in places[0].index if content in places[1].index and content]
    for name, each in told.items():
        maps = [
            study.array(f"maps/{name}")[:][place.loc[common].to_numpy()].reshape(SHARED, -1)
            for study, place in zip(opened, places, strict=True)
        ]
        by_hand = [spearmanr(one, other).statistic for one, other in zip(*maps, strict=True)]
        assert each["rank"] == pytest.approx(np.mean(by_hand)) and each["n"] == SHARED


def test_what_is_to_be_known_is_told(study: Path, beside: Path) -> None:
    units, classes = asked(study, beside)["notes"]
    assert "units of each model's own logits" in units
    assert classes.startswith("other label sets: shapes tells 10 classes apart, position 9")
    about = asked(study, beside, "api/about")["beside"]
    assert (about["names"], about["path"]) == (["shapes", "position"], "beside")
    assert asked(study, beside, "beside/api/pictures")["count"] == SHARED + ALONE
    assert asked(study, None, "api/about")["beside"] is None


def test_one_model_held_against_itself_differs_in_nothing(study: Path, tmp_path: Path) -> None:
    place = evaluated(tmp_path / "again", study.parent / "pictures", model="bundled/shapes")
    told = asked(study, place)
    assert told["names"] == ["study", "again"], "the models have one name, so the places tell them apart"
    assert told["notes"] == ["both studies are of the same weights"] and told["only"] == [0, 0]
    (daam,) = [each for each in told["verdicts"] if each["method"] == "daam"]
    assert daam["difference"] == 0 and daam["verdict"] == "undecided" and daam["p"] == 1
    own = vs.Study.open(study).leaderboard().interval("daam", "srg")
    (score,) = [each for each in told["scores"] if (each["model"], each["method"]) == ("study", "daam")]
    assert [score["value"], score["low"], score["high"]] == [own.value, own.low, own.high], (
        "of all its pictures"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": vs.Protocol(steps=3, random_draws=1)}, "not comparable (steps: 4 against 3)"),
        ({"protocol": vs.Protocol(steps=4, random_draws=1, score="probability")}, "score: 'logit' against"),
    ],
)
def test_scores_of_other_protocols_are_not_held_against_each_other(
    study: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    place = evaluated(tmp_path / "study", study.parent / "pictures", **changes)
    told = asked(study, place)
    assert told["scores"] == told["verdicts"] == [] and told["pictures"] == 12
    assert said in told["missing"]["reason"] and "evaluate both by one protocol" in told["missing"]["reason"]
    assert {each["method"] for each in told["agreement"]} == {"daam"}, "the maps are compared all the same"


def test_a_method_with_other_options_is_not_paired(study: Path, tmp_path: Path) -> None:
    chosen = {"options": {"dart": {"kappa": 2.0}}, "methods": ("dart", "daam")}
    place = evaluated(tmp_path / "study", study.parent / "pictures", **chosen)
    told = asked(study, place)
    assert {each["method"] for each in told["verdicts"]} == {"daam", "random"}
    (unlike,) = told["unlike"]
    assert unlike["method"] == "dart" and "kappa: None against 2" in unlike["reason"]


def test_what_cannot_be_compared_is_one_line_with_a_remedy(study: Path, beside: Path, tmp_path: Path) -> None:
    first = vs.Study.open(study)
    with pytest.raises(StudyError, match="the same study; name another one"):
        pair(first, vs.Study.open(study))
    (tmp_path / "one.png").write_bytes((next((beside.parent / "pictures").glob("other-0*"))).read_bytes())
    other = evaluated(tmp_path / "study", tmp_path / "one.png")
    told = asked(study, other)["missing"]
    assert "no picture is in both studies (12 are computed" in told["reason"] and "\n" not in told["reason"]
    assert told["command"].startswith("vitscope study create NEW --model bundled/position --images")
    assert "one study is served" in asked(study, None)["missing"]["reason"]

    half = tmp_path / "half"
    shutil.copytree(beside, half)
    for record in (half / "shards" / "main").glob("000001*"):
        record.unlink()
    growing = asked(study, half)
    assert growing["pictures"] == 5 and "finished" in growing["missing"]["reason"] and growing["scores"] == []
