"""A run over pictures that stops keeps what was done: nothing finished is computed again, and the bits are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vitscope as vs
from tests.heads.test_merging import MEANS, ORDER, QUICK, assert_same, tiny
from tests.watching import Recorder
from vitscope import heads
from vitscope.errors import PictureError
from vitscope.pictures import PictureSource, picture_source
from vitscope.storage.parts import NOTE

VIT = tiny()
COUNT = 7


def photos(folder: Path, count: int = COUNT) -> Path:
    folder.mkdir(exist_ok=True)
    drawn = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    for index, picture in enumerate(drawn):
        Image.fromarray(picture).save(folder / f"{index}.png")
    return folder


def source_of(folder: Path, **more: Any) -> PictureSource:
    return picture_source(folder, labels=[index % 5 for index in range(len(list(folder.iterdir())))], **more)


def _importance(images: Any, **more: Any) -> Any:
    return heads.importance(VIT, images, replacement="mean", screen=0.7, batch_size=2, **more)


def _patterns(images: Any, **more: Any) -> Any:
    return heads.patterns(
        VIT, images, per_head=3, k=2, options=QUICK, repeats=1, display="pca", batch_size=2, **more
    )


# How often each picture is read in a whole run: means, first-order scores, exact scores; importance and scores; ...
RUNS: dict[str, tuple[Callable[..., Any], int]] = {
    "importance": (_importance, 3),
    "strength": (lambda images, **more: heads.strength(VIT, images, batch_size=2, **more), 1),
    "patterns": (_patterns, 1),
    "agreement": (lambda images, **more: heads.agreement(VIT, images, rounds=3, batch_size=2, **more), 2),
    "partial": (lambda i, **more: heads.partial_pruning(VIT, i, 0, 1, hops=(1,), batch_size=2, **more), 1),
    "cumulative": (
        lambda i, **more: heads.cumulative_pruning(
            VIT, i, ORDER, steps=2, random_orders=1, replacement=MEANS, batch_size=2, **more
        ),
        1,
    ),
}

UNKEPT = {
    "agreement": ["rank correlations"],
}
"""Stages that come after the pictures and are done again by a run that goes on."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The keys of the pictures as they are read."""
    seen: list[str] = []
    real = PictureSource.open

    def counting(self: PictureSource, index: int, *how: Any) -> Any:
        if self.keys[index].endswith(".png"):  # not the pictures of a batch on their way into the model
            seen.append(self.keys[index])
        return real(self, index, *how)

    monkeypatch.setattr(PictureSource, "open", counting)
    yield seen


def same_bits(found: Any, wanted: Any) -> None:
    if isinstance(found, heads.PatternAtlas):
        assert found.maps.equals(wanted.maps) and found.heads.equals(wanted.heads)
        assert torch.equal(found.prototypes, wanted.prototypes) and np.array_equal(found.codes, wanted.codes)
        assert found.recipe == wanted.recipe and found.ids == wanted.ids
    else:
        assert_same(found, wanted, exactly=True)
        assert found.ids == wanted.ids and found.skipped == wanted.skipped


def finished(folder: Path) -> int:
    """Pictures in finished parts, over all passes."""
    return sum(
        int(place.parent.name.split("-")[1]) - int(place.parent.name.split("-")[0])
        for place in folder.glob(f"*/{NOTE}")
    )


