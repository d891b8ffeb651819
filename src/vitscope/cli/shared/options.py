"""Options that several commands share, each declared once: one name, one type and one default everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BATCH_SIZE = 16

Pictures = Annotated[list[str], typer.Argument(help="Pictures, folders (searched below, too) and globs.")]
SomePictures = Annotated[
    list[str] | None, typer.Argument(help="Pictures, folders (searched below, too) and globs.")
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Which model: timm/NAME, hf/NAME, torchvision/NAME, open_clip/NAME or bundled/shapes.",
        show_default=False,
    ),
]
SomeModel = Annotated[
    str | None,
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
BatchSize = Annotated[
    int, typer.Option("--batch-size", "-b", min=1, max=65536, help="Pictures in one pass; changes no result.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]
Target = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        help="What to explain: top1, top3, a class number, class:NAME, difference:3,5, 'text: a photo of a dog' "
        "or picture:FILE; classes also with :probability or :log_probability; class:0,1,2 gives each picture its own.",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option("--max-pixels", min=1, help="Most pixels that a picture may have; more is refused."),
]
Out = Annotated[Path, typer.Option("--out", "-O", help="Folder for the results.")]
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many pictures.")]
Labels = Annotated[
    Path | None,
    typer.Option("--labels", help="CSV with file and class_index; without it, labels.csv or class folders."),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="option=value for every method that has it, or method.option=value."),
]
Style = Annotated[
    str, typer.Option("--style", help="alpha, spotlight, contour, side-by-side or map (the map alone).")
]
Scaling = Annotated[
    str | None,
    typer.Option(
        "--scaling",
        help="Display scaling: minmax, percentile, sqrt, rank or signed; of a flow also daam (one scale for the whole "
        "flow) and daam-sigmoid (a scale per block).",
    ),
]
Upsampling = Annotated[
    str, typer.Option("--upsampling", help="nearest (the model's own grid), bilinear or bicubic.")
]
Size = Annotated[int, typer.Option("--size", help="Size of the drawings: 1, 2 or 4.")]
Replacement = Annotated[
    str, typer.Option("--replacement", help="What stands in for a head: zero, mean or mean-per-query.")
]
