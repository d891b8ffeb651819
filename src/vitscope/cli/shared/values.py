"""Values that arrive as text: checked before a model is opened or a picture is read, each refusal one line."""

from __future__ import annotations

import ast
import re
from typing import Any

import typer

from vitscope.options.bounds import Precision

_DIGITS = 18
"""More digits than any count, class or seed has; int() itself refuses thousands of them with an error of its own."""
OWN_OPTIONS = {
    "image_size": "--image-size",
    "device": "--device",
    "precision": "--precision",
    "weights": "--weights",
    "class_names": "--class-names",
}
"""What has an option of its own, which -M would set a second time."""


def whole_number(text: str, option: str) -> int:
    """A whole number in plain digits; a usage error for ``²``, ``1e3`` and endless rows of digits."""
    if not re.fullmatch(rf"[-+]?[0-9]{{1,{_DIGITS}}}", text.strip()):
        raise typer.BadParameter(f"{option} is a whole number of at most {_DIGITS} digits, not {text!r}")
    return int(text)


def parse_image_size(text: str | None) -> int | tuple[int, int] | None:
    """``"384"`` to 384, ``"224x336"`` to (224, 336) as (height, width), None to None; else a usage error."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})(?:[x×,]([0-9]{1,6}))?", text.strip())
    if match is None or int(match[1]) == 0 or (match[2] is not None and int(match[2]) == 0):
        raise typer.BadParameter(f"--image-size is 384 or 224x336 (height x width), not {text!r}")
    return int(match[1]) if match[2] is None else (int(match[1]), int(match[2]))


def parse_list(text: str, option: str) -> list[str]:
    """A comma list without blanks, in its order; a usage error when it is empty or names something twice."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise typer.BadParameter(f"{option} names at least one, not {text!r}")
    twice = [item for item in dict.fromkeys(items) if items.count(item) > 1]
    if twice:
        raise typer.BadParameter(f"{option} names {twice[0]} twice; name it once")
    return items


def parse_texts(items: list[str] | None, option: str = "-o") -> dict[str, str]:
    """``["alpha=0.5", "gmar.norm=l1"]`` to names and texts; what a text stands for is each method's to say."""
    texts: dict[str, str] = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not value.strip() or not re.fullmatch(r"[A-Za-z_][\w]*(\.[A-Za-z_]\w*)?", name):
            raise typer.BadParameter(f"{option} takes option=value or method.option=value, not {item!r}")
        if name in texts:
            raise typer.BadParameter(
                f"{option} gives {name} twice ({texts[name]} and {value.strip()}); give it once"
            )
        texts[name] = value.strip()
    return texts


def parse_model_options(items: list[str] | None) -> dict[str, Any]:
    """``["num_classes=0", "grid=14,14"]`` for opening a model; values are Python literals where they can be, else text.

    A usage error for a name that has an option of its own, and for an anatomy of another form than is asked for."""
    options: dict[str, Any] = {}
    for name, text in parse_texts(items, "-M").items():
        if name in OWN_OPTIONS:
            raise typer.BadParameter(f"-M {name}= is not for opening a model; {OWN_OPTIONS[name]} sets it")
        if name in ("blocks", "prefix"):
            options[name] = tuple(part.strip() for part in text.split(",") if part.strip())
        else:
            options[name] = _literal(text)
    grid = options.get("grid")
    if grid is not None and not (isinstance(grid, tuple) and len(grid) == 2 and all(map(_is_count, grid))):
        raise typer.BadParameter(f"-M grid= is two whole numbers (rows, columns) such as 14,14, not {grid!r}")
    classes = options.get("classes")
    if classes is not None and not _is_count(classes):
        raise typer.BadParameter(f"-M classes= is a whole number above 0, not {classes!r}")
    if not isinstance(options.get("pooling", ""), str):
        raise typer.BadParameter(f"-M pooling= is a word such as mean, not {options['pooling']!r}")
    return options


def choose_device(name: str) -> str:
    """``auto`` to the best that this machine has; a device that it does not have is a usage error."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    match = re.fullmatch(r"(cpu|mps|cuda)(?::([0-9]{1,3}))?", name)
    # Everything else that torch.device knows (meta, hpu, ...) has no numbers to look at, or no machine of ours.
    if match is None or (match[2] is not None and match[1] != "cuda"):
        raise typer.BadParameter(f"--device is auto, cpu, cuda, cuda:1 or mps, not {name!r}")
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.get(
        match[1], True
    )
    if not present:
        raise typer.BadParameter(
            f"this machine has no {match[1]} device that PyTorch can use; try --device cpu"
        )
    if match[2] is not None and int(match[2]) >= torch.cuda.device_count():
        raise typer.BadParameter(
            f"this machine has {torch.cuda.device_count()} cuda devices, from 0, not {name}"
        )
    return name


def check_precision(name: str) -> Precision:
    """The canonical name of a precision; a usage error for anything else."""
    names: dict[str, Precision] = {
        "float32": "float32", "fp32": "float32", "bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16",
        "float16": "fp16",
    }  # fmt: skip
    if name.lower() not in names:
        raise typer.BadParameter(f"--precision is float32, bf16 or fp16, not {name!r}")
    return names[name.lower()]


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    try:
        return words[text.lower()] if text.lower() in words else ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**_DIGITS
