"""Explaining as an analysis: what ``vs.explain`` gives, in any parts; and several analyses of one batch on one pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import vitscope as vs
from tests.zoo import fresh, open_zoo, pictures
from vitscope import evaluation
from vitscope.analysis import run_in_parts
from vitscope.errors import AnswerError, TargetError
from vitscope.heads.atlas.collecting import MapCollection
from vitscope.heads.distance.strength_parts import StrengthSums
from vitscope.heads.origin import heads_recipe
from vitscope.heads.per_picture import PerPicture, Rows
from vitscope.heads.pruning.first_order import first_order_scores
from vitscope.heads.pruning.leave_one_out import LeaveOneOut
from vitscope.methods import Explanation
from vitscope.methods.explaining.batch import explain_batch, foreseen, resolved
from vitscope.methods.explaining.explaining import Explaining
from vitscope.methods.explaining.explanations import Explanations
from vitscope.pictures import Batch, PictureSource, picture_source
from vitscope.pictures.read_batch import ReadBatch
from vitscope.progress import CountedStage
from vitscope.tracing import Capture, ClassIndex, Foreseen, Target, TopK, parse_target, sharing_traces

REQUEST: dict[str, dict[str, Any]] = {"gmar": {"norm": "l2"}, "daam": {}, "dart": {}}


def tiny() -> vs.Vit:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.models.VisionTransformer(
            img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return vs.open_model(model.eval(), image_size=32, preprocess="half")


VIT = tiny()


def source(count: int = 7, **options: Any) -> PictureSource:
    drawn = np.random.default_rng(0).integers(0, 256, (7, 40, 40, 3), dtype=np.uint8)[:count]
    return picture_source(
        [Image.fromarray(each) for each in drawn], keys=[f"p{i}" for i in range(count)], **options
    )


def analysis(target: Target | None = None, size: int = 2, count: int = 7, **options: Any) -> Explaining:
    stage = CountedStage(None, "explaining", count)
    return Explaining(REQUEST, target or TopK(1), size, stage, **options)


def same(found: Explanation, expected: Explanation) -> bool:
    for each in dataclasses.fields(Explanation):
        one, other = getattr(found, each.name), getattr(expected, each.name)
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            if not torch.equal(one, other):
                return False
        elif each.name == "extras":
            if one.keys() != other.keys() or not all(torch.equal(one[k], other[k]) for k in one):
                return False
        elif each.name != "made" and one != other:
            return False
    return found.recipe == expected.recipe


TARGETS = {
    "top1": TopK(1),
    "a class each": ClassIndex((0, 1, 2, 3, 4, 0, 1)),
    "one of several kinds each": parse_target(
        [ClassIndex(0), TopK(2), ClassIndex(1), TopK(1), TopK(3), TopK(1, "probability"), ClassIndex(2)]
    ),
}


@pytest.mark.parametrize("part", [2, 4, 7])
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_any_parts_are_what_explain_gives(target: Target, part: int, tmp_path: Path) -> None:
    expected = vs.explain(VIT, source(), REQUEST, target, batch_size=2)
    for _ in range(2):  # computed, then read back
        found = run_in_parts(analysis(target, keep_pictures=True), VIT, source(), part, folder=tmp_path)
        assert list(found) == list(expected)
        assert all(same(found[name], expected[name]) for name in expected)
    assert len(list(tmp_path.iterdir())) == -(-7 // part)


def test_a_part_comes_back_as_it_was() -> None:
    work = analysis(clean=True)
    prepared = work.prepare(VIT, source())
    part = work.run(prepared, source().part(0, 3))
    back = work.decode(work.encode(part))
    assert list(back) == list(REQUEST)
    assert all(same(back[name], part[name]) for name in part)
    assert work.decode(work.encode({})) == {} == work.merge(prepared, [{}, {}])


def test_what_changes_the_result_changes_the_recipe() -> None:
    def digest(**options: Any) -> str:
        return analysis(**options).recipe(VIT, source()).digest

    digests = [digest(), digest(target=TopK(2)), digest(clean=True), digest(keep_pictures=True)]
    digests += [digest(target=TARGETS["a class each"]), digest(target=ClassIndex((0, 1, 2, 3, 4, 0, 2)))]
    digests.append(dataclasses.replace(analysis(), request={"gmar": {}}).recipe(VIT, source()).digest)
    assert len(set(digests)) == len(digests)
    assert digest(size=3) == digests[0]


def test_targets_of_another_number_of_pictures_are_refused() -> None:
    with pytest.raises(TargetError, match="got 3"):
        analysis(ClassIndex((0, 1, 2))).prepare(VIT, source())


def test_a_picture_without_an_answer_is_skipped_or_refused() -> None:
    drawn = pictures("timm-deit", 3)
    drawn[1] = 3e38
    vit = open_zoo("timm-deit")
    work = Explaining({"rollout": {}}, TopK(1), 2, CountedStage(None, "explaining", 3))
    lenient = picture_source(drawn, keys=["a", "b", "c"], skip=True)
    found = work.run(work.prepare(vit, lenient), lenient)["rollout"]
    assert found.metadata["keys"] == ["a", "c"]
    assert list(lenient.skipped) == ["b"] and "NaN" in lenient.skipped["b"]
    strict = picture_source(drawn, keys=["a", "b", "c"])
    with pytest.raises(AnswerError):
        work.run(work.prepare(vit, strict), strict)


# ---- one pass for several analyses ---------------------------------------------------------------------------


@contextmanager
def runs_of(vit: vs.Vit) -> Iterator[list[bool]]:
    """One entry for each run of the model to its last block over more than one picture: whether it has a graph."""
    runs: list[bool] = []
    last = vit.model.get_submodule(vit.anatomy.blocks[-1].path)
    handle = last.register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    try:
        yield runs
    finally:
        handle.remove()


def looks(
    vit: vs.Vit, batch: Batch, data: evaluation.EvaluationSet | None = None
) -> dict[str, Callable[[], Any]]:
    """Analyses of one batch by name; each gives numbers."""
    one, count = ReadBatch(batch), len(batch)
    made = heads_recipe(vit, one, "test", {})
    L, H = len(vit.anatomy.blocks), vit.anatomy.heads

    def stage() -> CountedStage:
        return CountedStage(None, "test", count)

    def explained(*names: str) -> dict[str, Any]:
        work = Explaining({name: {} for name in names}, TopK(1), 16, stage())
        found: Explanations = work.run(work.prepare(vit, one), one)
        return {
            f"{name} {what}": value
            for name, each in found.items()
            for what, value in {
                "maps": each.maps,
                "logits": each.logits,
                "diagnostics": each.metadata.get("diagnostics", []),
            }.items()
        }

    def rows(measure: Callable[[Batch], Rows]) -> Any:
        return PerPicture(made, measure, 16, stage()).run(vit, one).values

    def first_order(given: Batch) -> Rows:
        return Rows.of(given, {"score": first_order_scores(vit.trace(given.images, "top1", keys=given.keys))})

    def sampled() -> Any:
        work = MapCollection(made, "test", 2, 0, 16, stage())
        found = work.run(work.prepare(vit, one), one)
        assert found is not None
        return {"pooled": found.pooled, "features": found.features}

    heads = [(block, head) for block in range(L) for head in range(H)][::2]
    return {
        "logits": lambda: vit.forward(batch.images),
        "gmar, daam": lambda: explained("gmar", "daam", "rollout"),
        "strength": lambda: StrengthSums(made, "chebyshev", 16, stage()).run(vit, one).rows.values,
        "maps": sampled,
        "first order": lambda: rows(first_order),
        "one out": lambda: rows(LeaveOneOut(vit, heads, None, "standard", False, 16, L, H, stage())),
        "dart": lambda: explained("dart"),
    }


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    first, second = (torch.as_tensor(each).nan_to_num(7).double() for each in (one, other))
    limit = 1e-4 * float(second.abs().max()) if second.numel() else 0.0
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-4, atol=limit)


STREAMS = Foreseen(gradient=False, capture=Capture(streams=True))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", ["timm-deit", "timm-deit-distilled", "hf-siglip-eager"])
def test_every_analysis_of_a_batch_reads_one_forward_and_one_backward(name: str, backwards: bool) -> None:
    vit = open_zoo(name)
    batch = next(picture_source(pictures(name), keys=["a", "b"]).batches(vit, 16))
    every = looks(vit, batch)
    alone = {name: look() for name, look in every.items()}  # and what is found out once of a model is known
    order = list(every)[::-1] if backwards else list(every)
    with runs_of(vit) as runs, sharing_traces(vit, batch.images, [Foreseen("top1"), STREAMS]):
        for look in order:
            before = len(runs)
            assert equal(every[look](), alone[look]), look
            if look == "dart":  # rules of its own
                assert len(runs) == before + 1
                continue
            made = len(runs) - before
            if look == "one out":  # its changed copies are runs of their own, without a graph
                runs[before:] = [graph for graph in runs[before:] if graph]
                assert made > len(runs) - before
        assert sum(runs) == len(runs) == 2


def agree(found: Any, wanted: Any, what: str) -> None:
    """Equal up to float32's rounding: a pass of its own computes attention in steps, a shared one as the model does."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), what
        for key, value in wanted.items():
            agree(found[key], value, f"{what}: {key}")
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted), what
        for one, other in zip(found, wanted, strict=True):
            agree(one, other, what)
    elif isinstance(wanted, torch.Tensor):
        limit = 1e-4 * float(wanted.abs().max())
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=limit, msg=lambda text: f"{what}: {text}")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6), what
    else:
        assert found == wanted, what


