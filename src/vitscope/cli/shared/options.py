"""Options that several commands share: each is declared once, and a command takes the records that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from vitscope.cli.shared.parameters import DefaultOf
from vitscope.cli.shared.paths import refuse_missing
from vitscope.options.bounds import BatchSize, Count

if TYPE_CHECKING:
    from vitscope.pictures import PictureSource

OUT = {
    "demo": Path("demo"),
    "explain": Path("vitscope-out"),
    "flow": Path("vitscope-out"),
    "evaluate": Path("vitscope-evaluation"),
    "heads importance": Path("vitscope-heads"),
    "heads look": Path("vitscope-heads"),
    "heads strength": Path("vitscope-heads"),
    "heads patterns": Path("vitscope-heads"),
    "heads agreement": Path("vitscope-heads"),
    "heads report": Path("vitscope-heads"),
    "heads prune": Path("pruned.safetensors"),
    "bank build": Path("bank.safetensors"),
}
"""Where each command's results go when ``--out`` does not say so."""

PICTURES = typer.Argument(
    help="Pictures, folders (searched below, too) and globs; - reads one picture, or a list of paths, from stdin."
)
STDIN = "-"
"""What stands for standard input among the pictures."""
MODEL = typer.Option(
    "--model",
    "-m",
    help="Which model: timm/NAME, hf/NAME, torchvision/NAME, open_clip/NAME, bundled/shapes, a folder or file of "
    "yours that says which model it is, or package.module:function of yours (with --weights).",
    show_default=False,
)


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """How many pictures."""

    title: ClassVar[str] = "Pictures"
    limit: Annotated[
        Count | None, typer.Option("--limit", "-n", help="At most so many pictures; shards in study run.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class PixelOptions:
    """How large a picture may be."""

    title: ClassVar[str] = "Pictures"
    max_pixels: Annotated[
        int | None, typer.Option("--max-pixels", help="Most pixels that a picture may have; more is refused.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class PictureOptions(LimitOptions, PixelOptions):
    """Which pictures."""

    pictures: Annotated[list[str], PICTURES]

    def source(self) -> PictureSource:
        """The pictures; those that cannot be read are skipped while they are read."""
        from vitscope.pictures import MAX_PIXELS, picture_source

        named: list[str | Path] = list(self.pictures)
        root: Path | None = None
        if STDIN in self.pictures:
            from vitscope.cli.shared.stdin import from_stdin

            named, root = from_stdin(self.pictures)
        found = picture_source(
            named if len(named) > 1 else named[0],
            root=root,
            skip=True,
            max_pixels=self.max_pixels or MAX_PIXELS,
        )
        refuse_missing(found)
        return found if self.limit is None or self.limit >= len(found) else found.part(0, self.limit)


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Where the pictures' classes are told."""

    title: ClassVar[str] = "Pictures"
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="CSV with file and class_index; without it, labels.csv or class folders."),
    ] = None  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where a model runs."""

    title: ClassVar[str] = "Model"
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"


@dataclass(frozen=True, kw_only=True)
class PassOptions(DeviceOptions):
    """Where a model runs, and in which numbers."""

    precision: Annotated[str, typer.Option("--precision", help="float32, bf16 or fp16.")] = "float32"


@dataclass(frozen=True, kw_only=True)
class WeightsOptions:
    """Where the weights of a model are."""

    title: ClassVar[str] = "Model"
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            "-w",
            help="Weights file (.safetensors, .pth); without it, the source's own, in study run the study's.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ModelOptions(WeightsOptions, PassOptions):
    """Which model, and how it is opened."""

    model: Annotated[str, MODEL]
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="Random weights: to look at an architecture without its weights."),
    ] = False  # fmt: skip
    class_names: Annotated[
        str | None,
        typer.Option("--class-names", help="File with one class name a line or a JSON list; or imagenet."),
    ] = None
    model_option: Annotated[
        list[str] | None,
        typer.Option(
            "--model-option",
            "-M",
            help="name=value for opening the model: num_classes=0, grid=14,14, pooling=mean, "
            "attn_implementation=sdpa ...",
        ),
    ] = None
    image_size: Annotated[
        str | None,
        typer.Option("--image-size", help="Input size in pixels: 384 or 224x336 (height x width)."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """How pictures are explained, and what of them."""

    title: ClassVar[str] = "Methods"
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "--methods",
            help="Comma list of methods, or all (flow: one); vitscope methods lists them. Without it dart-removal, or "
            "daam where DART does not apply; evaluate puts gmar, daam, rollout and gae beside it and also takes "
            "gmar:norm=l1;alpha=2.",
        ),
    ] = None  # fmt: skip
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="option=value for every method that has it, or method.option=value."),
    ] = None  # fmt: skip
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            help="What to explain: top1, a class number or a class's name (class:NAME); in evaluate also label, the "
            "true class. In explain and flow also top3, difference:3,5, difference:cat,dog, 'text: a photo of a dog', "
            "picture:FILE; classes with :probability or :log_probability; class:0,1,2 gives each picture its own.",
        ),
    ] = "top1"  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CleanOptions:
    """What is done to maps before they are shown."""

    title: ClassVar[str] = "Methods"
    clean: Annotated[
        bool, typer.Option("--clean", help="Give high-norm outlier patches the median of their neighbours.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class SeedOptions:
    """What random draws begin with."""

    title: ClassVar[str] = "Run"
    seed: Annotated[
        str, typer.Option("--seed", help="Seed of every random draw; evaluate compares several: 0,1,2.")
    ] = "0"

    def one(self) -> int:
        """The only seed. Raises a usage error for several, or for none."""
        from vitscope.cli.shared.values import whole_number

        return whole_number(self.seed, "--seed")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go."""

    title: ClassVar[str] = "Run"
    out: Annotated[
        Path,
        DefaultOf(OUT),
        typer.Option(
            "--out", "-O", help="Where the results go: a folder; in heads prune and bank build the file that is made."
        ),
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JsonOptions:
    """How results are told."""

    title: ClassVar[str] = "Run"
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON document on stdout, all else on stderr; study run prints an event a line.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How many pictures a model sees at once."""

    title: ClassVar[str] = "Run"
    batch_size: Annotated[
        BatchSize, typer.Option("--batch-size", "-b", help="Pictures in one pass; changes no result.")
    ] = 16


@dataclass(frozen=True, kw_only=True)
class RunOptions(BatchOptions, JsonOptions):
    """How a run goes through its pictures, and how results are told."""

    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Say nothing but errors: no results, notes or bars; --json is told."
        ),
    ] = False
