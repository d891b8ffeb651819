"""Options that several commands share, each declared once, and the parsing of their values."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Which model: timm/NAME, hf/NAME, torchvision/NAME, open_clip/NAME or bundled/shapes.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", "-w", help="Weights file (.safetensors, .pth); without it, the source's own."),
]
RandomWeights = Annotated[
    bool,
    typer.Option("--random-weights", help="Random weights: to look at an architecture without its weights."),
]
ClassNames = Annotated[
    str | None,
    typer.Option("--class-names", help="File with one class name a line or a JSON list; or imagenet."),
]
ModelOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--model-option",
        "-M",
        help="name=value for opening the model: num_classes=0, grid=14,14, pooling=mean, attn_implementation=sdpa ...",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Precision = Annotated[str, typer.Option("--precision", help="float32, bf16 or fp16.")]
ImageSize = Annotated[
    str | None, typer.Option("--image-size", help="Input size in pixels: 384 or 224x336 (height x width).")
]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Pictures in one pass.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]
Target = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        help="What to explain: top1, top3, a class number, class:NAME, difference:3,5, 'text: a photo of a dog' "
        "or picture:FILE; classes also with :probability or :log_probability.",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option("--max-pixels", min=1, help="Most pixels that a picture may have; more is refused."),
]


def parse_image_size(text: str | None) -> int | tuple[int, int] | None:
    """``"384"`` to 384, ``"224x336"`` to (224, 336) as (height, width), None to None; else a usage error."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:[x×,](\d+))?", text.strip())
    if match is None or int(match[1]) == 0 or (match[2] is not None and int(match[2]) == 0):
        raise typer.BadParameter(f"--image-size is 384 or 224x336 (height x width), not {text!r}")
    return int(match[1]) if match[2] is None else (int(match[1]), int(match[2]))


def parse_list(text: str) -> list[str]:
    """A comma list without blanks, each item once, order kept."""
    return list(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))


def parse_texts(items: list[str] | None) -> dict[str, str]:
    """``["alpha=0.5", "gmar.norm=l1"]`` to names and texts; what a text stands for is each method's to say."""
    texts: dict[str, str] = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not re.fullmatch(r"[A-Za-z_][\w]*(\.[A-Za-z_]\w*)?", name):
            raise typer.BadParameter(f"-o takes option=value or method.option=value, not {item!r}")
        texts[name] = value.strip()
    return texts


def parse_assignments(items: list[str] | None) -> dict[str, Any]:
    """The same with values as Python literals where they can be, else text; for opening models."""
    words = {"true": True, "false": False, "none": None}
    options: dict[str, Any] = {}
    for name, text in parse_texts(items).items():
        try:
            options[name] = words[text.lower()] if text.lower() in words else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[name] = text
    return options


def parse_target(text: str) -> str | int:
    """A class number as an int; every other form is the tracing room's to read."""
    return int(text) if re.fullmatch(r"\d+", text.strip()) else text.strip()


def choose_device(name: str) -> str:
    """``auto`` to the best that this machine has; a device that it does not have is a usage error."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise typer.BadParameter(f"--device is auto, cpu, cuda, cuda:1 or mps, not {name!r}") from None
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.get(kind, True)
    if not present:
        raise typer.BadParameter(f"this machine has no {kind} device that PyTorch can use; try --device cpu")
    return name


def check_precision(name: str) -> str:
    """The canonical name of a precision; a usage error for anything else."""
    names = {"float32": "float32", "fp32": "float32", "bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16"}
    names["float16"] = "fp16"
    if name.lower() not in names:
        raise typer.BadParameter(f"--precision is float32, bf16 or fp16, not {name!r}")
    return names[name.lower()]
