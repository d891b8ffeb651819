"""Options of methods: one declaration says what is accepted, in Python, as text and in lists of methods."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

import vitscope as vs
from tests.methods.written import small_vit
from tests.zoo import inputs, open_zoo
from vitscope.errors import MethodError
from vitscope.methods import get_method

INFOS = {info.name: info for info in vs.methods()}
OPTIONS = [(name, option) for name, info in INFOS.items() for option in info.declared]
FEWEST = {"refined": 2, "samples": 2, "masks": 2, "steps": 1, "grid": 2}
STRANGE = [
    None,
    [1],
    {},
    1j,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    "x",
    "0.5",
    -7,
    10**30,
    10**5000,
    object(),
]


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    """Three blocks of three heads, 3 x 4 patches."""
    return vs.open_model(small_vit(), image_size=(48, 64))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(2))


def refusal(name: str, **options: object) -> str:
    with pytest.raises(MethodError) as caught:
        get_method(name).check_options(options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "option", "value", "accepted"),
    [
        ("gradient-rollout", "discard", 1.5, "a number from 0 to below 1"),
        ("gradient-rollout", "discard", 1, "a number from 0 to below 1"),
        ("gmar", "alpha", "x", "a number from 0 to 1,000,000"),
        ("gmar", "alpha", True, "a number from 0 to 1,000,000"),
        ("rollout", "residual", -1, "a number from 0 to 1,000,000"),
        ("rollout", "residual", "1", "a number from 0 to 1,000,000"),
        ("rise", "masks", 1e2, "a whole number from 2 to 100,000"),
        ("rise", "masks", 10**18, "a whole number from 2 to 100,000"),
        ("rise", "share", 0, "a number above 0 to below 1"),
        ("rise", "share", 1.0, "a number above 0 to below 1"),
        ("dart", "refined", 10**18, "a whole number from 0 to 1,024 in steps of 2"),
        ("dart", "refined", 3, "a whole number from 0 to 1,024 in steps of 2"),
        ("dart", "gate", "false", "True or False"),
        ("dart", "gate", 1, "True or False"),
        ("dart", "gate", None, "True or False"),
        ("smoothgrad", "samples", 10**18, "a whole number from 1 to 10,000"),
        ("smoothgrad", "seed", -1, "a whole number from 0 to 4,294,967,295"),
        ("kernel-shap", "samples", 10**18, "a whole number from 2 to 100,000"),
        ("integrated-gradients", "steps", 10**18, "a whole number from 1 to 1,000"),
        ("daam-self", "bank", 3, "a MemoryBank or the path of its file or None"),
        ("daam-self", "temperature", 0, "a number from 0.02 to 100"),
        ("attention-flow", "grid", 8, "a whole number from 1 to 7"),
        ("gae", "libra", "false", "True or False"),
    ],
)
def test_what_is_not_accepted_is_refused_by_name(name, option, value, accepted):
    message = refusal(name, **{option: value})
    assert message == f"option '{option}' of '{name}' is {accepted}, got {value!r}"


def test_words_tell_the_nearest():
    assert refusal("gmar", norm="L1") == "option 'norm' of 'gmar' is 'l1' or 'l2', got 'L1'; nearest: 'l1'"
    assert (
        refusal("dart", kappa="best")
        == "option 'kappa' of 'dart' is a number from 0 to 2 or 'auto', got 'best'"
    )
    assert refusal("gmar", nrom="l1").startswith(
        "method 'gmar' has no option 'nrom'; nearest: norm, of norm, alpha, "
    )
    assert refusal("edges", sigma=1) == "method 'edges' has no option 'sigma'; it has none"


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_strange_values_end_in_one_line(name, option):
    """Every option of every method; a bank's path may be any text, blocks and baselines may be negative."""
    declared = INFOS[name].declared[option]
    for value in STRANGE:
        if value is None and declared.default is None:
            continue
        if isinstance(value, str) and value and option == "bank":
            continue
        if value == -7 and option in ("block", "baseline"):
            continue
        message = refusal(name, **{option: value})
        assert message.startswith(f"option '{option}' of '{name}' is ") and len(message) < 250
        assert "\n" not in message
    if not isinstance(declared.default, bool):
        refusal(name, **{option: True})
    else:
        assert INFOS[name].check_options({option: not declared.default}) == {option: not declared.default}
    if isinstance(declared.default, int) and not isinstance(declared.default, bool):
        refusal(name, **{option: float(declared.default)})


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_defaults_are_accepted_and_told(name, option):
    declared = INFOS[name].declared[option]
    assert INFOS[name].check_options({option: declared.default}) == {option: declared.default}
    record = declared.record()
    assert record["default"] == declared.default and record["accepts"] == declared.accepts()
    assert record["type"] in ("number", "integer", "boolean", "choice", "file")
    if declared.default is not None:
        assert INFOS[name].read_option(option, str(declared.default)) == declared.default


def test_numbers_take_one_form():
    """So that options that mean the same are equal in every record of them."""
    check = get_method("gmar").check_options
    for value in (2, 2.0, np.float32(2), np.int64(2), Fraction(2)):
        found = check({"alpha": value})["alpha"]
        assert found == 2.0 and type(found) is float
    found = get_method("rise").check_options({"masks": np.int64(9)})["masks"]
    assert found == 9 and type(found) is int


