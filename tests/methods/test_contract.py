"""The shared contract: every method on every anatomy.

Raw, finite, float32, on the grid; a batch equals a loop over its pictures; class-specific methods change with the
class and others do not; bf16 ranks patches as float32 does; nothing is left on the model; what does not apply is
refused by name with a reason.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from scipy.stats import spearmanr

import vitscope as vs
from tests.zoo import TOKENS, ZOO, build, inputs, open_zoo, scores_in
from vitscope.errors import MethodError
from vitscope.methods import MethodInfo

METHODS = {info.name: info for info in vs.methods()}
SLOW = {"rise", "leave-one-out", "kernel-shap", "occlusion", "attention-flow"}
"""Methods of many forwards: the contract runs them on one anatomy of each kind with few samples."""
FEW = {"rise": {"masks": 8}, "kernel-shap": {"samples": 8}, "attention-flow": {"grid": 2}}
QUICK_OPTIONS = {
    "scorecam": {"channels": 3},
    "ablationcam": {"channels": 3},
    "integrated-gradients": {"steps": 3},
    "smoothgrad": {"samples": 2},
}
KINDS = (
    "timm-vit",
    "timm-vit-average",
    "timm-siglip",
    "hf-vit-sdpa",
    "hf-siglip-vision-eager",
    "hf-bert-sdpa",
)
"""A class token, a mean, attention pooling, transformers, its eager attention without a classifier, text."""
BLIND = {"hand-causal"}
"""The class token comes first in a causal model and sees no patch: gradients vanish, the CAMs refuse."""
UNEVEN = {"timm-xcit"}
"""torch's own pixel gradient of this model differs between a batch of one and of two, in float64 and with the plain
attention kernel too, while its output does not: not ours to mend, so pixel gradients are left out there."""
NO_NORMS = {"hand-functional-norm-outside"}
"""Its norms lie outside the modules that count as blocks: methods that read them refuse by name."""
NO_RULE = {"open-clip-pooler", "hand-bmm"}
"""Layer-wise relevance needs a rule for every product; these write one that has none, and are refused by name."""
BY_STAGES = {"daam", "gradcam"}
"""Explain models without one grid of tokens by their feature maps, whose grid is another one."""
OWN_SCORE = {name for name in METHODS if name == "daam-self"}


def applying(name: str) -> list[MethodInfo]:
    anatomy = anatomy_of(name)
    chosen = [info for info in METHODS.values() if info.why_not(anatomy) is None]
    if name in BLIND:
        chosen = [info for info in chosen if info.family != "cam"]
    if name in UNEVEN:
        chosen = [info for info in chosen if info.family != "pixel-gradient"]
    if name in NO_RULE:
        chosen = [info for info in chosen if info.name != "transformer-attribution"]
    if name in NO_NORMS:
        vit, batch = open_zoo(name), inputs(name)
        chosen = [
            info
            for info in chosen
            if not info.needs_for(vit, batch, info.resolved(vit, batch, {})).capture.norms
        ]
    return [info for info in chosen if info.name not in SLOW or name in KINDS]


def anatomy_of(name: str):
    return open_zoo(name).probe_for(open_zoo(name).inputs(inputs(name))).anatomy


def request(infos: list[MethodInfo]) -> dict[str, dict[str, object]]:
    return {info.name: {**QUICK_OPTIONS.get(info.name, {}), **FEW.get(info.name, {})} for info in infos}


def target_for(name: str, which: int = 0):
    """A class of a classifier, a feature dimension of an encoder."""
    if anatomy_of(name).classes is not None:
        return which
    return vs.Custom(lambda output: scores_in(output)[:, which], f"feature {which}")


def explain(name: str, batch, infos, target, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return vs.explain(open_zoo(name), batch, request(infos), target=target, keep_pictures=False, **how)


def pick(batch, rows: list[int]):
    if isinstance(batch, torch.Tensor):
        return batch[rows]
    return {key: value[rows] for key, value in batch.items()}


LOOSE = {"transformer-attribution": 5e-2, "ablationcam": 1e-2}
"""The first divides relevance by sums that come close to zero, the second takes what scores differ by, a thousandth of
them here: there the order of float32 additions shows."""


def alike(a: torch.Tensor, b: torch.Tensor, tolerance: float = 2e-3) -> bool:
    scale = max(float(a.abs().max()), float(b.abs().max()), 1e-9)
    return float((a - b).abs().max()) <= tolerance * scale


ROWS = [0, 0, 1]
"""The batch of the contract: the first picture twice, so that one pass shows what another class changes."""
CLASSES = [0, 1, 1]
BACK = [2, 0, 1]
"""Another order, in which every picture stands elsewhere."""


@pytest.mark.parametrize("name", list(ZOO))
def test_every_method_on_this_anatomy(name, tmp_path):
    """A batch with a class per picture is the loop over its pictures in another order, one by one; one picture of it is
    saved and comes back as it was."""
    batch, infos = pick(inputs(name), ROWS), applying(name)
    assert infos, f"no method applies to {name}, not even the controls"
    model, layout, classifies = build(name), anatomy_of(name).layout, anatomy_of(name).classes is not None
    before = [(p.requires_grad, p.grad is None) for p in model.parameters()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    aim = CLASSES if classifies else target_for(name)
    found = explain(name, batch, infos, aim)
    aim = [CLASSES[row] for row in BACK] if classifies else aim
    loop = explain(name, pick(batch, BACK), infos, aim, batch_size=1)
    assert [(p.requires_grad, p.grad is None) for p in model.parameters()] == before
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()] == hooks
    for method, explanation in found.items():
        maps, one_by_one, loose = explanation.maps, loop[method], LOOSE.get(method, 2e-3)
        assert maps.dtype == torch.float32, method
        assert maps.dim() == 3, method
        assert torch.isfinite(maps).all(), method
        if layout is not None and method not in BY_STAGES and METHODS[method].family != "control":
            assert maps.shape == (3, *layout.grid), method
        one = explanation[1]
        kept = vs.Explanation.load(one.save(tmp_path / method))
        assert kept.maps.equal(one.maps) and kept.recipe == one.recipe, method
        assert (kept.flow is None) == (one.flow is None), method
        assert one.flow is None or kept.flow.equal(one.flow), method
        assert set(kept.extras) == set(one.extras), method
        assert all(kept.extras[extra].equal(values) for extra, values in one.extras.items()), method
        if explanation.flow is not None:
            assert torch.isfinite(explanation.flow).all(), method
            assert explanation.flow.shape[0] == 3, method
            assert explanation.flow.shape[2:] == maps.shape[1:], method
        for place, row in enumerate(BACK):
            assert alike(maps[row], one_by_one.maps[place], loose), f"{method}: batch is not a loop"
            for extra, values in explanation.extras.items():
                close = alike(values[row], one_by_one.extras[extra][place], loose)
                assert close, f"{method}: {extra} of a batch is not a loop's"
        if classifies and method not in OWN_SCORE:
            assert explanation.classes.tolist() == CLASSES and one_by_one.classes.tolist() == [1, 0, 1]
            assert torch.allclose(explanation.scores[BACK], one_by_one.scores, rtol=1e-3, atol=1e-4), method
            assert (explanation.target, one_by_one.target) == ("class:0,1,1", "class:1,0,1")
            assert [one_by_one[i].target for i in range(3)] == ["class:1", "class:0", "class:1"]
            check_class(METHODS[method], maps[0], maps[1])


@pytest.mark.parametrize("name", [name for name, entry in ZOO.items() if not entry.classes])
def test_another_feature_gives_another_map(name):
    infos = [i for i in applying(name) if i.name not in OWN_SCORE | SLOW]
    one, other = (explain(name, inputs(name), infos, target_for(name, which)) for which in (0, 1))
    for info in infos:
        check_class(info, one[info.name].maps, other[info.name].maps)


def check_class(info: MethodInfo, one: torch.Tensor, other: torch.Tensor) -> None:
    """Maps of the same pictures for two classes differ, if only a little, for a class-specific method alone."""
    if info.class_specific:
        assert not torch.equal(one, other) or not bool(one.any()), info.name
    else:
        assert alike(one, other, 1e-5), info.name


@pytest.mark.parametrize("name", KINDS)
def test_any_split_in_any_order_gives_the_whole(name):
    """Five pictures, classes mixed: in batches of 2 and 3, forwards, backwards and shuffled."""
    batch, infos = inputs(name, 5), [i for i in applying(name) if i.name not in SLOW]
    classifies, classes = anatomy_of(name).classes is not None, [3, 0, 2, 0, 9]
    whole = explain(name, batch, infos, classes if classifies else target_for(name))
    for order, size in (([0, 1, 2, 3, 4], 2), ([4, 3, 2, 1, 0], 3), ([3, 0, 4, 2, 1], 2)):
        aim = [classes[row] for row in order] if classifies else target_for(name)
        parts = explain(name, pick(batch, order), infos, aim, batch_size=size)
        for method, explanation in parts.items():
            close = alike(explanation.maps, whole[method].maps[order], LOOSE.get(method, 2e-3))
            assert close, f"{method} in batches of {size}, order {order}"


@pytest.mark.parametrize("name", ["timm-vit-post-norm", "timm-vit-average", "timm-cait", "hf-beit-sdpa"])
def test_a_picture_without_gradient_changes_no_other(name):
    """A score that is flat at one picture (a probability of 1, here a hinge) makes that picture's map zero, no more."""
    batch = inputs(name, 3)
    vit = open_zoo(name)
    logits = vit.forward(batch)[:, 0]
    low = int(logits.argmin())
    hinge = float(logits.sort().values[:2].mean())

    def score(output):
        return (scores_in(output)[:, 0] - hinge).clamp_min(0)

    infos = [i for i in applying(name) if i.class_specific and i.name not in SLOW]
    batch_maps, loop = (explain(name, batch, infos, score, batch_size=size) for size in (3, 1))
    for method, explanation in batch_maps.items():
        assert alike(explanation.maps, loop[method].maps, LOOSE.get(method, 2e-3)), method
        assert torch.isfinite(explanation.maps).all(), method
        if METHODS[method].family == "cam" and METHODS[method].backwards:
            assert not bool(explanation.maps[low].any()), method
    cams = vs.explain(vit, batch, "gradcam", score, relu=False).maps.flatten(1)
    assert cams.any(1).tolist() == [row != low for row in range(3)]


