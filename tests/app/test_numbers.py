"""Every number of the app is the library's, bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vitscope as vs
from tests.app.browsing import Client
from tests.app.conftest import METHODS
from vitscope.app.answers.maps import map_answer
from vitscope.heads.distance.strength_parts import trace_profiles
from vitscope.tracing import HeadAblation, Trace, Vit

OFF = [(2, 1), (5, 0)]


def written(heads: list[tuple[int, int]]) -> str:
    return ",".join(f"{block}.{head}" for block, head in heads)


def ablation(vit: Vit) -> HeadAblation:
    """Made by hand."""
    keep = torch.ones(1, 6, 4)
    for block, head in OFF:
        keep[0, block, head] = 0
    return HeadAblation(keep)


def test_what_lies_on_outliers_is_told_with_the_map(vit: Vit, pictures: list[Path]) -> None:
    found = vs.explain(vit, pictures[1], "daam")
    outliers = [{"outlier_share": 0.02, "outlier_relevance": 0.25}]
    notes = map_answer(replace(found, metadata={**found.metadata, "diagnostics": outliers}))[1]["notes"]
    assert notes == [
        *found.metadata["notes"],
        "25 % of the relevance lies on the 2.0 % of the patches whose norm is an outlier",
    ]


@pytest.mark.parametrize(
    ("method", "options", "target"),
    [
        ("dart", {}, "predicted"),
        ("dart", {"kappa": 1.0, "gate": False}, "3"),
        ("daam", {}, "predicted"),
        ("rollout", {"residual": 0.5}, "predicted"),
        ("gmar", {"norm": "l2"}, "7"),
        ("raw-attention", {"block": 2, "head": 1}, "predicted"),
        ("leave-one-out", {}, "predicted"),
    ],
)
@pytest.mark.parametrize("off", [[], OFF], ids=["whole", "heads off"])
def test_a_map_is_that_of_explain(
    client: Client,
    vit: Vit,
    pictures: list[Path],
    ids: list[str],
    method: str,
    options: dict[str, Any],
    target: str,
    off: list[tuple[int, int]],
) -> None:
    reply = client.get(
        f"api/pictures/{ids[1]}/map",
        method=method,
        options=json.dumps(options),
        target=target,
        off=written(off),
    )
    arrays, known = reply.arrays
    aim = None if target == "predicted" else int(target)
    expected = vs.explain(vit, pictures[1], method, aim, ablation=ablation(vit) if off else None, **options)
    assert arrays["map"].tobytes() == expected.maps[0].numpy().tobytes()
    assert ("flow" in arrays) == (expected.flow is not None)
    if expected.flow is not None:
        assert arrays["flow"].tobytes() == expected.flow[0].numpy().tobytes()
    for name, value in expected.extras.items():
        assert arrays[f"extras/{name}"].tobytes() == value[0].float().numpy().tobytes()
    assert known["score"] == float(expected.scores[0])
    assert expected.classes is not None and known["target"]["class"] == int(expected.classes[0])
    assert known["options"] == json.loads(json.dumps(dict(expected.options)))
    assert known["off"] == [list(head) for head in off] and known["source"] == "computed"
    assert known["picture"] == ids[1] and known["weights"] == vit.fingerprint
    # the study's key and the file's differ, so that the recipes differ in the pictures alone
    assert known["method"] == method and known["signed"] == vs.methods.get_method(method).signed
    share = expected.metadata.get("prefix_share", [None])[0]
    assert [each["share"] for each in known["prefix"]] == ([] if share is None else [share])
    for each, value in zip(known["prefix"], expected.metadata.get("prefix_values", [[]])[0], strict=False):
        assert each["name"] == "class token" and each["value"] == value
    assert set(expected.notes) == set(known["notes"])


def test_heads_that_are_off_move_the_map(client: Client, ids: list[str]) -> None:
    whole, changed = (
        client.get(f"api/pictures/{ids[1]}/map", off=off).arrays[0]["map"] for off in ("", written(OFF))
    )
    assert np.abs(whole - changed).max() > 1e-3


def test_the_prediction_is_that_of_forward(
    client: Client, vit: Vit, pictures: list[Path], ids: list[str]
) -> None:
    found = client.get(f"api/pictures/{ids[0]}/prediction", off=written(OFF), top=3).json
    assert vit.class_names is not None
    label = vit.class_names.index(pictures[0].parent.name)
    assert found["label"] == {"class": label, "name": pictures[0].parent.name}
    for told, logits in (
        (found, vit.forward(pictures[0])[0]),
        (found["without"], vit.forward(pictures[0], ablation=ablation(vit))[0]),
    ):
        probabilities = logits.softmax(-1)
        for each in told["top"]:
            assert each["logit"] == float(logits[each["class"]])
            assert each["probability"] == float(probabilities[each["class"]])
            assert each["name"] == vit.class_names[each["class"]]
        bits = -(probabilities.double() * probabilities.double().log2()).sum()
        assert told["entropy"] == pytest.approx(float(bits), abs=1e-5)
        assert told["predicted"] == int(logits.argmax())
    order = vit.forward(pictures[0])[0].argsort(descending=True)[:3].tolist()
    assert [each["class"] for each in found["top"]] == order
    without = [each["class"] for each in found["without"]["top"]]
    own = vit.forward(pictures[0], ablation=ablation(vit))[0].argsort(descending=True)[:3].tolist()
    assert without[:3] == order and set(own) <= set(without) and len(set(without)) == len(without)


def traced(vit: Vit, picture: Path, off: bool = False) -> Trace:
    return vit.trace(picture, gradient=False, ablation=ablation(vit) if off else None)


@pytest.mark.parametrize("off", [False, True])
@pytest.mark.parametrize("query", ["cls", "17", "0", "143", "mean"])
def test_attention_rows_are_those_of_the_trace(
    client: Client, vit: Vit, pictures: list[Path], ids: list[str], query: str, off: bool
) -> None:
    matrix = traced(vit, pictures[2], off).sites[4].attention()[0]  # (H, N, N)
    for direction in ("out", "in"):
        arrays, known = client.get(
            f"api/pictures/{ids[2]}/attention",
            block=4,
            query=query,
            direction=direction,
            off=written(OFF) if off else "",
        ).arrays
        if query == "mean":
            expected = matrix.mean(1 if direction == "out" else 2)
        else:
            token = 0 if query == "cls" else 1 + int(query)
            expected = matrix[:, token] if direction == "out" else matrix[:, :, token]
        np.testing.assert_allclose(arrays["rows"], expected.numpy(), rtol=0, atol=1e-6)
        assert known["prefix"] == 1 and known["heads"] == 4 and known["grid"] == [12, 12]
        if direction == "out" and query != "mean":
            row = traced(vit, pictures[2], off).sites[4].row(0 if query == "cls" else 1 + int(query))[0]
            assert arrays["rows"].tobytes() == row.numpy().tobytes()
            np.testing.assert_allclose(arrays["rows"].sum(1), 1, atol=1e-5)


def test_a_matrix_is_within_half_a_level_of_the_trace(
    client: Client, vit: Vit, pictures: list[Path], ids: list[str]
) -> None:
    arrays, known = client.get(f"api/pictures/{ids[2]}/matrix", block=3, head=2).arrays
    expected = traced(vit, pictures[2]).sites[3].attention()[0, 2].numpy()
    assert arrays["matrix"].shape == (145, 145) and known["prefix"] == 1
    np.testing.assert_array_equal(arrays["scale"], expected.max(1))
    shown = arrays["matrix"] / 255 * arrays["scale"][:, None]
    assert (np.abs(shown - expected) <= arrays["scale"][:, None] / 255 / 2 + 1e-7).all()


def test_blocks_are_those_of_strength(client: Client, vit: Vit, pictures: list[Path], ids: list[str]) -> None:
    found = client.get(f"api/pictures/{ids[0]}/blocks").json
    profile = vs.heads.strength(vit, pictures[0])
    assert found["blocks"] == list(range(6))
    assert found["entropy"] == profile["entropy"].tolist()
    assert found["hop"] == profile["expected_distance"].tolist()
    assert found["class_share"] == profile["to_prefix"][..., 0].tolist()
    np.testing.assert_allclose(found["hop_mean"], profile["expected_distance"].mean(1), rtol=1e-12)
    changed = client.get(f"api/pictures/{ids[0]}/blocks", off=written(OFF)).json
    profiles, _ = trace_profiles(traced(vit, pictures[0], off=True))
    assert changed["entropy"] == profiles.entropy[0].tolist() != found["entropy"]


@pytest.mark.parametrize("metric", ["first_order", "js_divergence", "class_cosine_last"])
def test_importance_is_that_of_one_picture(
    client: Client, vit: Vit, pictures: list[Path], ids: list[str], metric: str
) -> None:
    arrays, known = client.get("api/heads/importance", picture=ids[0], metric=metric).arrays
    table = vs.heads.importance(vit, pictures[0])
    assert arrays["importance"].tobytes() == table[metric][0].tobytes()
    assert known["title"] == vs.heads.METRICS[metric].title and metric in known["methods"]


def test_methods_and_options_are_those_of_the_registry(client: Client, vit: Vit) -> None:
    found = client.get("api/methods").json
    told = {each["name"]: each for each in found["methods"]}
    assert vs.methods.default_method(vit.anatomy) not in METHODS
    assert found["default"] == METHODS[0]  # of the study, which keeps no maps of the library's default
    assert set(told) == {info.name for info in vs.methods()}
    for info in vs.methods():
        reason = info.why_not(vit.anatomy)
        assert told[info.name]["applies"] == (reason is None) and told[info.name]["reason"] == reason
        options = {each["name"]: each for each in told[info.name]["options"]}
        assert set(options) == set(info.declared)
        for name, option in info.declared.items():
            assert options[name]["accepts"] == option.accepts(vit.anatomy)
            assert options[name]["default"] == option.default or not options[name]["settable"]
    block = next(each for each in told["raw-attention"]["options"] if each["name"] == "block")
    assert (block["kind"], block["low"], block["high"]) == ("integer", -6, 5)
    kappa = next(each for each in told["dart"]["options"] if each["name"] == "kappa")
    assert kappa["settable"] and {each["kind"] for each in kappa["kinds"]} == {"number", "choice"}
    bank = next(each for each in told["daam-self"]["options"] if each["name"] == "bank")
    assert not bank["settable"] and bank["optional"]


def test_the_model_is_told_as_it_is(client: Client, vit: Vit) -> None:
    about = client.get("api/about").json
    model = about["model"]
    assert model["weights"] == vit.fingerprint and model["grid"] == [12, 12] and model["heads"] == [4] * 6
    assert model["image_size"] == [96, 96] and model["prefix"] == ["class"] and model["classes"] == 10
    assert about["version"] == vs.__version__ and about["can_compute"] and about["why_not"] is None
    assert about["seconds_forward"] > 0 and about["study"]["methods"] == ["dart", "daam"]
    assert client.get("api/classes").json == {"count": 10, "names": vit.class_names}
