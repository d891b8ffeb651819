"""Random command lines end as the program says: a known exit code, one line for an error, never a crash."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import vitscope as vs
from tests.cli.bad_pictures import photograph
from tests.cli.commands import every_command, spelled, type_of
from tests.cli.conftest import Shell

LINES = 200
ODD = (
    "", " ", "²", "٣", "-1", "0", "1", "2", "1e9", "inf", "nan", "9" * 5000, "10000000000000000000", "None", "[]",
    "[/red]", "a,b", ",", "a,,a", "=", "a=b", "x=[", "\x1b[31m", "naïve 東京", "~", "~nobody/x", "/dev/null", "C:\\x",
    "\udce9", "{}", "%s", "'", "true", "--", "-",
)  # fmt: skip
"""Values that somebody types by mistake, or on purpose."""
GOOD: dict[str, tuple[str, ...]] = {
    "model": ("bundled/shapes",) * 9 + ("bundled/moon", "timm/nothing", "shapes", "hf/nowhere"),
    "method": ("rollout",) * 8
    + ("gae", "rollout,gae", "rolout", "random", "gae:libra=true", "gmar:alpha=x", "gmar:alpha=1,rollout"),
    "metrics": ("srg", "complexity", "mass", "srgg", "grid-pointing"),
    "by": ("js_divergence", "nothing"),
    "write": ("smaller", "masked", "round"),
    "target": (
        "top1",
        "3",
        "class:star",
        "class:1:probability",
        "label",
        "top3",
        "difference:1,2",
        "class:0,1",
        "99",
    ),
    "option": ("alpha=0.5", "head_fusion=max", "rollout.head_fusion=min", "gae.libra=true", "nothing=1"),
    "model_option": (
        "classes=8",
        "classes=9",
        "grid=12,12",
        "grid=3,3",
        "prefix=class",
        "num_classes=0",
        "device=cpu",
    ),
    "style": ("alpha", "map", "contour", "side-by-side"),
    "scaling": ("minmax", "signed", "daam", "rank"),
    "upsampling": ("nearest", "bilinear"),
    "size": ("1", "3"),
    "device": ("cpu", "auto", "cuda", "meta", "cpu:0"),
    "precision": ("float32", "bf16", "int8"),
    "image_size": ("96", "224x336", "32", "1"),
    "removal": ("mask", "drop", "zero,black"),
    "score": ("logit", "probability"),
    "seed": ("0", "1", "0,1"),
    "mean_colour": ("data", "0.5,0.4,0.3", "1,2,3"),
    "replacement": ("zero", "mean", "mean-per-query"),
    "world": ("shapes", "moon"),
    "format": ("gif", "webp", "avi"),
    "distance": ("chebyshev", "manhattan"),
    "dissect": ("top", "0.1", "9.9"),
    "joint": ("0.1,1.2", "0.1"),
    "name": ("gmar", "rollout", "gmarr"),
}
"""Values that are right, or nearly so."""
ALWAYS = {
    "evaluate": ("--steps", "1", "--random-draws", "1", "--limit", "1"),
    "heads importance": ("--limit", "1", "--first-order"),
    "heads strength": ("--limit", "1"),
    "flow": ("--no-strip",),
}
"""What keeps a line that works short."""
NAMES = ("explain", "flow", "evaluate", "inspect", "methods", "calibrate", "bank build", "heads importance",
         "heads strength", "heads prune", "heads patterns")  # fmt: skip
COSTLY = {
    "heads prune": ("keep",), "heads patterns": ("atlas",), "heads strength": ("distance",),
    "calibrate": ("image_size",),
}  # fmt: skip
"""Commands that work for long: their lines hold a value that is refused."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Pictures, and what stands for none."""
    folder = tmp_path_factory.mktemp("places")
    photograph((48, 40)).save(folder / "good.png")
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "some").mkdir()
    (folder / "none").mkdir()
    photograph((40, 48), seed=2).save(folder / "some" / "a.png")
    (folder / "labels.csv").write_text("file,class_index\ngood.png,1\n")
    good = [str(folder / "good.png")]
    return [*good * 6, *(str(folder / name) for name in ("some", "*.png", "bad.png", "none", "no"))]


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bundled models are opened once."""
    kept: dict[str, Any] = {}
    real = vs.open_model

    def opened(model: Any, **named: Any) -> Any:
        key = f"{model} {sorted((name, str(value)) for name, value in named.items())}"
        if key not in kept:
            kept[key] = real(model, **named)
        return kept[key]

    monkeypatch.setattr(vs, "open_model", opened)
    yield


def random_line(draw: random.Random, places: list[str], out: Path) -> list[str]:
    """One command line: mostly right, with something odd here and there."""
    name = draw.choice(NAMES)
    command = every_command()[name]
    words, options = name.split(), []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            if parameter.required or draw.random() < 0.7:
                pool = GOOD["model"] if parameter.name == "model" else GOOD.get(parameter.name, tuple(places))
                words.append(draw.choice(ODD) if draw.random() < 0.1 else draw.choice(pool))
        elif parameter.name == "model" or draw.random() < 2.2 / len(command.params):
            options.append(parameter)
    for parameter in options:
        words += option_of(draw, command, parameter, out)
    for parameter in command.params:
        if parameter.name in COSTLY.get(name, ()):
            words += [spelled(parameter), draw.choice(("-3", "nowhere", "0x0"))]
    if "--out" not in words and "out" in {each.name for each in command.params}:
        words += ["--out", str(out / ("model.safetensors" if name == "heads prune" else "out"))]
    extra = ALWAYS.get(name, ())
    words += [word for word in extra if not set(extra) & set(words)]
    return words


def option_of(draw: random.Random, command: Any, parameter: Any, out: Path) -> list[str]:
    """An option with a value."""
    if parameter.is_flag:
        return [draw.choice([*parameter.opts, *parameter.secondary_opts])]
    if draw.random() < 0.35:
        return [spelled(parameter), draw.choice(ODD)]
    kind = type_of(command, parameter)
    fallback = {"int": ("1", "2"), "float": ("0.5", "0.1"), "Path": (str(out / "x"), "/proc/x", "labels.csv")}
    return [spelled(parameter), draw.choice(GOOD.get(parameter.name) or fallback.get(kind, ODD))]


def test_random_command_lines(
    shell: Shell, places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, once: None
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(20)
    ends: dict[int, int] = {}
    for index in range(LINES):
        line = random_line(draw, places, tmp_path)
        if "\0" in "".join(line):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = shell(*line)
        said = f"{index}: {line}\ncode {result.code}\n{result.err[-600:]}"
        ends[result.code] = ends.get(result.code, 0) + 1
        assert result.code in (0, 1, 2, 3), said
        assert "Traceback" not in result.err + result.out and "this is a bug" not in result.err, said
        errors = [text for text in result.err.splitlines() if text.startswith("error: ")]
        assert len(errors) == (result.code in (1, 2)), said
        assert all(letter.isprintable() or letter in "\n\u200c\u200d\u00a0" for letter in result.err), said
    # The lines are not all refused at the door.
    assert min(ends.get(code, 0) for code in (0, 1, 2)) > LINES / 20, ends
    assert torch.get_default_dtype() == torch.float32
