"""Predictions and class rows: against sums written out, on models that read a class token, two, the mean, a pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vitscope as vs
from tests.zoo import open_zoo, pictures
from vitscope.heads import HeadsError
from vitscope.heads.answers.class_rows import ClassRows, class_rows, row_in_words
from vitscope.heads.answers.features import features, features_in_words
from vitscope.heads.answers.predictions import Predictions, as_columns, top_classes
from vitscope.heads.origin import heads_recipe
from vitscope.heads.per_picture import PerPicture
from vitscope.methods.raw_attention import site_row
from vitscope.pictures import picture_source
from vitscope.progress import CountedStage
from vitscope.tracing import Capture, ClassIndex, Foreseen, TopK, sharing_traces


def test_the_most_likely_classes_with_their_probabilities() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit", 3)
    logits = vit.forward(images).numpy()
    found = top_classes(vit.trace(images, ClassIndex(4), gradient=False), 4)
    for row in range(3):
        order = sorted(range(10), key=lambda index: -logits[row, index])[:4]
        shares = np.exp(logits[row] - logits[row].max()) / np.exp(logits[row] - logits[row].max()).sum()
        assert found["class"][row].tolist() == order
        assert found["logit"][row].tolist() == [float(logits[row, index]) for index in order]
        assert found["probability"][row].tolist() == pytest.approx([shares[i] for i in order], rel=1e-5)
        assert float(found["entropy"][row]) == pytest.approx(-(shares * np.log2(shares)).sum(), rel=1e-5)
    assert found["target"].tolist() == [4, 4, 4]
    assert top_classes(vit.trace(images, gradient=False), 99)["class"].shape == (3, 10)


def test_a_model_without_classes_predicts_none() -> None:
    vit = open_zoo("timm-siglip")
    with pytest.raises(HeadsError, match="no class scores"):
        top_classes(vit.trace(pictures("timm-siglip"), gradient=False))


def test_labels_of_their_own_have_probabilities_of_their_own() -> None:
    vit = vs.open_model(open_zoo("timm-deit").model, image_size=64, probability="sigmoid")
    found = top_classes(vit.trace(pictures("timm-deit"), gradient=False), 2)
    assert torch.allclose(found["probability"], 1 / (1 + torch.exp(-found["logit"])))
    assert "entropy" not in found, "classes that do not exclude each other are no distribution"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm-deit", "the row of the class token"),
        ("timm-deit-distilled", "the mean of the rows of class and distillation token"),
        ("timm-vit-average", "the mean of the rows of all patches"),
        ("timm-siglip", "the mean of the rows of the tokens, weighted as the attention pooling weighs them"),
    ],
)
def test_the_row_that_is_read(name: str, words: str) -> None:
    vit, images = open_zoo(name), pictures(name)
    assert row_in_words(vit.anatomy) == words
    trace = vit.trace(images, gradient=False)
    rows = class_rows(trace)["class_rows"]
    for block, site in enumerate(trace.sites):
        attention = site.attention()  # (B, H, N, N)
        expected = {
            "timm-deit": lambda a: a[:, :, 0],
            "timm-deit-distilled": lambda a: (a[:, :, 0] + a[:, :, 1]) / 2,
            "timm-vit-average": lambda a: a.mean(2),
            "timm-siglip": lambda a: torch.einsum("bn,bhnk->bhk", trace.pool.attention().mean((1, 2)), a),
        }[name](attention)
        assert torch.allclose(rows[:, block], expected, atol=1e-6)


def test_tokens_that_a_block_does_not_see_are_zero() -> None:
    """CaiT: its first blocks see the patches alone, its last ones ask with the class token alone."""
    trace = open_zoo("timm-cait").trace(pictures("timm-cait"), gradient=False)
    rows = class_rows(trace)["class_rows"]
    assert rows.shape == (2, 4, 3, 17)
    for block in (0, 1):
        assert not rows[:, block, :, 0].any()
        assert torch.allclose(rows[:, block, :, 1:], trace.sites[block].attention().mean(2), atol=1e-6)
    for block in (2, 3):
        assert torch.equal(rows[:, block], trace.sites[block].attention()[:, :, 0])


def test_blocks_of_other_heads_have_an_array_each_and_windows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = open_zoo("timm-deit").trace(pictures("timm-deit"), gradient=False)
    whole = class_rows(trace)["class_rows"]
    monkeypatch.setattr(
        "vitscope.heads.answers.class_rows.site_row",
        lambda trace, site, query: site_row(trace, site, query)[:, : 1 + (site.info.block or 0)],
    )
    rows = class_rows(trace)
    assert list(rows) == ["class_rows/block_00", "class_rows/block_01"]
    assert torch.equal(rows["class_rows/block_01"], whole[:, 1, :2])
    with pytest.raises(HeadsError, match="windows"):
        class_rows(open_zoo("swin").trace(pictures("swin"), gradient=False))


def test_parts_on_shared_passes_and_kept_are_the_whole() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit", 4)
    source = picture_source(images, keys=["a", "b", "c", "d"])
    for measure in (Predictions(vit, TopK(2), 3), ClassRows(vit)):
        work = PerPicture(heads_recipe(vit, source, "test", {}), measure, 2, CountedStage(None, "test", 4))
        whole = work.run(vit, source)
        parts = []
        for start in (0, 2):
            shard = source.part(start, start + 2)
            batch = next(shard.batches(vit, 2))
            with sharing_traces(vit, batch.images, [Foreseen("top1")]):
                vit.forward(batch.images)
                parts.append(work.decode(work.encode(measure(batch))))
        merged = work.merge(vit, parts)
        assert merged.keys == whole.keys and merged.values.keys() == whole.values.keys()
        for name, value in whole.values.items():
            assert merged.values[name].dtype == value.dtype
            assert np.array_equal(merged.values[name], value), name
    assert whole.values["class_rows"].dtype == np.float16
    assert abs(whole.values["class_rows"].astype(np.float64).sum(-1) - 1).max() < 1e-2


def test_a_line_for_each_picture_and_rank() -> None:
    vit = open_zoo("timm-deit")
    batch = next(picture_source(pictures("timm-deit"), keys=["a", "b"]).batches(vit, 2))
    rows = Predictions(vit, ClassIndex((3, 5)), 2)(batch)
    columns = as_columns(rows)
    assert columns["picture"].tolist() == [0, 0, 1, 1]
    assert columns["rank"].tolist() == [0, 1, 0, 1]
    assert columns["target"].tolist() == [3, 3, 5, 5]
    assert columns["class"].tolist() == rows.values["class"].reshape(-1).tolist()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm-deit", "class token after the last block"),
        ("timm-vit-average", "mean of the patch tokens after the last block"),
    ],
)
def test_the_features_that_are_read(name: str, words: str) -> None:
    vit = open_zoo(name)
    trace = vit.trace(pictures(name), gradient=False, capture=Capture(streams=True))
    last = trace.block_outputs[-1]
    expected = last[:, 0] if name == "timm-deit" else last[:, -trace.layout.patches :].mean(1)
    assert torch.equal(features(trace), expected) and features_in_words(vit.anatomy) == words


def test_a_model_without_such_a_token_has_no_features() -> None:
    vit = open_zoo("resnet")
    trace = vit.trace(pictures("resnet"), gradient=False)
    with pytest.raises(HeadsError, match="no token that stands for the picture"):
        features(trace)
