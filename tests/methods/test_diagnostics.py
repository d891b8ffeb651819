"""Outlier patches and attention sinks in the metadata, and cleaning, against loops and planted outliers."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import Tensor

import vitscope as vs
from tests.methods.written import Written, close, small_vit
from tests.zoo import ROWS, open_zoo, pictures
from vitscope.errors import MethodError
from vitscope.methods.explaining.diagnostics import fill_outliers, outlier_patches, sink_masses
from vitscope.methods.explaining.per_picture import on_outliers
from vitscope.models import TokenLayout

SIZE = (48, 64)
LOUD = 6
"""The patch whose token is made loud: second row, third column of 3 x 4."""


class Loud(Block):
    """A block whose output has one patch token thirty times as large."""

    def forward(self, x: Tensor, *args: object, **named: object) -> Tensor:
        factor = torch.ones(x.shape[1], 1)
        factor[1 + LOUD] = 30.0
        return super().forward(x, *args, **named) * factor


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def loud() -> vs.Vit:
    model = small_vit()
    model.blocks[-1].__class__ = Loud
    return vs.open_model(model, image_size=SIZE)


def test_outliers_lie_four_robust_deviations_above_the_median() -> None:
    norms = torch.rand(3, 49, generator=torch.Generator().manual_seed(0)) + 5
    norms[0, 7], norms[1, 3], norms[1, 4] = 20.0, 9.0, 0.1
    found = outlier_patches(norms)
    for row, mask in zip(norms.tolist(), found.tolist(), strict=True):
        median = statistics.median(row)
        mad = statistics.median(abs(value - median) for value in row)
        assert mask == [value > median + 4 * 1.4826 * mad for value in row]
    assert found.sum(1).tolist() == [1, 1, 0]
    assert not bool(outlier_patches(1 + 1e-4 * torch.rand(2, 49)).any())


def test_a_planted_outlier_is_counted_and_cleaned(loud: vs.Vit, images: Tensor) -> None:
    plain = vs.explain(loud, images, "daam", target=1)
    shares = [entry["outlier_share"] for entry in plain.metadata["diagnostics"]]
    assert shares == pytest.approx([1 / 12, 1 / 12])
    cleaned = vs.explain(loud, images, "daam", target=1, clean=True)
    mask = cleaned.extras["cleaned"].bool()
    assert mask[0].nonzero().tolist() == [[1, 2]] and cleaned.metadata["clean"]
    assert torch.equal(cleaned.maps[~mask], plain.maps[~mask])
    for b in range(2):
        around = [float(plain.maps[b, y, x]) for y in range(3) for x in range(1, 4) if (y, x) != (1, 2)]
        assert float(cleaned.maps[b, 1, 2]) == pytest.approx(statistics.median(around), rel=1e-5)
    assert torch.equal(cleaned.flow[:, -1], cleaned.maps)


def test_notes_say_how_much_of_the_map_lies_on_outliers(loud: vs.Vit, images: Tensor, tmp_path: Path) -> None:
    found = vs.explain(loud, images, ["gae", "dart", "attnlrp", "random"], target=1)
    for name in ("gae", "dart", "attnlrp"):
        e, shares = found[name], []
        for record, values in zip(e.metadata["diagnostics"], e.maps.flatten(1).tolist(), strict=True):
            shares.append(abs(values[LOUD]) / sum(map(abs, values)))
            assert record["outlier_relevance"] == pytest.approx(shares[-1], rel=1e-5)
        told = f"{50 * (shares[0] + shares[1]):.0f} % of the relevance lies on the 8.3 % of the patches"
        assert [told in note for note in e.notes if "outlier" in note] == [True]
        assert f"{100 * shares[1]:.0f} % of the relevance" in e[1].notes[-1]
        assert vs.Explanation.load(e.save(tmp_path / name)).notes == e.notes
    assert not any("outlier" in note for note in found["random"].notes)


def test_the_sentence_counts_pictures_with_outliers_alone() -> None:
    some = {"outlier_share": 0.02, "outlier_relevance": 0.3}
    assert on_outliers([some, {"outlier_share": 0.0, "outlier_relevance": 0.0}]) == (
        "30 % of the relevance lies on the 2.0 % of the patches whose norm is an outlier, in 1 of 2 pictures"
    )
    assert on_outliers([{"outlier_share": None, "outlier_relevance": None}]) is None
    assert on_outliers([{**some, "outlier_relevance": None}]) is None and on_outliers([]) is None


def test_filling_takes_healthy_neighbours_first() -> None:
    layout = TokenLayout((), (2, 3))
    values = torch.tensor([[1.0, 100.0, 3.0], [4.0, 200.0, 6.0]])
    mask = torch.tensor([[False, True, False], [False, True, False]])
    filled = fill_outliers(values, mask, layout)
    assert filled.tolist() == [[1.0, 3.5, 3.0], [4.0, 3.5, 6.0]]
    assert (
        fill_outliers(values, torch.ones(2, 3, dtype=torch.bool), layout)[0, 0] == 100.0
    )  # all are outliers


def test_sink_mass_is_the_largest_mean_column(images: Tensor) -> None:
    model = small_vit()
    vit = vs.open_model(model, image_size=SIZE)
    trace = vit.trace(images, gradient=False)
    written = Written(model, images, trace.logits.argmax(1))
    found = sink_masses(trace)
    assert list(found) == [0, 1, 2]
    for block, (mass, token) in found.items():
        for b in range(2):
            A = written.A[block][b]
            columns = [float(sum(A[h, q, n] for h in range(3) for q in range(1, 13)) / 36) for n in range(13)]
            assert float(mass[b]) == pytest.approx(max(columns), rel=1e-4)
            assert int(token[b]) == columns.index(max(columns))


def test_every_attention_based_map_has_them_and_others_do_not(images: Tensor) -> None:
    vit = vs.open_model(small_vit(), image_size=SIZE)
    found = vs.explain(vit, images, ["rollout", "gae", "gradcam", "daam", "random"], target=1)
    told = {name: e.metadata.get("diagnostics") for name, e in found.items()}
    assert told["random"] is None
    for name in ("rollout", "gae", "gradcam", "daam"):
        assert [r["sink_token"] for r in told[name]] == [r["sink_token"] for r in told["rollout"]]
        assert len(told[name]) == 2
        assert set(told[name][0]["sink_mass"]) == {"0", "1", "2"}


def test_they_stay_with_their_picture(images: Tensor, tmp_path: Path) -> None:
    vit = vs.open_model(small_vit(), image_size=SIZE)
    one = vs.explain(vit, images, "rollout", batch_size=1)
    both = vs.explain(vit, images, "rollout")
    assert len(one.metadata["diagnostics"]) == 2 and one.metadata["image_size"] == [48, 64]
    assert both[1].metadata["image_size"] == [48, 64] and len(both[1].metadata["diagnostics"]) == 1
    for part, whole in zip(one.metadata["diagnostics"], both.metadata["diagnostics"], strict=True):
        assert part["sink_token"] == whole["sink_token"]
        assert part["sink_mass"]["2"] == pytest.approx(whole["sink_mass"]["2"], rel=1e-4)
    again = vs.Explanation.load(both.save(tmp_path / "one"))
    assert again.metadata["diagnostics"] == both.metadata["diagnostics"]


@pytest.mark.parametrize("name", [name for name in ROWS if not name.endswith("-eager")])
def test_every_anatomy_has_diagnostics(name: str) -> None:
    from tests.zoo import inputs

    vit = open_zoo(name)
    hooks = sum(len(m._forward_hooks) for m in vit.model.modules())
    records = vs.explain(vit, inputs(name), "rollout", keep_pictures=False).metadata["diagnostics"]
    assert len(records) == 2 and sum(len(m._forward_hooks) for m in vit.model.modules()) == hooks
    for record in records:
        assert record["outlier_share"] is None or 0 <= record["outlier_share"] < 0.5
        assert all(0 < mass <= 1.001 for mass in record["sink_mass"].values())
        assert record["sink_mass"]


def test_cleaning_is_refused_where_patches_are_not_seen() -> None:
    with pytest.raises(MethodError, match="'daam' cannot be cleaned"):
        vs.explain(open_zoo("resnet"), pictures("resnet"), "daam", target=1, clean=True)


def test_cleaning_leaves_a_map_without_outliers_alone(images: Tensor) -> None:
    vit = vs.open_model(small_vit(), image_size=SIZE)
    plain, cleaned = (vs.explain(vit, images, "random", clean=clean) for clean in (False, True))
    mask = cleaned.extras["cleaned"].bool()
    close(cleaned.maps[~mask], plain.maps[~mask])