@pytest.mark.parametrize("name", ["timm-deit", "timm-siglip", "hf-vit-eager", "swin"])
@pytest.mark.parametrize("backwards", [False, True])
def test_every_method_on_shared_passes_is_the_method_alone(name: str, backwards: bool) -> None:
    vit, images = open_zoo(name), pictures(name)
    target: Target = TopK(1)
    if vit.anatomy.classes is None:
        target = vs.Custom(lambda output: output[:, 0], "first")
    quick = {"integrated-gradients": {"steps": 3}, "smoothgrad": {"samples": 2}}
    slow = {"rise", "leave-one-out", "kernel-shap", "occlusion", "attention-flow"}
    chosen = [i.name for i in vs.methods() if i.why_not(vit.anatomy) is None and i.name not in slow]
    requests = {
        each: resolved(vit, images, {each: quick.get(each, {})}) for each in chosen[:: -1 if backwards else 1]
    }
    alone = {each: explain_batch(vit, images, request, target)[each] for each, request in requests.items()}
    ahead = [ask for request in requests.values() for ask in foreseen(vit, images, request, target)]
    with runs_of(vit) as runs, sharing_traces(vit, images, ahead):
        for each, request in requests.items():
            found = explain_batch(vit, images, request, target)[each]
            agree(found.maps, alone[each].maps, each)
            agree(found.metadata, alone[each].metadata, each)
        before = len(runs)
        vit.trace(images, target)
        assert len(runs) == before