@pytest.mark.parametrize("name", list(RUNS))
def test_an_interrupted_run_goes_on_to_the_same_bits(name: str, tmp_path: Path, opened: list[str]) -> None:
    run, passes = RUNS[name]
    pictures = source_of(photos(tmp_path / "photos"))
    watched = Recorder()
    whole = run(pictures, progress=watched)
    watched.check_whole()
    assert watched.resumed == 0
    assert len(opened) == COUNT * passes
    for stop in sorted({1, watched.told // 3, watched.told // 2, watched.told - 1}):
        folder = tmp_path / f"unfinished {stop}"
        with pytest.raises(KeyboardInterrupt):
            run(pictures, checkpoint=folder, progress=Recorder(interrupt=stop))
        kept = finished(folder)
        opened.clear()
        again = run(pictures, checkpoint=folder)
        assert len(opened) == COUNT * passes - kept
        same_bits(again, whole)
        opened.clear()
        third = Recorder()
        same_bits(run(pictures, checkpoint=folder, progress=third), whole)
        third.check_whole()
        assert opened == []
        assert [stage.name for stage in third.stages if stage.advanced] == UNKEPT.get(name, [])


def test_training_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    pictures = photos(tmp_path / "photos")
    options = heads.AutoencoderOptions(epochs=3, latent=2, width=2)

    def run(progress: Recorder, **more: Any) -> tuple[heads.PatternAtlas, list[tuple[str, int, int]]]:
        made = heads.patterns(
            VIT,
            pictures,
            per_head=3,
            k=2,
            options=options,
            repeats=1,
            display="pca",
            progress=progress,
            **more,
        )
        progress.check_whole()
        return made, [(stage.name, stage.done, len(stage.advanced)) for stage in progress.stages]

    whole, stages = run(first := Recorder())
    names = ["training the autoencoder"] + [
        f"stability of autoencoder, {which}" for which in ("seed 1", "half 1", "half 2")
    ]
    assert stages[1:] == [(name, 0, 3) for name in names]  # three epochs each
    with pytest.raises(KeyboardInterrupt):  # in the second epoch of the first repetition
        run(Recorder(interrupt=first.told - 9), checkpoint=tmp_path / "unfinished")
    again, left = run(Recorder(), checkpoint=tmp_path / "unfinished")
    assert left[1:] == [(names[0], 3, 0), (names[1], 2, 1), (names[2], 0, 3), (names[3], 0, 3)]
    same_bits(again, whole)


SCRIPT = """
import sys, time
from tests.heads.test_resuming_runs import VIT, heads, picture_source, vs
def slowly(what, done, total):
    print(what, done, flush=True)
    time.sleep(0.2 * (done > 0))
progress = vs.progress.Callback(slowly)
heads.strength(VIT, sys.argv[1], batch_size=2, checkpoint=sys.argv[2], progress=progress)
"""


def test_a_killed_process_loses_the_part_in_work_only(
    tmp_path: Path, opened: list[str], repository: Path
) -> None:
    pictures, folder = photos(tmp_path / "photos", 40), tmp_path / "unfinished"
    whole = heads.strength(VIT, pictures, batch_size=2)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(repository / "src"), str(repository)])}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(pictures), str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=repository,
    )  # fmt: skip
    try:
        limit = time.monotonic() + 120
        while finished(folder) < 6 and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()[0]
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    kept = finished(folder)
    assert 6 <= kept < 40
    opened.clear()
    found = heads.strength(VIT, pictures, batch_size=2, checkpoint=folder)
    assert len(opened) == 40 - kept
    same_bits(found, whole)


def test_a_bad_picture_at_the_end_loses_nothing(tmp_path: Path, opened: list[str]) -> None:
    pictures, folder = photos(tmp_path / "photos"), tmp_path / "unfinished"
    (pictures / "z.png").write_bytes((pictures / "0.png").read_bytes()[:60])
    with pytest.raises(PictureError, match=r"z\.png"):
        heads.strength(VIT, pictures, batch_size=2, checkpoint=folder)
    opened.clear()
    found = heads.strength(VIT, picture_source(pictures, skip=True), batch_size=2, checkpoint=folder)
    assert opened == ["6.png", "z.png"]
    assert list(found.skipped) == ["z.png"] and len(found.pictures) == COUNT
    (pictures / "z.png").unlink()
    same = heads.strength(VIT, pictures, batch_size=2)
    for name, value in same.values.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize(
    "change",
    [
        {"distance": "manhattan"},
        pytest.param({"images": "others"}, id="other contents"),
        pytest.param({"weights": True}, id="other weights"),
    ],
)
def test_another_recipe_starts_anew(change: dict[str, Any], tmp_path: Path, opened: list[str]) -> None:
    pictures, folder = photos(tmp_path / "photos", 3), tmp_path / "unfinished"
    heads.strength(VIT, pictures, batch_size=2, checkpoint=folder)
    opened.clear()
    vit = VIT
    if change.pop("weights", False):
        vit = tiny()
        with torch.no_grad():
            next(vit.model.parameters()).mul_(1.5)
    if change.pop("images", None):
        (pictures / "1.png").write_bytes((pictures / "2.png").read_bytes())
    found = heads.strength(vit, pictures, batch_size=2, checkpoint=folder, **change)
    assert len(opened) == 3
    same_bits(found, heads.strength(vit, pictures, batch_size=2, **change))


