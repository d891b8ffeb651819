"""What is asked of one picture stays with it: through batches, skips and any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import vitscope as vs
from vitscope.errors import TargetError
from vitscope.pictures import picture_source
from vitscope.tracing import Similarity


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return vs.open_model("bundled/shapes")


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return list(vs.worlds.world("shapes").sample(4, seed=5).pictures)


def alone(vit: vs.Vit, pictures: list[np.ndarray], targets: list[object]) -> Tensor:
    return torch.cat(
        [vs.explain(vit, [p], "gae", target=t).maps for p, t in zip(pictures, targets, strict=True)]
    )


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_classes_and_features_of_each_picture(vit: vs.Vit, pictures: list[np.ndarray], size: int) -> None:
    classes = [3, 0, 7, 1]
    features = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    several = vs.explain(vit, pictures, "gae", target=classes, batch_size=size)
    assert several.classes is not None and several.classes.tolist() == classes
    assert torch.allclose(several.maps, alone(vit, pictures, classes), atol=1e-6)
    likeness = vs.explain(vit, pictures, "gae", target=Similarity(features), batch_size=size)
    assert torch.allclose(likeness.maps, alone(vit, pictures, [Similarity(f) for f in features]), atol=1e-6)
    order = [2, 0, 3, 1]
    turned = vs.explain(
        vit, [pictures[i] for i in order], "gae", target=Similarity(features[order]), batch_size=size
    )
    assert torch.allclose(turned.maps, likeness.maps[order], atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_target_of_any_kind_for_each_picture(vit: vs.Vit, pictures: list[np.ndarray], size: int) -> None:
    targets = ["top2", vs.ClassIndex(4), lambda output: output[:, 5] - output[:, 1], "difference:3,2"]
    several = vs.explain(vit, pictures, "gae", target=targets, batch_size=size)
    assert torch.allclose(several.maps, alone(vit, pictures, targets), atol=1e-6)
    trace = vit.trace(pictures, targets, gradient=False)
    top2 = trace.logits[0].topk(2).values[1]
    wanted = [
        top2,
        trace.logits[1, 4],
        trace.logits[2, 5] - trace.logits[2, 1],
        trace.logits[3, 3] - trace.logits[3, 2],
    ]
    assert torch.allclose(trace.scores, torch.stack(wanted))


def test_a_callable_that_holds_something_of_each_picture(vit: vs.Vit, pictures: list[np.ndarray]) -> None:
    weights = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))

    def whole(output: Tensor) -> Tensor:
        return (output * weights).sum(1)

    def first_rows(output: Tensor) -> Tensor:
        return (output * weights[: len(output)]).sum(1)

    each = [lambda output, w=row: (output * w).sum(1) for row in weights]
    wanted = vs.explain(vit, pictures, "gae", target=whole)
    assert torch.allclose(
        wanted.maps, vs.explain(vit, pictures, "gae", target=each, batch_size=2).maps, atol=1e-6
    )
    for function in (whole, first_rows):
        for size in (1, 2, 3):
            with pytest.raises(TargetError, match="depends on the place of a picture"):
                vs.explain(vit, pictures, "gae", target=function, batch_size=size)
    free = vs.explain(vit, pictures, "gae", target=lambda output: output[:, 2], batch_size=3)
    assert torch.allclose(free.maps, vs.explain(vit, pictures, "gae", target=2).maps, atol=1e-6)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ([0, 1, 2], "4 .*got 3"),
        ([0, 1, 2, 3, 4, 5], "4 .*got 6"),
        (torch.arange(5), "4 .*got 5"),
        (np.eye(4, 10, dtype=int), "one-hot"),
        (torch.eye(4, 10), "one-hot"),
        (np.eye(4, 10, dtype=int).tolist(), "one-hot"),
        (np.array([0.0, 1.0, 2.0, 3.0]), "integer"),
        ([True, False, True, False], "one class index"),
        (Similarity(torch.randn(3, 10)), "4 .*got 3"),
        (["top1", "top2"], "4 .*got 2"),
        ([], "got none"),
    ],
)
@pytest.mark.parametrize("size", [2, 16])
def test_other_numbers_are_refused(
    vit: vs.Vit, pictures: list[np.ndarray], target: object, says: str, size: int
) -> None:
    with pytest.raises(TargetError, match=says):
        vs.explain(vit, pictures, "gae", target=target, batch_size=size)


def test_a_skipped_picture_takes_its_target_along(
    vit: vs.Vit, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    from PIL import Image

    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    paths[1].write_text("a letter")
    source = picture_source(paths, root=tmp_path, skip=True)
    for size in (1, 2, 4):
        explained = vs.explain(vit, source, "gae", target=[0, 1, 2, 3], batch_size=size)
        assert explained.classes is not None and explained.classes.tolist() == [0, 2, 3]
        assert explained.metadata["keys"] == ["0.png", "2.png", "3.png"]
        assert source.skipped.keys() == {"1.png"}


def test_the_same_picture_in_every_form(vit: vs.Vit, tmp_path: Path) -> None:
    """A transparent, a 16-bit and a turned picture: file, Pillow image and array give one map."""
    from PIL import Image

    base = vs.worlds.world("shapes").sample(1, seed=2).pictures[0][:, :80]
    clear = np.dstack([base, np.tile(np.linspace(0, 255, 80, dtype=np.uint8), (96, 1))])
    deep = base[:, :, 0].astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(np.rot90(base).copy()).save(tmp_path / "turned.png", exif=exif)
    white = (base * (clear[..., 3:] / 255.0) + 255 * (1 - clear[..., 3:] / 255.0)).round().astype(np.uint8)
    forms = {
        "clear": [tmp_path / "clear.png", Image.open(tmp_path / "clear.png"), clear, clear / 255.0],
        "deep": [tmp_path / "deep.png", Image.open(tmp_path / "deep.png"), deep, base[:, :, :1].repeat(3, 2)],
        "turned": [
            tmp_path / "turned.png",
            Image.open(tmp_path / "turned.png"),
            base,
            base.astype(np.uint16) * 257,
        ],
    }
    for name, given in forms.items():
        tensors = [vit.images(form) for form in given]
        maps = [vs.explain(vit, form, "gae").maps for form in given]
        for other, map_ in zip(tensors[1:], maps[1:], strict=True):
            assert torch.equal(other, tensors[0]) and torch.equal(map_, maps[0]), name
        from vitscope.evaluation import evaluation_set

        for form in given:
            (batch,) = evaluation_set(form).batches(vit, 4)
            assert torch.equal(batch.images, tensors[0]), name
    assert (vit.images(forms["clear"][0]) - vit.images(white)).abs().max() < 0.05
