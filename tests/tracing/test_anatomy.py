"""The probe against facts written down by hand, on every animal of the zoo."""

from __future__ import annotations

import pytest
import torch

import vitscope as vs
from tests.zoo import PICTURES, REFUSED, ZOO, build, inputs, open_zoo, pictures
from tests.zoo.handwritten import HandVit
from vitscope.errors import MethodError, ModelError, TraceError
from vitscope.models import Anatomy, TokenLayout


def anatomy_of(name: str) -> Anatomy:
    vit = open_zoo(name)
    return vit.trace(inputs(name), gradient=False).anatomy if ZOO[name].text else vit.anatomy


@pytest.mark.parametrize("name", ZOO)
def test_facts(name: str) -> None:
    entry, anatomy = ZOO[name], anatomy_of(name)
    layout = anatomy.layout
    found = {
        "grid": layout.grid if layout else None,
        "prefix": layout.prefix if layout else (),
        "blocks": len(anatomy.blocks),
        "heads": anatomy.heads,
        "width": anatomy.width,
        "kinds": tuple(block.kind for block in anatomy.blocks),
        "pooling": anatomy.pooling,
        "classes": anatomy.classes,
        "post_norm": anatomy.post_norm,
        "fused": all(site.fused for site in anatomy.block_sites),
        "parameters": sum(p.numel() for p in build(name).parameters()),
    }
    expected = {key: getattr(entry, key) for key in found if key != "parameters"}
    assert found == {**expected, "parameters": found["parameters"]}
    reason = anatomy.why_no_tokens()
    assert (reason is None) == (entry.refused is None)
    assert entry.refused is None or entry.refused in str(reason)
    row_reason = anatomy.why_no_row()
    assert (row_reason is None) == (entry.refused is None and entry.row_refused is None)
    if entry.refused is None:
        assert anatomy.convolves == entry.convolves


@pytest.mark.parametrize("name", [n for n in ZOO if ZOO[n].refused is None])
def test_head_width_and_readout(name: str) -> None:
    entry, anatomy = ZOO[name], anatomy_of(name)
    for site in anatomy.block_sites:
        if site.kind in ("self", "class"):
            assert site.head_width * entry.heads == entry.width
    if entry.pooling == "attention":
        assert anatomy.readout is None and anatomy.pool_site is not None
        return
    assert anatomy.readout is not None and anatomy.layout is not None
    assert sum(anatomy.readout) == pytest.approx(1)
    prefix = len(entry.prefix)
    on_prefix = sum(anatomy.readout[:prefix])
    wanted = {"class": 1.0, "class+distillation": 1.0, "mean": 0.0, "class+mean": 0.5}[entry.pooling]
    assert on_prefix == pytest.approx(wanted)


@pytest.mark.parametrize("name", [n for n in ZOO if ZOO[n].other_size])
def test_other_size_of_input(name: str) -> None:
    size, grid = ZOO[name].other_size, ZOO[name].other_grid
    assert size is not None
    layout = open_zoo(name).anatomy_for(size).layout
    assert layout is not None and layout.grid == grid and layout.prefix == ZOO[name].prefix
    trace = open_zoo(name).trace(
        pictures(name, size=size), target=None if ZOO[name].classes else first_feature
    )
    assert trace.layout.grid == grid
    assert trace.sites[-1].attention().shape[-1] == layout.tokens


def first_feature(output: object) -> torch.Tensor:
    tensor = output if isinstance(output, torch.Tensor) else output[0][:, 0]  # type: ignore[index]
    return tensor.float()[:, 0]


@pytest.mark.parametrize("name", REFUSED)
def test_refused_models_open_print_and_say_why(name: str) -> None:
    vit = open_zoo(name)
    assert name and vit.anatomy.why_no_tokens()
    logits = vit.forward(pictures(name))
    assert torch.equal(logits, reference(name))
    with pytest.raises(MethodError, match=r"does not apply|not apply|no attention"):
        vs.explain(vit, pictures(name), method="rollout")
    grid = vit.anatomy.layout.patches if vit.anatomy.layout else 16
    with pytest.raises(TraceError, match="tokens cannot be removed"):
        vit.forward(pictures(name), removal=vs.tracing.TokenRemoval(torch.ones(2, grid, dtype=torch.bool)))


def reference(name: str) -> torch.Tensor:
    with torch.no_grad():
        output = build(name)(pictures(name))
    return output if isinstance(output, torch.Tensor) else output.logits


@pytest.mark.parametrize("name", [n for n in PICTURES if "linear" not in n])
def test_grid_is_seen_and_not_guessed(name: str) -> None:
    assert not any("guessed" in note for note in anatomy_of(name).notes)


@pytest.mark.parametrize("name", PICTURES)
def test_where_the_stream_goes_around_blocks(name: str) -> None:
    blocks = anatomy_of(name).blocks
    assert all(block.whole for block in blocks) == ("functional" not in name)
    assert all(block.tokens_first == (name == "encoder-tokens-first") for block in blocks)