def test_a_damaged_part_is_as_if_it_were_not_there(tmp_path: Path, opened: list[str]) -> None:
    pictures, folder = source_of(photos(tmp_path / "photos")), tmp_path / "unfinished"
    for run, passes in (RUNS["importance"], RUNS["patterns"], RUNS["cumulative"]):
        whole = run(pictures, checkpoint=folder)
        damaged = sorted(folder.glob("000000002-*/*.safetensors"))
        for file in damaged:
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)
        opened.clear()
        same_bits(run(pictures, checkpoint=folder), whole)
        assert len(opened) == 2 * passes
        for file in damaged:
            for each in file.parent.iterdir():
                each.unlink()


def test_a_picture_that_the_model_answers_with_nan_costs_that_picture(tmp_path: Path) -> None:
    class Fails(torch.nn.Module):
        """NaN for pictures whose first pixel is bright."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = VIT.model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bad = x[:, 0, 0, 0] > 5
            return torch.where(bad[:, None], torch.nan, self.inner(x))

    vit = vs.open_model(Fails().eval(), image_size=32, classes=5)
    pixels = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1)).clamp(-4, 4)
    good = pixels.clone()
    pixels[3, 0, 0, 0] = 9
    keys, labels = list("abcde"), [0, 1, 2, 3, 4]
    for run in (
        lambda images: heads.importance(vit, images, replacement="mean", batch_size=4),
        lambda images: heads.importance(vit, images, gradient=False, batch_size=4),
        lambda images: heads.strength(vit, images, batch_size=4),
        lambda images: heads.collect_maps(vit, images, batch_size=4),
        lambda images: heads.partial_pruning(vit, images, 0, 0, hops=(1,), batch_size=4),
        lambda images: heads.cumulative_pruning(vit, images, ORDER, steps=1, random_orders=0, batch_size=4),
    ):
        with pytest.raises(heads.HeadsError, match=r"d: .* answers NaN for this picture") as caught:
            run(picture_source(pixels, keys=keys, labels=labels))
        assert "\n" not in str(caught.value)
        found = run(picture_source(pixels, keys=keys, labels=labels, skip=True))
        names = found.picture_names if isinstance(found, heads.MapSample) else found.pictures
        assert list(names) == ["a", "b", "c", "e"] and "NaN" in found.skipped["d"]
        keep = [0, 1, 2, 4]
        wanted = run(
            picture_source(good[keep], keys=[keys[i] for i in keep], labels=[labels[i] for i in keep])
        )
        if isinstance(found, heads.HeadTable):
            np.testing.assert_allclose(
                found.mean("js_divergence"), wanted.mean("js_divergence"), rtol=1e-3, atol=1e-6
            )


@pytest.mark.parametrize("number", [10**18, 10**400, -1, True, 2.5, float("nan")])
def test_numbers_that_would_not_end_are_refused_at_the_door(number: Any) -> None:
    pixels = torch.zeros(2, 3, 32, 32)
    fit = heads.AutoencoderOptions
    calls: list[Callable[[], Any]] = [
        lambda: heads.importance(VIT, pixels, batch_size=number),
        lambda: heads.strength(VIT, pixels, batch_size=number),
        lambda: heads.collect_maps(VIT, pixels, per_head=number),
        lambda: heads.patterns(VIT, pixels, per_head=number),
        lambda: heads.patterns(VIT, pixels, repeats=number),
        lambda: heads.patterns(VIT, pixels, k=number),
        lambda: heads.patterns(VIT, pixels, held_out=number),
        lambda: heads.patterns(VIT, pixels, options=fit(epochs=number)),
        lambda: heads.patterns(VIT, pixels, options=fit(width=number)),
        lambda: heads.patterns(VIT, pixels, options=fit(latent=number)),
        lambda: heads.cumulative_pruning(VIT, pixels, ORDER, random_orders=number),
        lambda: heads.cumulative_pruning(VIT, pixels, ORDER, steps=number),
        lambda: heads.agreement(VIT, pixels, rounds=number),
        lambda: heads.importance(VIT, pixels, screen=number),
    ]
    allowed = 2.5, True  # a share may be a number with a point; True is never one
    for place, call in enumerate(calls):
        if number in allowed and place in (6, 13) and number is not True:
            continue
        with pytest.raises(heads.HeadsError) as caught:
            call()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