@pytest.mark.parametrize("name", list(ZOO))
def test_what_does_not_apply_is_refused_with_a_reason(name):
    anatomy = anatomy_of(name)
    for info in METHODS.values():
        reason = info.why_not(anatomy)
        if reason is None:
            continue
        assert len(reason) > 20 and "\n" not in reason
        with pytest.raises(MethodError, match="does not apply to"):
            vs.explain(open_zoo(name), inputs(name), info.name, target=target_for(name))


def bf16_rank_correlation(vit, half, batch, infos, target) -> dict[str, float]:
    """Mean rank correlation over pictures per method, where the map is no constant."""
    full = vs.explain(vit, batch, request(infos), target=target, keep_pictures=False)
    low = vs.explain(half, batch, request(infos), target=target, keep_pictures=False)
    found = {}
    for info in infos:
        a, b = full[info.name].maps.flatten(1), low[info.name].maps.flatten(1)
        if a.shape[1] >= 9 and bool((a.std(1) > 0).all()):
            ranks = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
            found[info.name] = float(sum(ranks) / len(ranks))
    return found


def comparable(infos: list[MethodInfo]) -> list[MethodInfo]:
    return [i for i in infos if i.name not in SLOW and i.family not in ("control", "pixel-gradient")]


def test_bf16_ranks_patches_as_float32_does_on_the_zoo():
    """At least 0.98 for every method, mean over the zoo; sixteen patches of a random model are a hard case."""
    ranks: dict[str, list[float]] = {}
    for name in [n for n in TOKENS if not ZOO[n].text and n not in BLIND]:
        half = vs.open_model(build(name), image_size=ZOO[name].size, precision="bf16")
        infos = comparable(applying(name))
        for method, value in bf16_rank_correlation(
            open_zoo(name), half, inputs(name), infos, target_for(name)
        ).items():
            ranks.setdefault(method, []).append(value)
    poor = {method: sum(v) / len(v) for method, v in ranks.items() if sum(v) / len(v) < 0.98}
    assert not poor
    assert len(ranks) > 15


