"""Blocks are chained only where each is read by the next: towers, teachers and mirrored passes are told apart."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from vitscope.errors import MethodError
from vitscope.tracing.probing.chains import Links, find_chain

LINE = [Links("a", 0b1, 0), Links("b", 0b10, 0b1), Links("c", 0b100, 0b11)]


def test_blocks_in_a_row_are_one_chain():
    chain = find_chain(LINE, 0b111)
    assert (chain.members, chain.reason, chain.aside) == ((0, 1, 2), None, ())


def test_what_does_not_lead_to_the_output_is_left_aside():
    blocks = [*LINE, Links("teacher.a", 0b1000, 0), Links("teacher.b", 0b10000, 0b1000)]
    chain = find_chain(blocks, 0b111)
    assert (chain.members, chain.reason, chain.aside) == ((0, 1, 2), None, ("teacher.a", "teacher.b"))


def test_an_output_that_does_not_tell_takes_all_blocks():
    assert find_chain(LINE, 0).members == (0, 1, 2)


def test_two_ends_are_two_chains():
    blocks = [*LINE, Links("x", 0b1000, 0), Links("y", 0b10000, 0b1000)]
    reason = find_chain(blocks, 0b11111).reason
    assert reason is not None
    assert "2 separate chains" in reason and "a to c and x to y" in reason and "blocks=" in reason


def test_the_same_blocks_twice_cannot_be_told_apart_by_name():
    blocks = [Links("a", 0b1, 0), Links("b", 0b10, 0b1), Links("a", 0b100, 0), Links("b", 0b1000, 0b100)]
    assert "run more than once" in str(find_chain(blocks, 0b1111).reason)


def test_branches_that_join_are_no_chain():
    blocks = [Links("left", 0b1, 0), Links("right", 0b10, 0), Links("both", 0b100, 0b11)]
    reason = find_chain(blocks, 0b111).reason
    assert reason is not None and "left beside right to both" in reason


def vit(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=5
    )
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def towers() -> tuple[nn.Module, nn.Module]:
    return vit(1), vit(2)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


class Ensemble(nn.Module):
    def __init__(self, a: nn.Module, b: nn.Module) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x: Tensor) -> Tensor:
        return (self.a(x) + self.b(x)) / 2


class Taught(nn.Module):
    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher, self.student = teacher, student

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.seen = self.teacher(x).argmax(-1)
        return self.student(x)


class Mirrored(nn.Module):
    def __init__(self, a: nn.Module) -> None:
        super().__init__()
        self.a = a

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + self.a(x.flip(-1))


class HalfFrozen(nn.Module):
    """The first block is run without a gradient, as partial fine-tuning code writes it: still one chain."""

    def __init__(self, a: nn.Module) -> None:
        super().__init__()
        self.a = a

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.a.blocks[0](self.a._pos_embed(self.a.patch_embed(x)))
        for block in self.a.blocks[1:]:
            x = block(x.detach())
        return self.a.forward_head(self.a.norm(x))


def test_an_ensemble_is_refused_and_one_tower_can_be_named(towers, pictures):
    both = Ensemble(*towers)
    with pytest.raises(
        MethodError, match=r"2 separate chains .*a\.blocks\.0 to a\.blocks\.2 and b\.blocks\.0"
    ):
        vs.explain(vs.open_model(both, image_size=32, classes=5), pictures, "rollout")
    names = [f"b.blocks.{i}" for i in range(3)]
    chosen = vs.explain(vs.open_model(both, image_size=32, classes=5, blocks=names), pictures, "rollout")
    alone = vs.explain(vs.open_model(towers[1], image_size=32), pictures, "rollout")
    torch.testing.assert_close(chosen.maps, alone.maps)
    assert any("leaves out attention" in note and "a.blocks" in note for note in chosen.metadata["notes"])


def test_a_teacher_beside_the_student_is_left_out(towers, pictures):
    opened = vs.open_model(Taught(*towers), image_size=32, classes=5)
    for method in ("rollout", "gae", "daam", "gmar"):
        found = vs.explain(opened, pictures, method, target=1)
        alone = vs.explain(vs.open_model(towers[0], image_size=32), pictures, method, target=1)
        torch.testing.assert_close(found.maps, alone.maps, rtol=1e-4, atol=1e-6)
        assert any(
            "teacher.blocks.0 to teacher.blocks.2 does not lead" in note for note in found.metadata["notes"]
        )


def test_a_mirrored_second_pass_is_refused(towers, pictures):
    with pytest.raises(MethodError, match="run more than once"):
        vs.explain(vs.open_model(Mirrored(towers[0]), image_size=32, classes=5), pictures, "gae")


def test_blocks_without_a_gradient_stay_in_the_chain(towers, pictures):
    opened = vs.open_model(HalfFrozen(towers[0]), image_size=32, classes=5)
    assert len(opened.anatomy.blocks) == 3
    alone = vs.explain(vs.open_model(towers[0], image_size=32), pictures, "rollout")
    torch.testing.assert_close(vs.explain(opened, pictures, "rollout").maps, alone.maps)


class OddBlock(nn.Module):
    """A block that returns its tokens beside something else's shape: tokens in, a dictionary of halves out."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        b = self.block
        x = x + b.attn(b.norm1(x))
        x = x + b.mlp(b.norm2(x))
        return x[..., :12], x[..., 12:]


class WithOddBlock(nn.Module):
    def __init__(self, a: nn.Module) -> None:
        super().__init__()
        self.a, self.odd = a, OddBlock(a.blocks[1])

    def forward(self, x: Tensor) -> Tensor:
        x = self.a.blocks[0](self.a._pos_embed(self.a.patch_embed(x)))
        x = torch.cat(self.odd(x), -1)
        return self.a.forward_head(self.a.norm(self.a.blocks[2](x)))


def test_a_block_of_an_odd_form_is_not_skipped(towers, pictures):
    opened = vs.open_model(WithOddBlock(towers[0]), image_size=32, classes=5)
    assert [block.path for block in opened.anatomy.blocks] == ["a.blocks.0", "a.blocks.1.attn", "a.blocks.2"]
    alone = vs.explain(vs.open_model(towers[0], image_size=32), pictures, "rollout")
    torch.testing.assert_close(vs.explain(opened, pictures, "rollout").maps, alone.maps)


class Bare(nn.Module):
    """One attention written into the model's own forward: no module takes tokens and returns them."""

    def __init__(self, a: nn.Module) -> None:
        super().__init__()
        self.a = a

    def forward(self, x: Tensor) -> Tensor:
        x = self.a.blocks[0](self.a._pos_embed(self.a.patch_embed(x)))
        x = x + nn.functional.scaled_dot_product_attention(x, x, x)
        return self.a.forward_head(self.a.norm(self.a.blocks[2](x)))


def test_attention_outside_of_any_block_is_not_passed_over(towers, pictures):
    opened = vs.open_model(Bare(towers[0]), image_size=32, classes=5)
    with pytest.raises(MethodError, match="its attention at 'Bare' lies in no module"):
        vs.explain(opened, pictures, "rollout")