def test_overrides_win() -> None:
    model = build("timm-deit-distilled")
    vit = vs.open_model(model, image_size=64, prefix=("a", "b"), pooling="mean", classes=10)
    assert vit.anatomy.layout == TokenLayout(("a", "b"), (4, 4))
    assert vit.anatomy.pooling == "mean" and vit.anatomy.classes == 10
    assert vit.anatomy.readout == (0.0, 0.0, *[1 / 16] * 16)
    assert vs.open_model(model, image_size=64, classes=0).anatomy.classes is None
    blocks = vs.open_model(model, image_size=64, blocks=["blocks.1"]).anatomy.blocks
    assert [block.path for block in blocks] == ["blocks.1"]
    linear = vs.open_model(build("hand-linear-patches"), image_size=64, grid=(2, 8))
    assert linear.anatomy.layout == TokenLayout(("class",), (2, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": (5, 5)}, "does not make the model's 17 tokens"),
        ({"grid": (4, 4), "prefix": ("a", "b")}, "one name per prefix token"),
        ({"blocks": ["nowhere"]}, "'nowhere', which the model does not have"),
        ({"pooling": "median"}, "pooling 'median' does not fit"),
        ({"precision": "int8"}, "expected precision"),
        ({"classes": 7}, "classes=7 was given, but what the model returns has 10 scores"),
    ],
)
def test_wrong_overrides_are_refused_in_one_line(options: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        _ = vs.open_model(build("timm-vit"), image_size=64, **options).anatomy
    assert "\n" not in str(error.value)


def test_size_that_the_model_does_not_take() -> None:
    with pytest.raises(ModelError, match=r"does not run on pictures of 48x48: .*image_size="):
        open_zoo("timm-deit").anatomy_for((48, 48))


def test_layout_folds_tokens_and_patches() -> None:
    layout = TokenLayout(("class",), (2, 3))
    tokens = torch.arange(7.0)
    assert torch.equal(layout.to_grid(tokens), torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    assert torch.equal(layout.to_grid(tokens[1:]), layout.to_grid(tokens))
    with pytest.raises(ModelError, match="expected 7 tokens or 6 patches"):
        layout.to_grid(torch.zeros(5))
    assert layout.describe() == "class + 2x3 patches = 7 tokens"


def test_size_is_guessed_when_nothing_tells_it() -> None:
    model = torch.nn.Sequential(build("hand-matmul"))
    assert vs.open_model(model).image_size == (64, 64)


class ClassLast(HandVit):
    """The class token behind the patches, and as many more tokens as told."""

    def __init__(self, more: int = 0, in_place: bool = False) -> None:
        super().__init__("fused")
        self.more = torch.nn.Parameter(torch.randn(1, more, 48))
        self.positions = torch.nn.Parameter(torch.randn(1, 17 + more, 48))
        self.in_place = in_place

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2)
        B = len(x)
        x = torch.cat([x, self.cls_token.expand(B, -1, -1), self.more.expand(B, -1, -1)], 1) + self.positions
        for layer in self.layers:
            if self.in_place:
                x += layer(x) - x
            else:
                x = layer(x)
        return self.head(self.norm(x)[:, 16])


@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("given", [{}, {"grid": (4, 4)}, {"grid": (4, 4), "pooling": "class"}])
@pytest.mark.parametrize("in_place", [False, True])
def test_tokens_behind_the_patches_are_refused_not_misread(more: int, given: dict, in_place: bool) -> None:
    torch.manual_seed(4)
    vit = vs.open_model(ClassLast(more, in_place).eval(), image_size=64, **given)
    assert vit.anatomy.trailing == 1 + more and vit.anatomy.layout is None
    for info in vs.methods():
        if info.family not in ("pixel-gradient", "control") and info.name not in ("occlusion", "kernel-shap"):
            reason = str(info.why_not(vit.anatomy))
            assert "follow the patches" in reason or "has a classifier" in reason, info.name
    with pytest.raises(MethodError, match=f"{1 + more} of its tokens follow the patches"):
        vs.explain(vit, torch.randn(1, 3, 64, 64), "gae")
    if not in_place:  # autograd itself refuses to differentiate that form
        assert vs.explain(vit, torch.randn(1, 3, 64, 64), "saliency").maps.shape == (1, 2, 2)


def test_yolos_detection_tokens_are_refused_not_misread() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
    config = transformers.YolosConfig(image_size=[64, 64], num_detection_tokens=5, **sizes)
    vit = vs.open_model(transformers.YolosForObjectDetection(config).eval(), image_size=64)
    assert vit.anatomy.trailing == 5
    with pytest.raises(MethodError, match="5 of its tokens follow the patches"):
        vs.explain(vit, torch.randn(1, 3, 64, 64), "dart", target=lambda output: output.logits[:, 0, 0])


@pytest.mark.parametrize("name", ZOO)
def test_nothing_trails_in_the_zoo(name: str) -> None:
    assert anatomy_of(name).trailing == 0