def test_bf16_ranks_patches_as_float32_does_on_the_real_deit(deit, deit_weights, sample_pictures):
    half = vs.open_model("timm/deit_tiny_patch16_224", weights=deit_weights, precision="bf16")
    infos = comparable([i for i in METHODS.values() if i.why_not(deit.anatomy) is None])
    found = bf16_rank_correlation(deit, half, deit.images(sample_pictures[:2]), infos, 207)
    assert {method: value for method, value in found.items() if value < 0.98} == {}


def test_what_takes_small_differences_of_scores_takes_them_in_float32():
    """In bf16 logits are rounded by more than one patch changes; RISE, a mean over many, runs in it."""
    module = build("timm-vit")
    full, half = (
        vs.open_model(module, image_size=ZOO["timm-vit"].size, precision=each) for each in ("float32", "bf16")
    )
    pictures = inputs("timm-vit")
    for name in ("leave-one-out", "occlusion"):
        assert torch.equal(vs.explain(full, pictures, name).maps, vs.explain(half, pictures, name).maps)
    full_rise, half_rise = (vs.explain(vit, pictures, "rise", masks=8).maps for vit in (full, half))
    assert not torch.equal(full_rise, half_rise)


def test_methods_that_read_norms_say_so_where_none_is_seen():
    name = sorted(NO_NORMS)[0]
    with pytest.raises(MethodError, match=r"'gradcam' does not apply to .*no LayerNorm"):
        vs.explain(open_zoo(name), inputs(name), "gradcam", target=target_for(name))


@pytest.mark.parametrize("name", sorted(NO_RULE))
def test_a_product_without_a_relevance_rule_is_refused_by_name(name):
    with pytest.raises(MethodError, match=r"'transformer-attribution' does not apply to .*no relevance rule"):
        vs.explain(open_zoo(name), inputs(name), "transformer-attribution", target=target_for(name))


def test_methods_of_many_forwards_meet_every_kind_of_model():
    """A name that is in no zoo would leave them out in silence."""
    assert set(KINDS) <= set(ZOO) and set(METHODS) >= SLOW
    met = {name: {info.name for info in applying(name)} & SLOW for name in KINDS}
    assert met["timm-vit"] == met["hf-vit-sdpa"] == SLOW
    assert met["timm-siglip"] >= SLOW - {"attention-flow"}, "attention pooling"
    assert met["hf-siglip-vision-eager"] >= SLOW - {"attention-flow"}