def test_an_evaluation_shares_the_pass_of_the_explanation() -> None:
    vit = VIT
    data = evaluation.evaluation_set(source(), labels=[0, 1, 2, 3, 4, 0, 1], keys=source().keys)
    batch = next(data.batches(vit, 4))
    names = ["gmar", "daam"]
    expected = vs.evaluate(vit, data.part(0, 4), methods=names, metrics=["srg"], batch_size=4)
    one = data.of_batch(batch)
    assert one.truth() == data.part(0, 4).truth() and list(one.ids) == list(data.part(0, 4).ids)
    with runs_of(vit) as runs, sharing_traces(vit, batch.images, [Foreseen("top1"), STREAMS]):
        found = vs.evaluate(vit, one, methods=names, metrics=["srg"], batch_size=4)
        assert sum(runs) == 1  # every pass with a gradient
    assert found.protocol.digest == expected.protocol.digest
    for place, state in expected.states.items():
        agree(found.states[place].rows, state.rows, str(place))


def test_a_batch_that_was_read_is_not_read_again() -> None:
    masks = [np.eye(40, dtype=bool)] * 7
    given = source(labels=[0, 1, 2, 3, 4, 0, 1], masks=masks)
    whole = list(given.batches(VIT, 4))[1]
    one = ReadBatch(whole, skip=True)
    assert (list(one.keys), list(one.ids)) == (whole.keys, whole.ids)
    batch = next(one.batches(VIT, 3))
    assert batch.images is whole.images and batch.positions == [0, 1, 2]
    assert batch.labels is not None and batch.labels.tolist() == [4, 0, 1]
    assert batch.masks is not None and whole.masks is not None and torch.equal(batch.masks, whole.masks)
    parts = list(one.batches(VIT, 2))
    assert [part.keys for part in parts] == [["p4", "p5"], ["p6"]]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    (last,) = one.part(2, 3).batches(VIT, 8)
    assert last.keys == ["p6"] and torch.equal(last.images, whole.images[2:])


def test_nothing_is_left_on_a_fresh_model() -> None:
    model = fresh("timm-deit")
    vit = vs.open_model(model, image_size=64)
    images = pictures("timm-deit")
    with sharing_traces(vit, images, [Foreseen("top1"), STREAMS]):
        vit.trace(images)
    assert not any(
        m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in model.modules()
    )
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
