"""One ``progress`` for every long function: what it is told adds up, and cancelling leaves everything as it was."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from rich.console import Console

import vitscope as vs
from tests.watching import Recorder
from vitscope import heads
from vitscope import progress as progress_room
from vitscope.errors import AnswerError, Cancelled, VitscopeError
from vitscope.evaluation import evaluate_world
from vitscope.heads.measuring import measured
from vitscope.methods.memory_bank import build_bank
from vitscope.pictures import PictureSource, picture_source
from vitscope.progress import CountedStage
from vitscope.rendering import save_animation


def tiny(classes: int = 5) -> vs.Vit:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(
            "vit_tiny_patch16_224",
            img_size=32,
            patch_size=8,
            num_classes=classes,
            depth=2,
            embed_dim=24,
            num_heads=3,
        )
    for parameter in model.parameters():  # far from a random start, so that heads differ
        parameter.data.mul_(3)
    return vs.open_model(model.eval(), image_size=32, preprocess="half")


VIT, ENCODER = tiny(), tiny(0)
COUNT = 4
QUICK = heads.AutoencoderOptions(epochs=2, latent=2, width=2)
ORDERS = {"given": [(b, h) for h in range(3) for b in range(2)]}
SHORT = vs.Protocol(steps=2, random_draws=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photos")
    drawn = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    for index, picture in enumerate(drawn):
        Image.fromarray(picture).save(place / f"{index}.png")
    return place


def source_of(folder: Path) -> PictureSource:
    """The pictures, labelled; those that cannot be read are skipped."""
    return picture_source(folder, labels=[i % 5 for i in range(len(list(folder.iterdir())))], skip=True)


@dataclass(frozen=True)
class Long:
    """A long function on a source. stages: their names and totals. saves: whether it takes a checkpoint."""

    call: Callable[..., Any]
    stages: list[tuple[str, int]]
    saves: bool = True
    model: vs.Vit = VIT


def _fitted(source: PictureSource, **more: Any) -> Any:
    sample = heads.collect_maps(VIT, source, per_head=3, batch_size=2)
    return heads.fit_atlas(sample, options=QUICK, repeats=1, display="pca", **more)


def _atlas() -> heads.PatternAtlas:
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    sample = heads.collect_maps(VIT, pixels, per_head=3)
    return heads.fit_atlas(sample, k=2, options=QUICK, repeats=0, display="pca")


ATLAS = _atlas()
TABLE = heads.head_scores(VIT, torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2)))
TRAINING = [
    ("training the autoencoder", 2),
    ("stability of autoencoder, seed 1", 2),
    ("stability of autoencoder, half 1", 2),
    ("stability of autoencoder, half 2", 2),
]
SCORES = ("gmar_norm", "entropy", "first_order")
# five draws, then a matrix of each and of all, by two statistics
CORRELATIONS = ("rank correlations", 5 + 6 * 2)
LONG: dict[str, Long] = {
    "explain": Long(
        lambda s, **more: vs.explain(VIT, s, ["gmar", "rollout"], batch_size=2, **more)["gmar"],
        [("explaining", COUNT)],
        saves=False,
    ),
    "evaluate": Long(
        lambda s, **more: vs.evaluate(
            VIT, s, None, ["gmar"], ["srg", "grid-pointing"], SHORT, controls=["random"], batch_size=2, **more
        ),
        [("evaluating pictures", 2 * COUNT), ("evaluating mosaics", 2 * COUNT)],
    ),
    "calibrate": Long(lambda s, **more: vs.calibrate(VIT, s, batch_size=2, **more), [], saves=False),
    "build_bank": Long(
        lambda s, **more: build_bank(ENCODER, s, batch_size=2, **more),
        [("features of pictures", COUNT)],
        saves=False,
        model=ENCODER,
    ),
    "importance": Long(
        lambda s, **more: heads.importance(VIT, s, replacement="mean", batch_size=2, **more),
        [("mean head outputs", COUNT), ("first-order scores", COUNT), ("pruning heads", 6 * COUNT)],
    ),
    "strength": Long(
        lambda s, **more: heads.strength(VIT, s, batch_size=2, **more), [("attention strength", COUNT)]
    ),
    "head_scores": Long(
        lambda s, **more: heads.head_scores(VIT, s, batch_size=2, **more), [("head scores", COUNT)]
    ),
    "agreement": Long(
        lambda s, **more: heads.agreement(VIT, s, scores=SCORES, rounds=5, batch_size=2, **more),
        [("pruning heads", 6 * COUNT), ("head scores", COUNT), CORRELATIONS],
    ),
    "mean_outputs": Long(
        lambda s, **more: heads.mean_outputs(VIT, s, batch_size=2, **more), [("mean head outputs", COUNT)]
    ),
    "partial_pruning": Long(
        lambda s, **more: heads.partial_pruning(VIT, s, 0, 1, hops=(1,), batch_size=2, **more),
        [("dissecting the head", COUNT)],
    ),
    "cumulative_pruning": Long(
        lambda s, **more: heads.cumulative_pruning(
            VIT, s, ORDERS, steps=2, random_orders=1, batch_size=2, **more
        ),
        [("cumulative pruning", COUNT * 2 * 3)],  # two orders, after 0, 3 and 6 heads
    ),
    "joint_effect": Long(
        lambda s, **more: heads.joint_effect(VIT, s, [(0, 1), (1, 2)], batch_size=2, **more),
        [("removing heads together", COUNT)],
    ),
    "collect_maps": Long(
        lambda s, **more: heads.collect_maps(VIT, s, per_head=2, batch_size=2, **more),
        [("attention maps", COUNT)],
    ),
    "patterns": Long(
        lambda s, **more: heads.patterns(
            VIT, s, per_head=3, k=2, options=QUICK, repeats=1, display="pca", null=True, batch_size=2, **more
        ),
        [("attention maps", COUNT), *TRAINING, ("attention maps", COUNT)],
    ),
    "fit_atlas": Long(_fitted, [TRAINING[0], ("choosing the number of clusters", 9), *TRAINING[1:]]),
    "map_pictures": Long(
        lambda s, **more: ATLAS.map_pictures(VIT, s, per_head=3, batch_size=2, **more),
        [("attention maps", COUNT)],
    ),
    "null_mixes": Long(
        lambda s, **more: heads.null_mixes(ATLAS, VIT, s, per_head=3, batch_size=2, **more),
        [("attention maps", COUNT)],
    ),
    "agree": Long(
        lambda s, **more: heads.agree(TABLE, SCORES, rounds=5, **more), [CORRELATIONS], saves=False
    ),
}


def essence(result: Any) -> tuple[Any, ...]:
    """What must be the same to the bit."""
    if isinstance(result, vs.Leaderboard):
        return result.recipe, result.per_image()
    if isinstance(result, vs.Explanation):
        return result.recipe, result.maps, result.to_pandas()
    return result.recipe, result.to_pandas()


def assert_same(found: Any, wanted: Any) -> None:
    for mine, theirs in zip(essence(found), essence(wanted), strict=True):
        if isinstance(mine, pd.DataFrame):
            pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
        elif isinstance(mine, torch.Tensor):
            assert torch.equal(mine, theirs)
        else:
            assert mine == theirs


def condition(module: torch.nn.Module) -> list[Any]:
    """Everything of a model that a run could leave changed."""
    hooks = [
        len(each._forward_hooks) + len(each._forward_pre_hooks) + len(each._backward_hooks)
        for each in module.modules()
    ]
    state = [value.clone().numpy().tobytes() for value in module.state_dict().values()]
    flags = [(p.requires_grad, p.grad is None) for p in module.parameters()]
    return [hooks, state, flags, [each.training for each in module.modules()], torch.is_grad_enabled()]


@pytest.mark.parametrize("name", list(LONG))
def test_every_stage_is_told_once_and_to_its_end(name: str, folder: Path, tmp_path: Path) -> None:
    long, seen = LONG[name], Recorder()
    more = {"checkpoint": tmp_path / "kept"} if long.saves else {}
    silent = long.call(source_of(folder))
    found = long.call(source_of(folder), progress=seen, **more)
    assert_same(found, silent)
    seen.check_whole()
    if name == "calibrate":  # a stage for each kappa that is tried, from 1 and 0.5 on
        names = [stage.name for stage in seen.stages]
        assert names[:2] == ["calibrating, kappa 1", "calibrating, kappa 0.5"] and len(names) <= 7
        assert {stage.total for stage in seen.stages} == {COUNT}
    else:
        assert [(stage.name, stage.total) for stage in seen.stages] == long.stages
    assert seen.resumed == 0
    if long.saves:
        again = Recorder()
        assert_same(long.call(source_of(folder), progress=again, **more), silent)
        again.check_whole()
        assert [stage.total for stage in again.stages] == [stage.total for stage in seen.stages]
        assert all(stage.done == stage.total for stage in again.stages if stage.name not in ANEW)


ANEW = ("rank correlations", "choosing the number of clusters")
"""Stages that keep nothing."""
ON_PICTURES = [name for name in LONG if name != "agree"]


@pytest.mark.parametrize("name", ON_PICTURES)
def test_skipped_pictures_count_as_done(name: str, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "photos"
    place.mkdir()
    for index, file in enumerate([*sorted(folder.iterdir()), None]):
        target = place / f"{(index + 1) % (COUNT + 1)}.png"  # the bad one comes first
        target.write_bytes(b"no picture" if file is None else file.read_bytes())
    seen = Recorder()
    LONG[name].call(source_of(place), progress=seen)
    seen.check_whole()
    told = {stage.name: stage.total for stage in seen.stages}
    for stage, total in LONG[name].stages:
        if total % COUNT == 0 and stage not in ANEW and "autoencoder" not in stage:
            assert told[stage] == total // COUNT * (
                COUNT + 1 if stage != "evaluating mosaics" else told[stage] // 2
            )


@pytest.mark.parametrize("name", list(LONG))
def test_cancelled_at_any_step_it_stops_and_goes_on(name: str, folder: Path, tmp_path: Path) -> None:
    long = LONG[name]
    whole = long.call(source_of(folder), progress=(seen := Recorder()))
    before = condition(long.model.model)
    for question in range(1, seen.asked + 1, 3 if seen.asked > 24 else 1):
        kept = tmp_path / f"kept {question}"
        more = {"checkpoint": kept} if long.saves else {}
        with pytest.raises(Cancelled) as told:
            long.call(source_of(folder), progress=(stopped := Recorder(cancel=question)), **more)
        assert "\n" not in str(told.value) and str(told.value).startswith("cancelled during '")
        assert stopped.asked == question and stopped.steps < seen.steps
        assert condition(long.model.model) == before
        if long.saves and question % 3 == 1:
            assert_same(long.call(source_of(folder), progress=(rest := Recorder()), **more), whole)
            rest.check_whole()
            assert rest.resumed <= stopped.steps and rest.resumed + rest.steps == seen.steps


def test_predictions_and_worlds_tell_how_far_they_are() -> None:
    pixels = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    logits = VIT.predict(pixels, batch_size=2, progress=(seen := Recorder()))
    assert torch.equal(logits, VIT.predict(pixels, batch_size=2))
    assert [(stage.name, stage.total, stage.advanced) for stage in seen.stages] == [
        ("predicting", 5, [2, 2, 1])
    ]
    with pytest.raises(Cancelled, match=r"during 'predicting' after 2 of 5 pictures; nothing of it is kept"):
        VIT.predict(pixels, batch_size=2, progress=Recorder(cancel=2))
    evaluate_world("shapes", ["rollout"], ["mass"], count=2, controls=(), progress=(seen := Recorder()))
    seen.check_whole()
    assert [(stage.name, stage.total) for stage in seen.stages] == [("evaluating pictures", 2)]


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_animations_tell_of_frames_and_a_cancelled_one_leaves_the_file(ending: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 90, 180, 250)]
    file = tmp_path / f"flow.{ending}"
    save_animation(frames, file, progress=(seen := Recorder()))
    assert [(stage.name, stage.total, stage.advanced) for stage in seen.stages] == [
        ("writing frames", 4, [1] * 4)
    ]
    content = file.read_bytes()
    for question in range(1, 5):
        with pytest.raises(Cancelled):
            save_animation(frames[::-1], file, progress=Recorder(cancel=question))
        assert file.read_bytes() == content and [each.name for each in tmp_path.iterdir()] == [file.name]


def test_what_is_kept_is_said(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with pytest.raises(Cancelled) as told:
        heads.strength(VIT, folder, batch_size=2, checkpoint=kept, progress=Recorder(cancel=3))
    assert str(told.value) == (
        f"cancelled during 'attention strength' after 2 of 4 pictures; {kept} keeps the finished parts, and the same "
        "call goes on from them"
    )
    assert len(list(kept.iterdir())) == 1
    heads.strength(VIT, folder, batch_size=2, checkpoint=kept, progress=(rest := Recorder()))
    assert [(stage.done, stage.advanced) for stage in rest.stages] == [(2, [2])]


def test_a_picture_without_an_answer_is_not_counted_twice() -> None:
    """The batch is measured again without it, after some of its heads were told already."""
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    pixels[1] = 3e38
    source = picture_source(pixels, keys=list("abcd"), skip=True)
    table = heads.importance(VIT, source, gradient=False, batch_size=2, progress=(seen := Recorder()))
    seen.check_whole()
    assert table.pictures == ("a", "c", "d") and [stage.total for stage in seen.stages] == [24]
    tried: list[list[str]] = []

    def measure(batch: Any) -> int:
        tried.append(batch.keys)
        stage.advance(3)
        if "b" in batch.keys:
            raise AnswerError("no number for", (batch.keys.index("b"),), "")
        stage.advance(3)
        return len(batch)

    stage = CountedStage(seen := Recorder(), "by hand", pictures=4, each=3)
    assert list(measured(VIT, source, 2, measure, stage)) == [1, 2]
    seen.check_whole()
    assert tried == [["a", "b"], ["a"], ["c", "d"]] and seen.stages[0].advanced == [3, 3, 3, 3]


def test_steps_done_again_are_told_once() -> None:
    seen = Recorder()
    stage = CountedStage(seen, "by hand", pictures=5, each=3)
    stage.begin(1)
    stage.advance(2)
    stage.again_from(3)
    stage.advance(1)
    assert seen.stages[0].advanced == [2]
    stage.advance(4)
    assert seen.stages[0].advanced == [2, 3]
    stage.finish_batch(before=3, pictures=2)
    stage.reach(3)
    stage.reach(2)
    stage.reach(5)
    assert (seen.stages[0].done, seen.stages[0].advanced) == (3, [2, 3, 1, 6])


class Lacking:
    def stage(self, name: str, total: int, done: int = 0, unit: str = "pictures") -> None: ...


@pytest.mark.parametrize("wrong", [print, 5, Lacking(), vs.progress.Silent, "bar"])
@pytest.mark.parametrize("name", list(LONG))
def test_what_is_no_progress_is_refused_in_one_line(name: str, wrong: Any, folder: Path) -> None:
    with pytest.raises(VitscopeError, match="progress") as told:
        LONG[name].call(source_of(folder), progress=wrong)
    assert "\n" not in str(told.value)


def test_a_callback_is_told_and_asked() -> None:
    told: list[tuple[str, int, int]] = []
    stop = threading.Event()

    def tell(*news: Any) -> None:
        told.append(news)
        if news[1] == 2:
            stop.set()

    with pytest.raises(Cancelled):
        VIT.predict(torch.zeros(5, 3, 32, 32), batch_size=1, progress=vs.progress.Callback(tell, stop.is_set))
    assert told == [("predicting", 0, 5), ("predicting", 1, 5), ("predicting", 2, 5)]


# ---- the bar -------------------------------------------------------------------------------------------------------
@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [0.0]
    monkeypatch.setattr(progress_room.time, "monotonic", lambda: now[0])
    yield now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_every_half_minute(clock: list[float]) -> None:
    log = io.StringIO()
    with vs.progress.bar("shapes", console=Console(file=log, width=200)) as bar:
        bar.stage("evaluating", 100, done=40, unit="explanations")
        for clock[0] in (10, 20, 31, 45, 62):
            bar.advance(6)
    assert log.getvalue().splitlines() == [
        "shapes: evaluating: going on after 40 of 100 explanations of a run that was interrupted",
        "shapes: evaluating: 58 of 100, 0.581 a second, about 72 s left",  # 18 in 31 s, 42 to do
        "shapes: evaluating: 70 of 100, 0.484 a second, about 62 s left",  # 30 in 62 s, 30 to do
    ]


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    terminal = Terminal()
    bar = vs.progress.bar(console=Console(file=terminal, force_terminal=True, width=100))
    assert bar.cancelled() is False
    bar.stage("first stage", 3)
    bar.advance(2)
    assert "first stage" in terminal.getvalue() and "2/3" in terminal.getvalue()
    assert bar._drawn is not None
    bar.advance()
    assert bar._drawn is None, "a finished stage takes its bar away by itself"
    with pytest.raises(KeyboardInterrupt), bar:
        bar.stage("second\x1b[2J stage", 3)
        raise KeyboardInterrupt
    assert bar._drawn is None and "\x1b[2J" not in terminal.getvalue()
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h"), (
        "the cursor is back"
    )