@pytest.mark.parametrize(
    ("name", "option", "text", "value"),
    [
        ("gmar", "alpha", "0.5", 0.5), ("gmar", "alpha", " 1e-3 ", 1e-3), ("gmar", "alpha", "2", 2.0),
        ("gmar", "norm", "l2", "l2"), ("gmar", "positive", "TRUE", True), ("gradcam", "relu", "false", False),
        ("raw-attention", "head", "none", None), ("raw-attention", "head", "2", 2),
        ("raw-attention", "block", "-1", -1), ("raw-attention", "query", "readout", "readout"),
        ("raw-attention", "query", "7", 7), ("dart", "kappa", "auto", "auto"), ("dart", "kappa", "1", 1.0),
        ("daam-self", "bank", "b.safetensors", "b.safetensors"), ("daam-self", "bank", "none", "none"),
    ],
)  # fmt: skip
def test_a_text_stands_for_what_is_declared(name, option, text, value):
    found = get_method(name).read_option(option, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [
        ("rise", "masks", "1e2"), ("rise", "masks", "²"), ("rise", "masks", "٣"), ("rise", "masks", "9" * 5000),
        ("rise", "masks", "1_000"), ("gmar", "alpha", "nan"), ("gmar", "alpha", "-inf"), ("gmar", "alpha", "1e999"),
        ("gmar", "alpha", "true"), ("gmar", "alpha", "[1]"), ("gmar", "alpha", ""), ("gmar", "alpha", "5" * 5000),
        ("gmar", "positive", "1"), ("gmar", "positive", "yes"), ("gmar", "norm", "l3"), ("dart", "kappa", "best"),
        ("raw-attention", "head", "1.0"),
    ],
)  # fmt: skip
def test_a_text_that_stands_for_nothing_is_refused_in_the_same_words(name, option, text):
    with pytest.raises(MethodError, match=f"option '{option}' of '{name}' is .*, got ") as caught:
        get_method(name).read_option(option, text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("name", "options", "accepted"),
    [
        ("rollout", {"start_block": 3}, "a block of the model from 0 to 2"),
        ("rollout", {"start_block": -1}, "a block of the model, from 0"),
        ("gradcam", {"block": 99}, "a block of the model from -3 to 2 or None"),
        ("gradcam", {"block": -4}, "a block of the model from -3 to 2 or None"),
        ("attention-gradcam", {"block": 3}, "a block of the model from -3 to 2"),
        ("raw-attention", {"head": 3}, "a head of the model from 0 to 2 or None"),
        ("raw-attention", {"query": 12}, "a patch of the picture, row by row from 0 to 11 or 'readout'"),
    ],
)
def test_the_model_bounds_blocks_heads_and_patches(vit, images, name, options, accepted):
    ((option, value),) = options.items()
    with pytest.raises(MethodError) as caught:
        vs.explain(vit, images, name, 3, **options)
    assert str(caught.value) == f"option '{option}' of '{name}' is {accepted}, got {value}"
    with pytest.raises(vs.errors.VitscopeError, match=f"option '{option}' of '{name}'"):
        vs.evaluate(vit, images, None, [f"{name}:{option}={value}"], ["srg"])


@pytest.mark.parametrize(
    ("model", "name", "accepted"),
    [
        ("timm-cait", "raw-attention", "from -4 to 3"),  # class attention counts, too
        ("timm-xcit", "gradcam", "from -4 to 3"),
    ],
)
def test_blocks_of_every_kind_are_counted(model, name, accepted):
    vit = open_zoo(model)
    with pytest.raises(MethodError, match=f"is a block of the model {accepted}.*, got 99"):
        vs.explain(vit, inputs(model), name, 3, block=99)


def test_the_outermost_accepted_values_give_finite_maps(vit, images):
    """Nothing that is accepted comes out as NaN: both ends of every range, every word; of passes only the fewest."""
    for name, info in INFOS.items():
        if info.why_not(vit.anatomy) is not None:
            continue
        quick = {option: value for option, value in FEWEST.items() if option in info.options}
        for option, declared in info.declared.items():
            for record in (declared.record(), *declared.record().get("or", [])):
                values = [record["from"], record["to"]] if "to" in record else record.get("choices", [])
                if option in FEWEST:  # the highest would take hours
                    values = values[:1]
                for value in values:
                    if value == record.get("from") and not record.get("from_itself", True):
                        value = math.nextafter(value, 1)
                    if value == record.get("to") and not record.get("to_itself", True):
                        value = math.nextafter(value, 0)
                    given = {**quick, option: value}
                    maps = vs.explain(vit, images, name, 3, keep_pictures=False, **given).maps
                    assert torch.isfinite(maps).all(), (name, option, value)


def test_options_of_several_methods_go_to_those_that_have_them(vit, images):
    found = vs.explain(vit, images, {"gmar": {"alpha": 2}, "rollout": {}, "edges": {}}, 3, residual=0.5)
    assert found["gmar"].options["alpha"] == 2.0 and found["rollout"].options["residual"] == 0.5
    own_wins = vs.explain(vit, images, {"gmar": {"alpha": 2}, "gmar-paper": {}}, 3, alpha=0.5)
    assert [own_wins[name].options["alpha"] for name in ("gmar", "gmar-paper")] == [2.0, 0.5]
    with pytest.raises(MethodError, match="'gmar' has no option 'sigma'"):
        vs.explain(vit, images, ["gmar", "rollout"], 3, sigma=1)
    with pytest.raises(MethodError, match="option 'residual' of 'rollout'"):
        vs.explain(vit, images, ["gmar", "rollout"], 3, residual=-1)
    with pytest.raises(MethodError, match="option 'alpha' of 'gmar'"):  # before any picture is opened
        vs.explain(vit, ["no-such-picture.jpg"], {"gmar": {"alpha": "x"}}, 3)
