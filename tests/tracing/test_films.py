"""Films: grid in time, rows and columns known by itself, maps held against the model's own attentions and gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vitscope as vs
from tests.zoo.films import FILMS, build, films
from vitscope.errors import MethodError, PictureError
from vitscope.methods import Explanation

EXPLAINED = [name for name, film in FILMS.items() if film.shape is not None]
REFUSED = [name for name, film in FILMS.items() if film.shape is None]


def attentions_of(name: str, images: Tensor, target: int) -> tuple[list[Tensor], list[Tensor]]:
    """The model's own attention matrices (B, H, N, N) by block, and their gradients."""
    output = build(name, "eager")(images, output_attentions=True)
    gradients = torch.autograd.grad(output.logits[:, target].sum(), output.attentions)
    return [a.detach() for a in output.attentions], list(gradients)


def read(matrix: Tensor, name: str) -> Tensor:
    """The patches' part of what the classifier reads, folded by hand: frame by frame, row by row."""
    film = FILMS[name]
    assert film.shape is not None
    row = matrix[:, 0, 1:] if film.prefix else matrix.mean(1)
    return row.reshape(-1, *film.shape)


@pytest.mark.parametrize("name", EXPLAINED)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_maps_equal_those_of_the_models_own_attentions(name: str, attention: str) -> None:
    images = films(name)
    vit = vs.open_model(build(name, attention))
    found = vs.explain(vit, images, ["gae", "rollout"], target=1)
    own, gradients = attentions_of(name, images, 1)
    eye = torch.eye(own[0].shape[-1])
    chain, rolled = eye.expand(2, -1, -1), eye.expand(2, -1, -1)
    for a, g in zip(own, gradients, strict=True):
        chain = chain + (g * a).clamp_min(0).mean(1) @ chain
        rolled = (0.5 * a.mean(1) + 0.5 * eye) @ rolled
    torch.testing.assert_close(found["gae"].maps, read(chain, name), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["rollout"].maps, read(rolled, name), atol=1e-5, rtol=1e-4)
    assert float(found["gae"].maps.std()) > 1e-5
    alone = vs.explain(vit, {"pixel_values": images[1:]}, "gae", target=1)
    torch.testing.assert_close(alone.maps[0], found["gae"].maps[1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", EXPLAINED)
def test_the_grid_is_known_by_itself(name: str) -> None:
    film = FILMS[name]
    anatomy = vs.open_model(build(name)).anatomy
    layout = anatomy.layout
    assert layout is not None and layout.shape == film.shape and layout.prefix == film.prefix
    assert anatomy.pooling == film.pooling and anatomy.misplaced is None and anatomy.classes == 3
    assert not any("guessed" in note for note in anatomy.notes)
    times, rows, columns = film.shape or ()
    assert f"{times}x{rows}x{columns} patches" in layout.describe()
    edges = {"videomae": (0, 16, 32, 48), "vivit": (0, 8, 16, 24, 32)}
    assert layout.cells is not None and layout.cells.columns == edges[name]


def test_values_by_gradient_written_out() -> None:
    """DAAM's sibling without attention: the model's tokens times their gradient, from hooks of the test's own."""
    images = films("videomae")
    model = build("videomae")
    kept: list[Tensor] = []
    handle = model.videomae.encoder.layer[1].layernorm_before.register_forward_hook(
        lambda module, args, output: kept.append(output)
    )
    logits = model(images).logits
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[:, 2].sum(), kept[0])
    weights = gradient.mean(1, keepdim=True)
    want = (weights * kept[0].detach()).sum(-1).clamp_min(0).reshape(2, 3, 2, 3)
    found = vs.explain(vs.open_model(model), images, "gradcam", target=2, block=1)
    torch.testing.assert_close(found.maps, want, atol=1e-5, rtol=1e-4)


class Reversed(nn.Module):
    """Shows the model its film backwards: token i is then no longer patch i."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        scores: Tensor = self.model(pixel_values.flip(1)).logits
        return scores


def test_a_film_in_another_order_is_refused() -> None:
    with pytest.raises(MethodError, match="frame 0, row 0, column 2"):
        vs.explain(vs.open_model(Reversed(build("videomae")), classes=3), films("videomae"), "gae", target=1)


@pytest.mark.parametrize("name", REFUSED)
def test_attention_over_time_and_space_apart_is_refused(name: str) -> None:
    with pytest.raises(MethodError, match=FILMS[name].refused):
        vs.explain(vs.open_model(build(name)), films(name), "gae", target=1)


def test_what_is_for_pictures_is_refused_in_one_line() -> None:
    vit = vs.open_model(build("videomae"))
    for method in ("saliency", "occlusion", "random", "attention-flow"):
        with pytest.raises(MethodError, match="film") as caught:
            vs.explain(vit, films("videomae"), method, target=1)
        assert "\n" not in str(caught.value)
    with pytest.raises(MethodError, match="films are not cleaned"):
        vs.explain(vit, films("videomae"), "gae", target=1, clean=True)
    with pytest.raises(PictureError, match="NaN"):
        vs.explain(vit, films("videomae") * float("nan"), "gae", target=1)


def test_strip_animation_and_file_hold_one_map_for_each_step_in_time(tmp_path: Path) -> None:
    found = vs.explain(vs.open_model(build("vivit")), films("vivit"), "gae", target=1)
    assert found.pictures is not None and found.pictures.shape == (2, 3, 32, 32, 3)
    with pytest.raises(PictureError, match="strip"):
        found.overlay(0)
    strip = found.strip(1)
    assert strip.width > strip.height
    assert np.asarray(strip).std() > 0
    path = found.animation(0, tmp_path / "film.gif")
    with Image.open(path) as animation:
        assert animation.n_frames == 3
    again = Explanation.load(found.save(tmp_path / "film"))
    assert torch.equal(again.maps, found.maps) and again.layout == found.layout
    assert again.layout is not None and again.layout.frames == 3
    assert "3x2x4" in repr(again)
    picture = Explanation.load(found[0].save(tmp_path / "one"))
    assert picture.maps.shape == (1, 3, 2, 4)


def test_frames_are_drawn_on_the_first_frame_of_their_tube() -> None:
    images = films("videomae", 1)
    for frame in range(6):
        images[:, frame] = float(frame)
    images[..., 0, 0], images[..., 0, 1] = -5.0, 10.0  # what each frame is stretched between
    found = vs.explain(vs.open_model(build("videomae")), images, "gae", target=1)
    assert found.pictures is not None
    shown = found.pictures[0, :, 20, 20, 0].tolist()
    assert shown == [round((value + 5) / 15 * 255) for value in (0, 2, 4)]


def test_a_tube_has_its_own_frames() -> None:
    from vitscope.tracing.probing.token_order import _changed

    layout = vs.open_model(build("videomae")).anatomy.layout
    assert layout is not None and layout.cells is not None
    pair = torch.stack([torch.zeros(6, 3, 32, 48), torch.ones(6, 3, 32, 48)])
    changed = _changed(pair, layout, layout.cells, [6 + 3 + 2])[2]  # time 1, row 1, column 2
    want = torch.zeros(6, 3, 32, 48)
    want[2:4, :, 16:, 32:] = 1
    assert torch.equal(changed, want)
