"""What the app tells of all heads of a study is what the study's own tables and results hold."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import numpy as np
import pytest

import vitscope as vs
from tests.app.browsing import Client
from tests.app.heads.conftest import PICTURES, drawn
from vitscope.app.serving import Background
from vitscope.app.settings import Settings


def test_what_the_study_has(headed: vs.Study, headed_client: Client) -> None:
    about = headed_client.get("api/heads/study").json
    assert (about["pictures"], about["computed"], about["finished"]) == (PICTURES, PICTURES, True)
    assert about["heads"] == [4] * 6
    assert about["parts"] == {
        name: {"there": True, "reason": None}
        for name in ("importance", "strength", "patterns", "features", "model")
    }


def test_pictures_by_their_features(headed: vs.Study, headed_client: Client) -> None:
    arrays, known = headed_client.get("api/heads/pictures").arrays
    table = headed.table("pictures")
    assert arrays["rows"].tolist() == table["picture"].tolist() and known["ids"] == table["content"].tolist()
    features = headed.array("features")[:].astype(np.float64)
    centred = features - features.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    np.testing.assert_allclose(np.abs(arrays["layout"]), np.abs(centred @ axes.T), rtol=1e-3, atol=1e-3)


def test_importance_over_all_pictures_and_over_some(headed: vs.Study, headed_client: Client) -> None:
    arrays, known = headed_client.get("api/heads/table").arrays
    frame = headed.heads().to_pandas()
    for place, metric in enumerate(known["metrics"]):
        name = metric["name"]
        assert metric["title"] == vs.heads.METRICS[name].title
        for side, column in (("mean", name), ("low", f"{name}_low"), ("high", f"{name}_high")):
            expected = frame[column].to_numpy(np.float32).reshape(6, 4)
            np.testing.assert_array_equal(arrays[side][place], expected)
    some, header = headed_client.get("api/heads/table", rows="1-2,5").arrays
    place = [each["name"] for each in header["metrics"]].index("js_divergence")
    per_picture = headed.array("head_scores/js_divergence")[:][[1, 2, 5]].astype(np.float64)
    np.testing.assert_allclose(some["mean"][place], per_picture.mean(0), rtol=1e-5)
    assert header["pictures"] == 3


def test_pictures_respond_to_heads(headed: vs.Study, headed_client: Client) -> None:
    arrays, known = headed_client.get(
        "api/heads/response", metric="probability_drop_top", heads="0.3,4.1"
    ).arrays
    rows = headed.array("head_scores/probability_drop_top")[:].astype(np.float64)
    np.testing.assert_allclose(arrays["response"], (rows[:, 0, 3] + rows[:, 4, 1]) / 2, rtol=1e-5)
    assert arrays["rows"].tolist() == list(range(PICTURES))
    assert known["metric"]["signed"] and known["heads"] == 2


def test_agreement_has_intervals_where_metrics_are_named(headed: vs.Study, headed_client: Client) -> None:
    table = headed.heads()
    whole, known = headed_client.get("api/heads/agreement").arrays
    expected = vs.heads.agree(table, rounds=1)
    np.testing.assert_allclose(whole["spearman"], expected.matrices["spearman"][0], rtol=1e-6)
    names = "js_divergence,first_order"
    pair, _ = headed_client.get("api/heads/agreement", metrics=names).arrays
    found = vs.heads.agree(table, names.split(",")).correlation("js_divergence", "first_order")
    assert pair["spearman"][0, 1] == np.float32(found.value)
    assert (pair["spearman_low"][0, 1], pair["spearman_high"][0, 1]) == (
        np.float32(found.low),
        np.float32(found.high),
    )
    assert known["names"] == table.metrics


def test_strength_is_the_studys(headed: vs.Study, headed_client: Client) -> None:
    arrays, known = headed_client.get("api/heads/strength").arrays
    profile = headed.strength()
    for name in ("mass", "strength", "offsets", "to_prefix", "patch_distance", "entropy"):
        np.testing.assert_array_equal(arrays[name], profile[name].astype(np.float32))
        np.testing.assert_array_equal(arrays[f"{name}_spread"], profile.spreads[name].astype(np.float32))
    np.testing.assert_array_equal(arrays["mass_uniform"], profile.uniform["mass"].astype(np.float32))
    assert known["trend"]["patch_distance"] == profile.trend_correlation("patch_distance")


def test_patterns_codes_and_the_walk_among_them(headed: vs.Study, headed_client: Client) -> None:
    arrays, known = headed_client.get("api/heads/patterns").arrays
    atlas = headed.patterns()
    assert [cluster["name"] for cluster in known["clusters"]] == atlas.names
    np.testing.assert_array_equal(arrays["prototypes"], atlas.prototypes.numpy())
    row = atlas.heads[(atlas.heads["block"] == 3) & (atlas.heads["head"] == 1)].iloc[0]
    assert arrays["content_dependence"][3, 1] == np.float32(row["content_dependence"])
    assert arrays["shares"][3, 1].tolist() == [np.float32(row[f"share_{c}"]) for c in range(4)]

    points, _ = headed_client.get("api/heads/codes").arrays
    codes = headed.array("patterns/codes")[:].astype(np.float64)
    assert points["clusters"].tolist() == headed.array("patterns/clusters")[:].astype(int).tolist()
    flat, places = codes.reshape(-1, 4), points["places"].reshape(-1, 2).astype(np.float64)
    # The places keep what they can of the distances: they are the codes on their two principal axes.
    spread = np.sort(np.linalg.eigvalsh(np.cov(flat.T)))[::-1][:2]
    np.testing.assert_allclose(places.var(0, ddof=1), spread, rtol=1e-3)

    x, y = places[17]
    walked, header = headed_client.get("api/heads/walk", x=x, y=y).arrays
    centred = flat - flat.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    code = (flat.mean(0) + centred[17] @ axes.T @ axes).astype(np.float32)
    np.testing.assert_allclose(walked["map"], atlas.decode(code[None])[0].numpy(), rtol=2e-2, atol=1e-4)
    assert header["inside"] is True
    far, header = headed_client.get("api/heads/walk", x=1e3, y=0).arrays
    assert header["inside"] is False and np.isfinite(far["map"]).all()


def test_the_prototype_of_points_is_decoded_from_their_mean(headed: vs.Study, headed_client: Client) -> None:
    # 3, 4, 5 and 60: runs as gap and length, "3 3, 54 1", in base 128.
    text = base64.urlsafe_b64encode(bytes([3, 3, 54, 1])).decode().rstrip("=")
    arrays, known = headed_client.get("api/heads/prototype", points=text).arrays
    codes = headed.array("patterns/codes")[:].astype(np.float64).reshape(-1, 4)[[3, 4, 5, 60]]
    expected = headed.patterns().decode(codes.mean(0, keepdims=True).astype(np.float32))[0]
    np.testing.assert_allclose(arrays["map"], expected.numpy(), rtol=1e-4, atol=1e-6)
    assert known["maps"] == 4


def test_answers_are_tagged(headed_client: Client) -> None:
    for path in ("study", "pictures", "table", "agreement", "strength", "patterns", "codes"):
        tag = headed_client.get(f"api/heads/{path}").headers["etag"]
        assert headed_client.ask("GET", f"/api/heads/{path}", If_None_Match=tag).status == 304


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("api/heads/table?rows=7-", "rows are written 0-4,7"),
        ("api/heads/table?rows=4-2", "write the smaller one first"),
        ("api/heads/agreement?metrics=js_divergence,nonsense", "nonsense"),
        ("api/heads/walk?x=nan&y=0", "x:"),
        ("api/heads/ablation?off=", "expected heads to switch off"),
        ("api/heads/ablation?off=99.0", "expected heads"),
        ("api/heads/ablation?off=1.0&rows=77", "no computed picture 77"),
        ("api/heads/prototype?points=*", "no places of points"),
        ("api/heads/prototype?points=gA", "no places of points"),
        ("api/heads/prototype?points=", "none of these heads has a pattern"),
        ("api/heads/response?metric=nonsense&heads=1.0", "the nearest names are"),
        ("api/heads/response?metric=js_divergence&heads=", "expected heads of the study"),
        ("api/heads/response?metric=js_divergence&heads=6.0", "expected heads of the study"),
        ("api/heads/cumulative?ranking=", "expected metrics to remove heads by"),
        ("api/heads/cumulative?ranking=nonsense", "the nearest names are"),
        ("api/heads/cumulative?ranking=entropy&steps=0", "steps"),
        ("api/heads/partial?block=1&head=0&queries=a", "expected patches such as 0,17"),
    ],
)
def test_what_makes_no_sense_is_refused(headed_client: Client, path: str, words: str) -> None:
    reply = headed_client.get(path)
    assert reply.status == 422 and words in reply.problem


def test_heads_switched_off_together_and_one_by_one(headed: vs.Study, headed_client: Client) -> None:
    told = headed_client.get("api/heads/estimate", off="1.2,3.0", rows="0-3").json
    assert told["pictures"] == 4 and told["forwards"] == 4 * 2.5 and not told["kept"]
    found = headed_client.get("api/heads/ablation", off="1.2,3.0", rows="0-3").json
    table = headed.table("pictures")
    files = [Path(headed.manifest.input.url) / key for key in table["key"][:4]]
    labels = table["label"][:4].astype(int).tolist()
    vit = vs.open_model("bundled/shapes")
    expected = vs.heads.joint_effect(vit, files, [(1, 2), (3, 0)], labels).to_pandas().set_index("metric")
    assert {row["name"] for row in found["metrics"]} == set(expected.index)
    for row in found["metrics"]:
        assert row["joint"] == pytest.approx(expected.loc[row["name"], "joint"], abs=1e-6)
        assert row["interaction"] == pytest.approx(expected.loc[row["name"], "interaction"], abs=1e-6)
    assert headed_client.get("api/heads/estimate", off="1.2,3.0", rows="0-3").json["kept"]


def test_one_head_dissected(headed: vs.Study, headed_client: Client) -> None:
    arrays, known = headed_client.get("api/heads/partial", block=2, head=1, rows="0,3", queries="5,40").arrays
    table = headed.table("pictures").iloc[[0, 3]]
    files = [Path(headed.manifest.input.url) / key for key in table["key"]]
    vit = vs.open_model("bundled/shapes")
    labels = table["label"].astype(int).tolist()
    expected = vs.heads.partial_pruning(vit, files, 2, 1, labels, queries=[5, 40])
    assert [tuple(step) for step in known["steps"]] == list(expected.steps)
    for place, metric in enumerate(known["metrics"]):
        wanted = expected.values[metric["name"]].mean(0)
        np.testing.assert_allclose(arrays["mean"][place], wanted, rtol=1e-4, atol=1e-6)


def test_heads_removed_one_after_the_other(headed: vs.Study, headed_client: Client) -> None:
    asked = {"ranking": "js_divergence,patch_distance,content_dependence", "rows": "0-3", "steps": 4}
    told = headed_client.get("api/heads/estimate", **asked).json
    assert told["pictures"] == 4 and told["forwards"] == 4 * (1 + 7 * 4) and not told["kept"]
    arrays, known = headed_client.get("api/heads/cumulative", **asked).arrays
    assert [(order["name"], order["largest_first"]) for order in known["orders"]] == [
        ("js_divergence", False), ("patch_distance", False), ("content_dependence", False), ("js_divergence", True),
    ]  # fmt: skip
    assert known["removed"] == [0, 6, 12, 18, 24] and known["random"] == 3 and known["labelled"]

    profile, atlas = headed.strength(), headed.patterns().heads.set_index(["block", "head"])
    numbers = {
        "js_divergence": headed.array("head_scores/js_divergence")[:].mean(0, dtype=np.float64),
        "patch_distance": profile["patch_distance"],
        "content_dependence": atlas["content_dependence"].unstack().to_numpy(),
    }
    places = [(block, head) for block in range(6) for head in range(4)]
    orders = {name: sorted(places, key=lambda place, v=values: v[place]) for name, values in numbers.items()}
    orders["turned"] = orders["js_divergence"][::-1]
    table = headed.table("pictures").iloc[:4]
    files = [Path(headed.manifest.input.url) / key for key in table["key"]]
    labels = table["label"].astype(int).tolist()
    found = vs.heads.cumulative_pruning(
        vs.open_model("bundled/shapes"), files, orders, labels, random_orders=3, steps=4
    ).curves
    for at, answer in enumerate(known["answers"]):
        for row, name in enumerate([*orders, "random"]):
            curve = found[found["order"] == name].groupby("removed")[answer]
            np.testing.assert_allclose(arrays["mean"][at, row], curve.mean(), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(arrays["low"][at, row], curve.min(), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(arrays["high"][at, row], curve.max(), rtol=1e-4, atol=1e-6)
    assert headed_client.get("api/heads/estimate", **asked).json["kept"]
    some, _ = headed_client.get("api/heads/cumulative", **asked, over="5").arrays
    assert not np.array_equal(some["mean"][:, 0], arrays["mean"][:, 0]), "ranked on another picture"
    np.testing.assert_array_equal(some["mean"][:, 1], arrays["mean"][:, 1])


def test_what_a_study_lacks_is_said_with_what_would_add_it(tmp_path: Path) -> None:
    study = vs.Study.create(
        tmp_path / "s", model="bundled/shapes", images=drawn(tmp_path / "p", 2), methods=["gmar"]
    )
    study.run()
    with Background(Settings(study=str(study.place), why_no_model="its weights are gone")) as server:
        client = Client(server.address)
        about = client.get("api/heads/study").json
        assert about["parts"]["model"]["reason"] == "its weights are gone"
        for name, command in (
            ("importance", "--analyses importance"),
            ("strength", "--analyses strength"),
            ("patterns", "--analyses patterns"),
            ("features", "--arrays features"),
        ):
            part = about["parts"][name]
            assert not part["there"] and command in part["reason"]
        assert client.get("api/heads/table").problem == about["parts"]["importance"]["reason"]
        assert "layout" not in client.get("api/heads/pictures").arrays[0]


def test_a_study_in_the_making_grows(tmp_path: Path) -> None:
    study = vs.Study.create(
        tmp_path / "s",
        model="bundled/shapes",
        images=drawn(tmp_path / "p", 4),
        analyses=["importance", "strength"],
        arrays=(),
        sizes=vs.studies.Sizes(shard_size=2, batch_size=2),
    )
    with Background(Settings(study=str(study.place), why_no_model="none is needed")) as server:
        client = Client(server.address)
        empty = client.get("api/heads/study").json
        assert (empty["pictures"], empty["computed"], empty["heads"]) == (4, 0, [])
        study.run(limit=1)
        end = time.monotonic() + 30  # the server looks for what is new every few seconds
        while client.get("api/heads/study").json["computed"] != 2 and time.monotonic() < end:
            time.sleep(0.1)
        assert client.get("api/heads/study").json["computed"] == 2
        assert client.get("api/heads/table").arrays[1]["pictures"] == 2
        assert "when all pictures are computed" in client.get("api/heads/strength").problem
